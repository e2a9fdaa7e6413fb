#include "outputs.h"

#include "launch/rendezvous.h"
#include "whole_file.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

using namespace moert;

Status moert::writeRouting(const std::string &path, const Function &function,
                           const OwnedTensor &ids, const OwnedTensor &weights) {
  std::vector<int64_t> counts(static_cast<size_t>(function.experts));
  const int32_t *id = static_cast<const int32_t *>(ids.buffer.data());
  for (int64_t i = 0; i < ids.shape[0] * ids.shape[1]; ++i) {
    if (id[i] < 0 || id[i] >= function.experts)
      return Status::error(MOERT_ERROR_PROGRAM, "the routing names expert ",
                           id[i], " of ", function.experts);
    ++counts[static_cast<size_t>(id[i])];
  }
  std::string prefix = concat("layers.", function.layer, ".");
  return writeSafetensors(
      path,
      {{prefix + "expert_ids", ids.dtype, ids.shape, ids.buffer.data()},
       {prefix + "expert_weights", weights.dtype, weights.shape,
        weights.buffer.data()},
       {prefix + "counts", MOERT_I64, {function.experts}, counts.data()}});
}

Result<std::vector<Counters>> moert::gatherCounters(const Session &session) {
  std::vector<Counters> all(static_cast<size_t>(session.ranks()));
  for (int rank : session.ranksHere())
    all[rank] = session.counters(rank);
  if (!session.rendezvous())
    return all;
  const Counters &mine = all[session.ranksHere().front()];
  static_assert(std::is_trivially_copyable_v<Counters>);
  Result<std::vector<std::string>> bytes = session.rendezvous()->gather(
      "counters",
      {reinterpret_cast<const char *>(mine.data()), sizeof(Counters)});
  if (!bytes.ok())
    return bytes.status();
  for (size_t rank = 0; rank < bytes->size(); ++rank)
    if ((*bytes)[rank].size() == sizeof(Counters))
      std::memcpy(all[rank].data(), (*bytes)[rank].data(), sizeof(Counters));
  return all;
}

Result<std::vector<std::vector<Sent>>>
moert::gatherTraffic(const Session &session) {
  std::vector<std::vector<Sent>> all(static_cast<size_t>(session.ranks()));
  for (int rank : session.ranksHere())
    all[rank] = session.traffic(rank).sent();
  if (!session.rendezvous())
    return all;
  const std::vector<Sent> &mine = all[session.ranksHere().front()];
  static_assert(std::is_trivially_copyable_v<Sent>);
  Result<std::vector<std::string>> bytes = session.rendezvous()->gather(
      "traffic", {reinterpret_cast<const char *>(mine.data()),
                  mine.size() * sizeof(Sent)});
  if (!bytes.ok())
    return bytes.status();
  for (size_t rank = 0; rank < bytes->size(); ++rank) {
    all[rank].resize((*bytes)[rank].size() / sizeof(Sent));
    if (!all[rank].empty())
      std::memcpy(all[rank].data(), (*bytes)[rank].data(),
                  all[rank].size() * sizeof(Sent));
  }
  return all;
}

Resident moert::residentNow() {
  Resident resident;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    auto kibibytes = [&] {
      return std::strtoll(line.c_str() + line.find(':') + 1, nullptr, 10);
    };
    if (line.starts_with("VmRSS:"))
      resident.bytes = kibibytes() * 1024;
    if (line.starts_with("VmHWM:"))
      resident.peak = kibibytes() * 1024;
  }
  return resident;
}

Result<std::vector<Resident>> moert::gatherResident(const Session &session,
                                                    Resident mine) {
  if (!session.rendezvous())
    return std::vector<Resident>{mine};
  static_assert(std::is_trivially_copyable_v<Resident>);
  Result<std::vector<std::string>> bytes = session.rendezvous()->gather(
      "memory", {reinterpret_cast<const char *>(&mine), sizeof(mine)});
  if (!bytes.ok())
    return bytes.status();
  std::vector<Resident> all(bytes->size());
  for (size_t rank = 0; rank < all.size(); ++rank)
    if ((*bytes)[rank].size() == sizeof(Resident))
      std::memcpy(&all[rank], (*bytes)[rank].data(), sizeof(Resident));
  return all;
}

