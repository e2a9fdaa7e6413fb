#include "moe/Analysis/PlacementWords.h"
#include "moe/Analysis/KeyWords.h"
#include "moe/Analysis/PlacementSearch.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace moe;

static constexpr StringRef kWords[] = {
    "ranks",      "ep",    "etp",      "edp",    "nodes",
    "dispatcher", "dedup", "boundary", "shared", "attn_tp",
    "attn_dp",    "cp",    "tokens",   "phase",  "machine"};
static constexpr int64_t kMaxRanks = 65536;
static constexpr int64_t kMaxTokens = int64_t(1) << 31;

std::string PlacementWords::spell() const {
  std::string text;
  llvm::raw_string_ostream stream(text);
  stream << "ranks=" << ranks << " ep=" << ep << " etp=" << etp
         << " edp=" << edp << " dispatcher=" << stringifyDispatcher(dispatcher)
         << " dedup=" << (dedup ? "true" : "false")
         << " boundary=" << stringifyBoundary(boundary)
         << " shared=" << stringifySharedLayout(shared);
  if (nodes > 1)
    stream << " nodes=" << nodes;
  if (hasAttention)
    stream << " attn_tp=" << attnTp << " attn_dp=" << attnDp << " cp=" << cp;
  if (tokens)
    stream << " tokens=" << *tokens;
  if (!phase.empty())
    stream << " phase=" << phase;
  return text;
}

std::string moe::nearestChoices(StringRef key, int64_t wanted, int64_t limit,
                                function_ref<bool(int64_t)> isLegal) {
  SmallVector<std::string, 2> choices;
  for (int64_t below = std::min(wanted - 1, limit); below >= 1; --below)
    if (isLegal(below)) {
      choices.push_back((key + "=" + Twine(below)).str());
      break;
    }
  for (int64_t above = wanted + 1; above <= limit; ++above)
    if (isLegal(above)) {
      choices.push_back((key + "=" + Twine(above)).str());
      break;
    }
  return choices.empty() ? "none" : llvm::join(choices, " or ");
}

namespace {

class WordReader {
public:
  explicit WordReader(function_ref<InFlightDiagnostic()> emitError)
      : emitError(emitError), given(emitError) {}
  FailureOr<PlacementWords> resolve(StringRef text);

private:
  LogicalResult fillDegrees(PlacementWords &words, std::optional<int64_t> ep,
                            std::optional<int64_t> edp);
  LogicalResult fillAttention(PlacementWords &words);

  function_ref<InFlightDiagnostic()> emitError;
  KeyWords given;
};

} // namespace

LogicalResult WordReader::fillDegrees(PlacementWords &words,
                                      std::optional<int64_t> ep,
                                      std::optional<int64_t> edp) {
  int64_t ranks = words.ranks, etp = words.etp;
  if (ranks % etp != 0)
    return emitError() << "etp=" << etp << " does not divide ranks=" << ranks
                       << "; nearest legal choice: "
                       << nearestChoices("etp", etp, ranks, [&](int64_t n) {
                            return ranks % n == 0;
                          });
  int64_t groups = ranks / etp;
  if (ep && edp) {
    if (*ep * *edp != groups)
      return emitError() << "ep=" << *ep << " x etp=" << etp
                         << " x edp=" << *edp << " is " << *ep * etp * *edp
                         << ", but ranks=" << ranks
                         << "; nearest legal choice: "
                         << (groups % *ep == 0    ? "edp="
                             : groups % *edp == 0 ? "ep="
                                                  : "edp=1 ep=")
                         << (groups % *ep == 0    ? groups / *ep
                             : groups % *edp == 0 ? groups / *edp
                                                  : groups);
    words.ep = *ep;
    words.edp = *edp;
    return success();
  }
  StringRef key = ep ? "ep" : "edp";
  int64_t one = ep ? *ep : edp.value_or(1);
  if (groups % one != 0)
    return emitError() << key << "=" << one
                       << (etp == 1 ? std::string()
                                    : " x etp=" + std::to_string(etp))
                       << " does not divide ranks=" << ranks
                       << "; nearest legal choice: "
                       << nearestChoices(key, one, groups, [&](int64_t n) {
                            return groups % n == 0;
                          });
  words.ep = ep ? one : groups / one;
  words.edp = ep ? groups / one : one;
  return success();
}

