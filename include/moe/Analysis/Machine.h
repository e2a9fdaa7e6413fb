// What a machine can do: peak rates, memory, links, and how near to them
// kernels and collectives come. Data from machines/*.json, never code.
#ifndef MOE_ANALYSIS_MACHINE_H
#define MOE_ANALYSIS_MACHINE_H

#include "mlir/Support/LLVM.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/JSON.h"
#include <map>
#include <optional>
#include <string>

namespace moe {

/// What experts' products are computed in; decides peak rate and weight bytes.
enum class GemmType { F32, BF16, FP8, FP4 };
std::optional<GemmType> parseGemmType(llvm::StringRef name);
llvm::StringRef spellGemmType(GemmType type);
/// Bytes of one weight, scales included.
double gemmBytes(GemmType type);

/// How near a product comes to the peak.
struct MatmulRate {
  double peak = 0;       // FLOP/s, dense
  double efficiency = 1; // of the peak, for long products with many rows
  double depthHalf = 0;  // K at which half of that is reached
  double groupUs = 0;    // us for each group of a grouped product, empty or not
  double rowBytes = 0; // bytes moved for each element of a row of H beside the
                       // operations' own operands (layout, quantisation)
};

enum class CollectiveKind {
  AllReduce,
  AllGather,
  ReduceScatter,
  AllToAll,
  Dispatch, // all-to-all of a library that sends one copy to each rank
  PointToPoint
};
inline constexpr int kCollectiveKinds = 6;

/// alpha + bytes / (bandwidth x efficiency), for one level of links.
struct LinkCost {
  double latencyUs = 0;  // each call
  double perPeerUs = 0;  // for each domain beyond the first
  double efficiency = 1; // of the link's bandwidth
};

struct Link {
  double bandwidth = 0; // byte/s, one direction, each device; 0: no such link
  LinkCost costs[kCollectiveKinds];
};

struct Machine {
  std::string name, device, fabric;
  double memoryBytes = 0;
  double memoryBandwidth = 0;  // byte/s, peak
  double memoryEfficiency = 1; // of the peak, sustained by a large kernel
  double multiprocessors = 1;
  double readPerMultiprocessor = 1; // of an equal share of the bandwidth
  double launchUs = 0;              // between the starts of two small kernels
  double overlapExponent = 2;       // p of (a^p + b^p)^(1/p): memory, compute
  double domainExposed = 1, networkExposed = 1; // of communication that is
                                                // meant to be hidden
  std::map<GemmType, MatmulRate> matmul;
  int64_t domainDevices = 1; // joined by `domain`
  int64_t nodeDevices = 1;   // of one host
  int64_t nodes = 1;
  Link domain, network;
  std::string json; // as read, bases merged

  int64_t devices() const { return nodeDevices * nodes; }
  /// Rate of `type`, or the next wider type that the device has.
  const MatmulRate &rate(GemmType type) const;
};

/// Reads `name`: a path, or the name of a machine that is built in, or
/// NAMExN for N of its nodes. What is wrong is said in `error`.
mlir::FailureOr<Machine> loadMachine(llvm::StringRef name, std::string &error);

/// Reads a machine from JSON text; `origin` stands in messages.
mlir::FailureOr<Machine>
parseMachine(llvm::StringRef text, llvm::StringRef origin, std::string &error);

/// Names of the machines that are built in.
llvm::ArrayRef<llvm::StringRef> builtinMachines();
/// JSON text of one of them; empty if there is none.
llvm::StringRef builtinMachine(llvm::StringRef name);

} // namespace moe
#endif
