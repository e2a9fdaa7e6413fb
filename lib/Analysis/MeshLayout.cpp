// Rank r has the digits (edp, ep, etp), the last fastest. A group of c
// neighbours ends inside one of these axes: that axis becomes two, of which
// the faster one belongs to the group.
#include "moe/Analysis/MeshLayout.h"
#include "mlir/IR/Diagnostics.h"

using namespace mlir;
using namespace moe;

namespace {
struct Piece {
  int64_t size;
  unsigned role; // 0 edp, 1 ep, 2 etp
  bool isNode = false;
};
} // namespace

/// Ranks in one step of piece `index`.
static int64_t strideOf(ArrayRef<Piece> pieces, size_t index) {
  int64_t stride = 1;
  for (size_t i = index + 1; i < pieces.size(); ++i)
    stride *= pieces[i].size;
  return stride;
}

/// Cuts so that `neighbours` ranks are the steps of whole axes; returns the
/// first of these axes, or none.
static std::optional<size_t> cutAt(SmallVectorImpl<Piece> &pieces,
                                   int64_t neighbours) {
  for (size_t i = 0; i < pieces.size(); ++i) {
    int64_t stride = strideOf(pieces, i), whole = stride * pieces[i].size;
    if (neighbours == whole)
      return i;
    if (neighbours > whole || neighbours <= stride)
      continue;
    if (neighbours % stride != 0 || whole % neighbours != 0)
      return std::nullopt;
    Piece fast{neighbours / stride, pieces[i].role, pieces[i].isNode};
    pieces[i].size = whole / neighbours;
    pieces[i].isNode = false;
    pieces.insert(pieces.begin() + i + 1, fast);
    return i + 1;
  }
  return pieces.size(); // of one rank
}

static const char *const kRoles[] = {"edp", "ep", "etp"};

// Marks the axis that ends a node; one of size 1 where a whole axis does.
static bool markNode(SmallVectorImpl<Piece> &pieces, int64_t perNode) {
  size_t before = pieces.size();
  std::optional<size_t> first = cutAt(pieces, perNode);
  if (!first)
    return false;
  if (pieces.size() > before) {
    pieces[*first - 1].isNode = true;
    return true;
  }
  // Role of what follows, so that the axes of a role stay together.
  unsigned role = *first < pieces.size() ? pieces[*first].role : 2;
  pieces.insert(pieces.begin() + *first, Piece{1, role, true});
  return true;
}

static LogicalResult cutNodes(SmallVectorImpl<Piece> &pieces,
                              const PlacementWords &words,
                              function_ref<InFlightDiagnostic()> emitError) {
  int64_t perNode = words.ranks / words.nodes;
  bool needsNodes = words.dispatcher == Dispatcher::TwoLevel;
  if (needsNodes && (words.nodes == 1 || perNode >= words.ep * words.etp))
    return emitError() << "`dispatcher=two_level` is given, but each of nodes="
                       << words.nodes << " holds all of ep=" << words.ep
                       << " x etp=" << words.etp
                       << "; the nearest legal choice is "
                          "`dispatcher=all_to_all dedup=true`";
  if (needsNodes && perNode == words.etp)
    return emitError() << "`dispatcher=two_level` is given, but each of nodes="
                       << words.nodes << " holds one rank of ep=" << words.ep
                       << " only; the nearest legal choice is "
                          "`dispatcher=all_to_all dedup=true`";
  if (needsNodes && perNode < words.etp)
    return emitError() << "`dispatcher=two_level` is given, but the " << perNode
                       << " ranks of a node hold a part of etp=" << words.etp
                       << " only; nearest legal choice: "
                       << nearestChoices(
                              "etp", words.etp, perNode, [&](int64_t n) {
                                return perNode % n == 0 && n < perNode;
                              });
  if (words.nodes == 1 || markNode(pieces, perNode))
    return success();
  return emitError() << "the " << perNode
                     << " ranks of each of nodes=" << words.nodes
                     << " cut across edp=" << words.edp << " x ep=" << words.ep
                     << " x etp=" << words.etp << "; nearest legal choice: "
                     << nearestChoices(
                            "nodes", words.nodes, words.ranks, [&](int64_t n) {
                              SmallVector<Piece> trial{{words.edp, 0},
                                                       {words.ep, 1},
                                                       {words.etp, 2}};
                              return words.ranks % n == 0 &&
                                     cutAt(trial, words.ranks / n).has_value();
                            });
}

FailureOr<MeshLayout>
MeshLayout::of(const PlacementWords &words,
               function_ref<InFlightDiagnostic()> emitError) {
  SmallVector<Piece> pieces{{words.edp, 0}, {words.ep, 1}, {words.etp, 2}};
  if (failed(cutNodes(pieces, words, emitError)))
    return failure();
  // Split tokens are in everybody's own share, whatever attention's groups are.
  bool folds = words.boundary == Boundary::Replicated && words.hasAttention &&
               words.attnTp > 1;
  std::optional<size_t> attention = pieces.size();
  if (folds)
    attention = cutAt(pieces, words.attnTp);
  if (!attention)
    return emitError() << "attn_tp=" << words.attnTp
                       << " neighbours with the same tokens cut across edp="
                       << words.edp << " x ep=" << words.ep
                       << " x etp=" << words.etp << " on nodes=" << words.nodes
                       << "; nearest legal choice: "
                       << nearestChoices("attn_tp", words.attnTp, words.ranks,
                                         [&](int64_t n) {
                                           SmallVector<Piece> trial(pieces);
                                           return words.ranks % n == 0 &&
                                                  cutAt(trial, n).has_value();
                                         });
  MeshLayout mesh;
  SmallVector<int64_t> *roles[] = {&mesh.edp, &mesh.ep, &mesh.etp};
  unsigned named[] = {0, 0, 0};
  for (auto [axis, piece] : llvm::enumerate(pieces)) {
    mesh.shape.push_back(piece.size);
    roles[piece.role]->push_back(axis);
    std::string name = kNodeAxis.str();
    if (!piece.isNode) {
      name = kRoles[piece.role];
      if (unsigned count = ++named[piece.role]; count > 1)
        name += std::to_string(count);
    }
    mesh.names.push_back(name);
    if (folds && axis >= *attention)
      mesh.attnTp.push_back(axis);
  }
  return mesh;
}