// Sums over all ranks and calls. Empty where the program does not list its
// calls.
static std::map<std::string, Sent> bytesByPayload(const Session &session,
                                                  const RunFacts &facts) {
  std::map<std::string, Sent> sums;
  const auto &calls = session.function().calls;
  if (!calls)
    return sums;
  for (int rank = 0; rank < session.ranks(); ++rank) {
    const std::vector<Sent> &sent = facts.traffic[rank];
    for (size_t i = 0; i < std::min(sent.size(), calls->size()); ++i) {
      Sent &sum = sums[(*calls)[i].payload];
      sum.bytes += sent[i].bytes;
      sum.bytesBetweenNodes += sent[i].bytesBetweenNodes;
    }
  }
  return sums;
}

// What each rank sent in each call of the program, in order.
static nlohmann::ordered_json describeCalls(const Session &session,
                                            const RunFacts &facts) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  const auto &calls = session.function().calls;
  size_t count = calls ? calls->size() : 0;
  for (size_t i = 0; i < count; ++i) {
    nlohmann::ordered_json bytes = nlohmann::ordered_json::array(),
                           between = nlohmann::ordered_json::array();
    for (int rank = 0; rank < session.ranks(); ++rank) {
      const std::vector<Sent> &sent = facts.traffic[rank];
      bytes.push_back(i < sent.size() ? sent[i].bytes : 0);
      between.push_back(i < sent.size() ? sent[i].bytesBetweenNodes : 0);
    }
    const CallSpec &call = (*calls)[i];
    list.push_back({{"collective", call.collective},
                    {"payload", call.payload},
                    {"axes", call.axes},
                    {"bytes_sent", bytes},
                    {"bytes_between_nodes", between}});
  }
  return list;
}

void moert::printStats(const Session &session, const RunFacts &facts) {
  std::printf("%-6s %-17s %10s %16s %16s\n", "rank", "collective", "calls",
              "bytes sent", "bytes received");
  int64_t sent = 0;
  for (int rank = 0; rank < session.ranks(); ++rank)
    for (int kind = 0; kind < CollectiveKinds; ++kind) {
      const Counter &counter = facts.counters[rank][kind];
      sent += counter.bytesSent;
      if (counter.calls)
        std::printf("%-6d %-17s %10lld %16lld %16lld\n", rank,
                    collectiveName(static_cast<CollectiveKind>(kind)),
                    static_cast<long long>(counter.calls),
                    static_cast<long long>(counter.bytesSent),
                    static_cast<long long>(counter.bytesReceived));
    }
  const SessionMemory &memory = session.memory();
  std::printf("all ranks sent %lld bytes in %zu runs\n",
              static_cast<long long>(sent), facts.seconds.size());
  for (const auto &[payload, bytes] : bytesByPayload(session, facts))
    std::printf("  of %-8s %16lld bytes, %lld of them between nodes\n",
                payload.c_str(), static_cast<long long>(bytes.bytes),
                static_cast<long long>(bytes.bytesBetweenNodes));
  std::printf("each rank holds %lld bytes of arena and %lld bytes of packed "
              "weights, made from %lld bytes of slices\n",
              static_cast<long long>(memory.arenaBytes),
              static_cast<long long>(memory.packedBytes),
              static_cast<long long>(memory.sliceBytes));
}

Status moert::writeStats(const std::string &path, const Session &session,
                         const RunFacts &facts) {
  nlohmann::ordered_json counters = nlohmann::ordered_json::array();
  for (int rank = 0; rank < session.ranks(); ++rank)
    for (int kind = 0; kind < CollectiveKinds; ++kind) {
      const Counter &counter = facts.counters[rank][kind];
      if (counter.calls)
        counters.push_back(
            {{"rank", rank},
             {"collective", collectiveName(static_cast<CollectiveKind>(kind))},
             {"calls", counter.calls},
             {"bytes_sent", counter.bytesSent},
             {"bytes_received", counter.bytesReceived}});
    }
  nlohmann::ordered_json resident = nlohmann::ordered_json::array(),
                         peak = nlohmann::ordered_json::array();
  for (const Resident &process : facts.resident) {
    resident.push_back(process.bytes);
    peak.push_back(process.peak);
  }
  nlohmann::ordered_json json = {{"function", session.function().name},
                                 {"ranks", session.ranks()},
                                 {"threads", session.threads()},
                                 {"tokens", facts.tokens},
                                 {"seconds", facts.seconds},
                                 {"arena_bytes", session.memory().arenaBytes},
                                 {"packed_bytes", session.memory().packedBytes},
                                 {"slice_bytes", session.memory().sliceBytes},
                                 {"resident_bytes", resident},
                                 {"peak_resident_bytes", peak},
                                 {"counters", counters},
                                 {"calls", describeCalls(session, facts)}};
  return writeWhole(path, json.dump(1) + "\n");
}
