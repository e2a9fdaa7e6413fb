// What compiled programs call (entry_points.def). No exception leaves: the
// frames above are not C++.
#include "dtype.h"
#ifdef MOERT_FAULT_INJECTION
#include "fault.h"
#endif
#include "rank.h"

#include <new>

using namespace moert;

Rank::Rank(int number, const Topology &topology, std::vector<int> nodeAxes,
           int threads, std::unique_ptr<Queue> workQueue,
           std::unique_ptr<Communicator> communicator, bool threadsLook)
    : number(number), head{{&entryTable(), topology.coordinates(number).data(),
                            workQueue ? workQueue->statusWord() : nullptr, 0},
                           this},
      team(threads, threadsLook), queue(std::move(workQueue)),
      communicator(std::move(communicator)),
      traffic(topology, number, std::move(nodeAxes)) {}

moert_status Rank::fail(const Status &why) {
  if (!why.ok() && team.fail(why))
    communicator->abort(why);
  return why.code();
}

static Rank &rankOf(moert_context *context) {
  return *reinterpret_cast<RankContext *>(context)->rank;
}

// Runs `body`, which returns a Status, for the rank; a failure is the rank's.
template <typename Body>
static int32_t enter(moert_context *context, Body body) {
  Rank &rank = rankOf(context);
  try {
    Status status = body(rank);
    if (!status.ok())
      rank.fail(status);
    return status.code();
  } catch (const std::bad_alloc &) {
    // The text is short enough not to be allocated.
    rank.fail(Status::error(MOERT_ERROR_OUT_OF_MEMORY, "no memory"));
    return MOERT_ERROR_OUT_OF_MEMORY;
  }
}

// The bytes that went to other ranks.
static Result<int64_t> perform(Rank &rank, const Collective &call) {
  MOERT_TRY(rank.communicator->collective(call));
  return rank.traffic.count(call);
}

// On a device the work is done later: its stream tells when.
static Status traced(Rank &rank, const Collective &call) {
  const char *name = collectiveName(call.kind);
  if (rank.queue) {
    MOERT_TRY(rank.queue->beginSpan(SpanKind::Collective, name, call.group));
    Result<int64_t> bytes = perform(rank, call);
    return bytes.ok() ? rank.queue->endSpan(*bytes) : bytes.status();
  }
  SpanScope span(Track::current(), SpanKind::Collective, name, call.group);
  Result<int64_t> bytes = perform(rank, call);
  if (bytes.ok())
    span.bytes = *bytes;
  return bytes.status();
}

// `dtype` is the program's number; the call has a type only once that is known
// to be one.
static int32_t collective(moert_context *context, int32_t dtype,
                          Collective call) {
  return enter(context, [&](Rank &rank) {
    if (!isValidDtype(dtype))
      return Status::error(MOERT_ERROR_INTERNAL, collectiveName(call.kind),
                           " with the unknown dtype ", dtype);
    call.dtype = static_cast<moert_dtype>(dtype);
#ifdef MOERT_FAULT_INJECTION
    MOERT_TRY(injectFault(rank.number));
#endif
    return rank.trace ? traced(rank, call) : perform(rank, call).status();
  });
}

static int32_t teamBarrier(moert_context *context) {
  Rank &rank = rankOf(context);
  // Alone a thread never waits.
  bool isTraced = rank.trace && rank.team.size() > 1;
  SpanScope span(isTraced ? Track::current() : nullptr, SpanKind::Barrier,
                 "team_barrier");
  return rank.team.barrier();
}

static int32_t mark(moert_context *context, int32_t step) {
  Rank &rank = rankOf(context);
  if (!rank.trace)
    return MOERT_OK;
  return enter(context, [&](Rank &) {
    bool isNamed = step >= 0 && rank.steps &&
                   static_cast<size_t>(step) < rank.steps->size();
    if (step != -1 && !isNamed)
      return Status::error(MOERT_ERROR_INTERNAL, "the program marks step ",
                           step, ", which the manifest does not name");
    if (Track *track = Track::current())
      track->step(isNamed ? (*rank.steps)[static_cast<size_t>(step)]
                          : std::string_view());
    return Status();
  });
}

static Status programFailure(int32_t reason, int64_t found, int64_t limit) {
  switch (reason) {
  case MOERT_FAIL_EXPERT_ID:
    return Status::error(MOERT_ERROR_PROGRAM, "expert id ", found,
                         " is outside of 0 to ", limit - 1);
  case MOERT_FAIL_DUPLICATE_ID:
    return Status::error(MOERT_ERROR_PROGRAM, "token ", limit,
                         " of this rank names expert ", found, " twice");
  case MOERT_FAIL_ROWS:
    return Status::error(MOERT_ERROR_PROGRAM, found,
                         " rows do not fit into a buffer for ", limit);
  default:
    return Status::error(MOERT_ERROR_PROGRAM,
                         "the program failed for the unknown reason ", reason,
                         " (", found, ", ", limit, ")");
  }
}

static int32_t fail(moert_context *context, int32_t reason, int64_t found,
                    int64_t limit) {
  return enter(context,
               [&](Rank &) { return programFailure(reason, found, limit); });
}

static int32_t fixed(CollectiveKind kind, moert_context *context, int32_t group,
                     int32_t dtype, const void *send, void *recv,
                     int64_t count) {
  return collective(context, dtype,
                    {.kind = kind,
                     .group = group,
                     .count = count,
                     .send = send,
                     .recv = recv});
}

