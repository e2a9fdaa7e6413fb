#include "moe/Codegen/TileTable.h"
#include "mlir/IR/Builders.h"
#include "moe/Codegen/FewRows.h"
#include "moe/Json/StrictJson.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/ErrorHandling.h"
#include "llvm/Support/FormatVariadic.h"

#include <cmath>

using namespace mlir;
using namespace moe;

void TileChoice::apply(GroupedMatmulSpec &spec) const {
  spec.tileTokens = tileTokens;
  spec.tileWeights = tileWeights;
  spec.swap = swap;
  spec.skipDead = skipDead;
  spec.tails = tails;
  spec.cluster = cluster;
  spec.split = split;
}

DictionaryAttr TileChoice::spell(MLIRContext *context) const {
  Builder b(context);
  NamedAttrList words;
  words.set("tokens", b.getI64IntegerAttr(tileTokens));
  words.set("weights", b.getI64IntegerAttr(tileWeights));
  for (auto [name, flag] : {std::pair<StringRef, bool>("swap", swap),
                            {"skip_dead", skipDead},
                            {"gather", gather}})
    if (flag)
      words.set(name, b.getBoolAttr(true));
  if (tails)
    words.set("tails", b.getI64IntegerAttr(tails));
  if (cluster != 1)
    words.set("cluster", b.getI64IntegerAttr(cluster));
  if (split)
    words.set("split", b.getI64IntegerAttr(split));
  return words.getDictionary(context);
}

/// How far away from a measurement its choice still holds, at most.
static constexpr double reach = 4;
/// Tables round rows: what is apart by that alone leaves no gap.
static constexpr double rounding = 1.01;

std::optional<TileChoice> TileEntry::find(double rows) const {
  if (rows > 0)
    for (const TileBucket &bucket : getBuckets())
      if (bucket.mostRows == 0 || rows <= bucket.mostRows)
        return bucket.choice;
  return std::nullopt;
}

std::vector<TileBucket> TileEntry::getBuckets() const {
  std::vector<TileBucket> buckets;
  for (auto [i, choice] : llvm::enumerate(choices)) {
    if (i == 0)
      buckets.push_back({choice.rows / reach, std::nullopt});
    if (i + 1 == choices.size()) {
      buckets.push_back({choice.rows * reach, choice});
      break;
    }
    double next = choices[i + 1].rows, middle = std::sqrt(choice.rows * next);
    bool meets = middle <= choice.rows * reach * rounding;
    buckets.push_back({meets ? middle : choice.rows * reach, choice});
    if (!meets)
      buckets.push_back({next / reach, std::nullopt});
  }
  buckets.push_back({0, std::nullopt});
  return buckets;
}

const FewEntry *TileTable::findFew(const FewEntry &sizes) const {
  auto it = llvm::find_if(layers, [&](const FewEntry &entry) {
    return entry.experts == sizes.experts && entry.hidden == sizes.hidden &&
           entry.inner == sizes.inner && entry.topK == sizes.topK &&
           entry.fp8 == sizes.fp8;
  });
  return it == layers.end() ? nullptr : &*it;
}

const TileEntry *TileTable::find(int64_t k, int64_t n, bool paired,
                                 bool fp8) const {
  auto it = llvm::find_if(entries, [&](const TileEntry &entry) {
    return entry.k == k && entry.n == n && entry.paired == paired &&
           entry.fp8 == fp8;
  });
  return it == entries.end() ? nullptr : &*it;
}

// What is misspelt would be another tile.
static bool checkKeys(const llvm::json::Object &tile, std::string &error) {
  constexpr StringRef flags[] = {"swap", "skip_dead", "gather"};
  constexpr StringRef numbers[] = {"rows",    "tokens", "weights", "tails",
                                   "cluster", "split",  "us",      "experts"};
  for (const auto &[key, value] : tile) {
    bool isFlag = llvm::is_contained(flags, StringRef(key));
    if (!isFlag && !llvm::is_contained(numbers, StringRef(key)))
      error = ("a tile has `" + StringRef(key) +
               "`, but rows, tokens, weights, swap, skip_dead, gather, tails, "
               "cluster, split, us and experts are known")
                  .str();
    else if (isFlag ? !value.getAsBoolean() : !value.getAsNumber())
      error = ("`" + StringRef(key) + "` of a tile is no " +
               (isFlag ? "boolean" : "number"))
                  .str();
    else if (!isFlag && key != "rows" && key != "us" && !integerOf(value))
      error = ("`" + StringRef(key) + "` of a tile is no integer").str();
  }
  return error.empty();
}

/// Per expert; times experts it stays a number of rows.
static constexpr int64_t mostRows = int64_t(1) << 31;
/// Less is no mean of any number of tokens, and nearly nothing would be 0.
static constexpr double leastRows = 1e-9;

/// {"rows": 16, "tokens": 32, "weights": 128, "swap": true, ...}
static bool readChoice(const llvm::json::Object &object, TileChoice &choice,
                       std::string &error) {
  if (!checkKeys(object, error))
    return false;
  auto rows = object.getNumber("rows");
  auto tokens = integerOf(object, "tokens"),
       weights = integerOf(object, "weights");
  if (!rows || *rows <= 0 || !tokens || !weights) {
    error = "a tile needs positive `rows`, `tokens` and `weights`";
    return false;
  }
  if (*rows < leastRows) {
    error = llvm::formatv("a tile was measured at {0:e} rows, but at least "
                          "{1:e} are expected",
                          *rows, leastRows)
                .str();
    return false;
  }
  if (*rows > mostRows) {
    error = llvm::formatv("a tile was measured at {0:e} rows, but at most {1} "
                          "are expected",
                          *rows, mostRows)
                .str();
    return false;
  }
  choice = {*rows,
            *tokens,
            *weights,
            object.getBoolean("swap").value_or(false),
            object.getBoolean("skip_dead").value_or(false),
            object.getBoolean("gather").value_or(false),
            integerOf(object, "tails").value_or(0),
            integerOf(object, "cluster").value_or(1),
            integerOf(object, "split").value_or(0)};
  return true;
}