LogicalResult WordReader::fillAttention(PlacementWords &words) {
  std::optional<int64_t> tp, dp, cp;
  if (failed(given.number("attn_tp", kMaxRanks, tp)) ||
      failed(given.number("attn_dp", kMaxRanks, dp)) ||
      failed(given.number("cp", kMaxRanks, cp)))
    return failure();
  words.hasAttention = tp || dp || cp;
  words.cp = cp.value_or(1);
  int64_t known = words.cp * tp.value_or(1) * dp.value_or(1);
  bool open = !tp || !dp;
  if (words.ranks % known != 0 || (!open && known != words.ranks))
    return emitError() << "attn_tp=" << tp.value_or(1)
                       << " x attn_dp=" << dp.value_or(1)
                       << " x cp=" << words.cp << " is " << known
                       << (open ? ", which does not divide ranks="
                                : ", but ranks=")
                       << words.ranks << "; nearest legal choice: "
                       << nearestChoices("attn_tp", tp.value_or(1), words.ranks,
                                         [&](int64_t n) {
                                           int64_t all =
                                               known / tp.value_or(1) * n;
                                           return open ? words.ranks % all == 0
                                                       : words.ranks == all;
                                         });
  int64_t rest = words.ranks / known;
  bool tpTakesIt = !tp && (dp || words.boundary == Boundary::Replicated);
  words.attnTp = tp.value_or(tpTakesIt ? rest : 1);
  words.attnDp = dp.value_or(tpTakesIt ? 1 : rest);
  return success();
}

FailureOr<PlacementWords> WordReader::resolve(StringRef text) {
  if (failed(given.read(text, kWords, planWords())))
    return failure();
  PlacementWords words;
  std::optional<int64_t> ranks, ep, etp, edp, nodes;
  StringRef dispatcher = "all_to_all", dedup = "false", boundary = "split",
            shared = "replicated", phase;
  if (failed(given.number("ranks", kMaxRanks, ranks)) ||
      failed(given.number("ep", kMaxRanks, ep)) ||
      failed(given.number("etp", kMaxRanks, etp)) ||
      failed(given.number("edp", kMaxRanks, edp)) ||
      failed(given.number("nodes", kMaxRanks, nodes)) ||
      failed(given.number("tokens", kMaxTokens, words.tokens)) ||
      failed(given.choice("dispatcher",
                          {"all_to_all", "all_gather", "two_level"},
                          dispatcher)) ||
      failed(given.choice("dedup", {"false", "true"}, dedup)) ||
      failed(given.choice("boundary", {"split", "replicated"}, boundary)) ||
      failed(given.choice("shared", {"replicated", "split"}, shared)) ||
      failed(given.choice("phase", {"prefill", "decode", "train"}, phase)))
    return failure();
  if (!ranks)
    return emitError() << "`ranks` is missing, but the number of ranks is "
                          "expected, such as `ranks="
                       << ep.value_or(1) * etp.value_or(1) * edp.value_or(1)
                       << "`";
  words.ranks = *ranks;
  words.etp = etp.value_or(1);
  words.dispatcher = *symbolizeDispatcher(dispatcher);
  words.boundary = *symbolizeBoundary(boundary);
  words.shared = *symbolizeSharedLayout(shared);
  words.dedup = dedup == "true";
  words.phase = phase.str();
  words.nodes = nodes.value_or(1);
  if (words.ranks % words.nodes != 0)
    return emitError() << "nodes=" << words.nodes
                       << " does not divide ranks=" << words.ranks
                       << "; nearest legal choice: "
                       << nearestChoices(
                              "nodes", words.nodes, words.ranks,
                              [&](int64_t n) { return words.ranks % n == 0; });
  if (failed(fillDegrees(words, ep, edp)) || failed(fillAttention(words)))
    return failure();
  return words;
}

FailureOr<PlacementWords>
moe::parsePlacementWords(StringRef text,
                         function_ref<InFlightDiagnostic()> emitError) {
  return WordReader(emitError).resolve(text);
}