static int32_t allReduce(moert_context *context, int32_t group, int32_t dtype,
                         const void *send, void *recv, int64_t count) {
  return fixed(CollectiveKind::AllReduce, context, group, dtype, send, recv,
               count);
}

static int32_t allGather(moert_context *context, int32_t group, int32_t dtype,
                         const void *send, void *recv, int64_t count) {
  return fixed(CollectiveKind::AllGather, context, group, dtype, send, recv,
               count);
}

static int32_t reduceScatter(moert_context *context, int32_t group,
                             int32_t dtype, const void *send, void *recv,
                             int64_t count) {
  return fixed(CollectiveKind::ReduceScatter, context, group, dtype, send, recv,
               count);
}

static int32_t allToAll(moert_context *context, int32_t group, int32_t dtype,
                        const void *send, void *recv, int64_t count) {
  return fixed(CollectiveKind::AllToAll, context, group, dtype, send, recv,
               count);
}

static int32_t allGatherV(moert_context *context, int32_t group, int32_t dtype,
                          int64_t row, const void *send, void *recv,
                          const int32_t *counts, int64_t inner) {
  return collective(context, dtype,
                    {.kind = CollectiveKind::AllGatherV,
                     .group = group,
                     .row = row,
                     .send = send,
                     .recv = recv,
                     .sendCounts = counts,
                     .inner = inner});
}

static int32_t reduceScatterV(moert_context *context, int32_t group,
                              int32_t dtype, int64_t row, const void *send,
                              void *recv, const int32_t *counts,
                              int64_t inner) {
  return collective(context, dtype,
                    {.kind = CollectiveKind::ReduceScatterV,
                     .group = group,
                     .row = row,
                     .send = send,
                     .recv = recv,
                     .sendCounts = counts,
                     .inner = inner});
}

static int32_t allToAllV(moert_context *context, int32_t group, int32_t dtype,
                         int64_t row, const void *send,
                         const int32_t *sendCounts, void *recv,
                         const int32_t *recvCounts, int64_t inner) {
  return collective(context, dtype,
                    {.kind = CollectiveKind::AllToAllV,
                     .group = group,
                     .row = row,
                     .send = send,
                     .recv = recv,
                     .sendCounts = sendCounts,
                     .recvCounts = recvCounts,
                     .inner = inner});
}

static int32_t send(moert_context *context, int32_t group, int32_t peer,
                    int32_t dtype, const void *data, int64_t count) {
  return collective(context, dtype,
                    {.kind = CollectiveKind::Send,
                     .group = group,
                     .count = count,
                     .send = data,
                     .peer = peer});
}

static int32_t receive(moert_context *context, int32_t group, int32_t peer,
                       int32_t dtype, void *data, int64_t count) {
  return collective(context, dtype,
                    {.kind = CollectiveKind::Recv,
                     .group = group,
                     .count = count,
                     .recv = data,
                     .peer = peer});
}

// Hands `body` the rank's queue; on the device cpu there is none.
template <typename Body>
static int32_t onQueue(moert_context *context, const char *what, Body body) {
  return enter(context, [&](Rank &rank) {
    return rank.queue ? body(*rank.queue)
                      : Status::error(MOERT_ERROR_UNSUPPORTED,
                                      "the program calls ", what,
                                      ", which needs a device, but it runs on "
                                      "a CPU");
  });
}

static int32_t launch(moert_context *context, int32_t kernel, int64_t grid,
                      const void *const *args) {
  return onQueue(context, "launch", [&](Queue &queue) {
    return queue.launch(kernel, grid, args);
  });
}

static int32_t tensorMap(moert_context *context, int32_t slot,
                         const moert_tensor_map *map) {
  return onQueue(context, "tensor_map",
                 [&](Queue &queue) { return queue.tensorMap(slot, *map); });
}

static int32_t copy(moert_context *context, void *target, const void *source,
                    int64_t bytes) {
  return onQueue(context, "copy", [&](Queue &queue) {
    return queue.copy(target, source, bytes);
  });
}

static int32_t fill(moert_context *context, void *target, int32_t value,
                    int64_t bytes) {
  return onQueue(context, "fill", [&](Queue &queue) {
    return queue.fill(target, value, bytes);
  });
}

static int32_t read(moert_context *context, void *host, const void *source,
                    int64_t bytes) {
  return onQueue(context, "read",
                 [&](Queue &queue) { return queue.read(host, source, bytes); });
}

static int32_t variant(moert_context *context, int32_t choice,
                       int32_t *number) {
  return enter(context, [&](Rank &rank) {
    if (choice < 0 || static_cast<size_t>(choice) >= rank.variants.size())
      return Status::error(
          MOERT_ERROR_INTERNAL, "the program asks for the variant of choice ",
          choice, ", the manifest lists ", rank.variants.size());
    *number = rank.variants[static_cast<size_t>(choice)];
    return Status();
  });
}

const moert_entry_table &moert::entryTable() {
  static const moert_entry_table table = {
      .team_barrier = teamBarrier,
      .fail = fail,
      .all_reduce = allReduce,
      .all_gather = allGather,
      .reduce_scatter = reduceScatter,
      .all_to_all = allToAll,
      .all_gather_v = allGatherV,
      .reduce_scatter_v = reduceScatterV,
      .all_to_all_v = allToAllV,
      .send = send,
      .recv = receive,
      .launch = launch,
      .tensor_map = tensorMap,
      .copy = copy,
      .fill = fill,
      .read = read,
      .mark = mark,
      .variant = variant,
  };
  return table;
}