static bool readEntry(const llvm::json::Object &object, TileEntry &entry,
                      std::string &error) {
  for (StringRef flag : {"paired", "fp8"})
    if (const llvm::json::Value *value = object.get(flag);
        value && !value->getAsBoolean()) {
      error = ("`" + flag + "` of a matrix is no boolean").str();
      return false;
    }
  auto k = integerOf(object, "k"), n = integerOf(object, "n");
  const llvm::json::Array *tiles = object.getArray("tiles");
  if (!k || !n || *k < 1 || *n < 1 || !tiles || tiles->empty()) {
    error = "a matrix needs positive `k` and `n`, and `tiles`";
    return false;
  }
  entry.k = *k;
  entry.n = *n;
  entry.paired = object.getBoolean("paired").value_or(false);
  entry.fp8 = object.getBoolean("fp8").value_or(false);
  for (const llvm::json::Value &value : *tiles) {
    const llvm::json::Object *tile = value.getAsObject();
    TileChoice choice;
    if (!tile || !readChoice(*tile, choice, error)) {
      if (error.empty())
        error = "a tile is no object";
      return false;
    }
    if (!entry.choices.empty() && entry.choices.back().rows >= choice.rows) {
      error = "tiles are not in ascending order of `rows`";
      return false;
    }
    entry.choices.push_back(choice);
  }
  return true;
}

/// {"experts": 128, "hidden": 2048, "inner": 768, "top_k": 8, "few": [1, 16]}
static bool readLayer(const llvm::json::Value &value, FewEntry &layer,
                      std::string &error) {
  const llvm::json::Object *object = value.getAsObject();
  std::pair<StringRef, int64_t *> sizes[] = {{"experts", &layer.experts},
                                             {"hidden", &layer.hidden},
                                             {"inner", &layer.inner},
                                             {"top_k", &layer.topK}};
  const llvm::json::Array *few = object ? object->getArray("few") : nullptr;
  for (auto [name, size] : sizes) {
    *size = object ? integerOf(*object, name).value_or(0) : 0;
    if (*size < 1 || !few) {
      error = "a layer needs positive `experts`, `hidden`, `inner` and "
              "`top_k`, and `few`";
      return false;
    }
  }
  if (const llvm::json::Value *fp8 = object->get("fp8")) {
    if (!fp8->getAsBoolean()) {
      error = "`fp8` of a layer is no boolean";
      return false;
    }
    layer.fp8 = *fp8->getAsBoolean();
  }
  for (const llvm::json::Value &most : *few) {
    int64_t tokens = integerOf(most).value_or(0);
    int64_t before = layer.tokens.empty() ? 0 : layer.tokens.back();
    if (!llvm::is_contained(fewRowsTokens, tokens) || tokens <= before) {
      error = "`few` is not ascending of 1, 2, 4, 8 and 16";
      return false;
    }
    layer.tokens.push_back(tokens);
  }
  return true;
}

FailureOr<TileTable> moe::parseTileTable(StringRef text, StringRef origin,
                                         std::string &error) {
  auto fail = [&](const llvm::Twine &what) {
    error = (origin + ": " + what).str();
    return failure();
  };
  constexpr uint64_t maxTable = 64 << 20;
  llvm::Expected<llvm::json::Object> object =
      parseObject(text, origin, maxTable);
  if (!object) {
    error = llvm::toString(object.takeError());
    return failure();
  }
  const llvm::json::Array *matrices = object->getArray("matrices");
  if (!matrices)
    return fail("expected an object with `matrices`");
  TileTable table;
  if (auto device = object->getString("device"))
    table.device = *device;
  for (const llvm::json::Value &value : *matrices) {
    const llvm::json::Object *matrix = value.getAsObject();
    TileEntry entry;
    std::string reason;
    if (!matrix || !readEntry(*matrix, entry, reason))
      return fail(reason.empty() ? "a matrix is no object" : reason);
    if (table.find(entry.k, entry.n, entry.paired, entry.fp8))
      return fail(llvm::Twine("k ") + llvm::Twine(entry.k) + ", n " +
                  llvm::Twine(entry.n) + " stands twice");
    table.entries.push_back(std::move(entry));
  }
  if (const llvm::json::Array *layers = object->getArray("layers"))
    for (const llvm::json::Value &value : *layers) {
      FewEntry layer;
      std::string reason;
      if (!readLayer(value, layer, reason))
        return fail(reason);
      table.layers.push_back(std::move(layer));
    }
  return table;
}

/// The text of machines/kernels/h200.json, put here by the build.
extern const char *const moeBuiltinTiles;

const TileTable &moe::getBuiltinTileTable() {
  static const TileTable table = [] {
    std::string error;
    FailureOr<TileTable> parsed =
        parseTileTable(moeBuiltinTiles, "machines/kernels/h200.json", error);
    if (failed(parsed))
      llvm::report_fatal_error(llvm::StringRef(error));
    return std::move(*parsed);
  }();
  return table;
}
