#include "tune_table.h"

#include "mapped_file.h"

#include <algorithm>
#include <cmath>

using namespace moert;

static constexpr JsonLimits TableLimits = {64 << 20, 8};
static constexpr int64_t MostSize = int64_t(1) << 40;

void KernelTable::readMatrix(const Json &json, std::string path,
                             std::string &problem) {
  JsonObject object(json, std::move(path), problem);
  Matrix matrix = {object.integer("k", 1, MostSize),
                   object.integer("n", 1, MostSize),
                   object.has("paired") && object.flag("paired"),
                   object.has("fp8") && object.flag("fp8")};
  if (!object.failed() && matrices.count(matrix))
    object.fail("k", "stands twice with the same n");
  std::map<double, Json> &tiles = matrices[matrix];
  const Json &all = object.array("tiles", 1, 4096);
  object.finish();
  for (size_t i = 0; i < all.size() && !object.failed(); ++i) {
    Json tile = all[i];
    double rows = 0;
    if (tile.is_object() && tile.contains("rows") && tile["rows"].is_number())
      rows = tile["rows"].get<double>();
    if (!(rows > 0) || !std::isfinite(rows))
      return object.fail(element("tiles", i), "has no positive `rows`");
    if (tiles.contains(rows))
      return object.fail(element("tiles", i),
                         concat("has the ", rows, " rows of another"));
    tile.erase("rows");
    tiles[rows] = std::move(tile);
  }
}

void KernelTable::readLayer(const Json &json, std::string path,
                            std::string &problem) {
  JsonObject object(json, std::move(path), problem);
  Layer layer = {object.integer("experts", 1, MostSize),
                 object.integer("top_k", 1, MostSize),
                 object.integer("hidden", 1, MostSize),
                 object.integer("inner", 1, MostSize),
                 object.has("fp8") && object.flag("fp8")};
  layers[layer] = object.integers("few", 0, 64, 1, 1 << 20);
  object.finish();
}

Result<KernelTable> KernelTable::read(const std::string &path) {
  Result<std::shared_ptr<MappedFile>> file = MappedFile::open(path);
  if (!file.ok())
    return file.status();
  Result<Json> json = parseJson((*file)->bytes(), TableLimits);
  if (!json.ok())
    return json.status().in(printable(path));
  KernelTable table;
  std::string problem;
  JsonObject object(*json, "", problem);
  if (object.has("device"))
    (void)object.string("device");
  const Json &matrices = object.array("matrices", 0, 4096);
  for (size_t i = 0; i < matrices.size() && problem.empty(); ++i)
    table.readMatrix(matrices[i], element("matrices", i), problem);
  if (object.has("layers")) {
    const Json &layers = object.array("layers", 0, 4096);
    for (size_t i = 0; i < layers.size() && problem.empty(); ++i)
      table.readLayer(layers[i], element("layers", i), problem);
  }
  if (problem.empty())
    object.finish();
  if (!problem.empty())
    return Status::error(MOERT_ERROR_INVALID_FILE, printable(path),
                         " is no table of kernels: ", problem);
  return table;
}

void KernelTable::setTile(const Choice &product, double rows,
                          const std::string &tile, double seconds) {
  Json words = Json::parse(tile);
  words["us"] = std::round(seconds * 1e7) / 10;
  words["experts"] = product.experts;
  auto &tiles =
      matrices[{product.k, product.n, product.isPaired, product.isFp8}];
  // Two numbers that differ by rounding are one.
  std::erase_if(tiles, [&](const auto &known) {
    return std::abs(known.first - rows) <= 1e-3 * rows;
  });
  tiles[rows] = std::move(words);
}

void KernelTable::setFew(const Choice &layer,
                         const std::vector<int64_t> &measured,
                         const std::vector<int64_t> &few) {
  std::vector<int64_t> &known = layers[{layer.experts, layer.topK, layer.hidden,
                                        layer.inner, layer.isFp8}];
  std::erase_if(known, [&](int64_t tokens) {
    return std::find(measured.begin(), measured.end(), tokens) !=
           measured.end();
  });
  known.insert(known.end(), few.begin(), few.end());
  std::sort(known.begin(), known.end());
  // A kernel is kept and chosen, where its own number was not measured.
  known.erase(std::unique(known.begin(), known.end()), known.end());
}

// The size of a tile first, where and how it was measured last.
static std::string tileText(double rows, const Json &words) {
  std::vector<std::string> fields = {concat("\"rows\": ", Json(rows).dump())};
  auto add = [&](const std::string &name, const Json &value) {
    fields.push_back(concat(Json(name).dump(), ": ", value.dump()));
  };
  auto addKnown = [&](const char *name) {
    if (words.contains(name))
      add(name, words[name]);
  };
  addKnown("tokens");
  addKnown("weights");
  for (const auto &[name, value] : words.items())
    if (name != "tokens" && name != "weights" && name != "us" &&
        name != "experts")
      add(name, value);
  addKnown("us");
  addKnown("experts");
  return concat("{", join(fields), "}");
}

std::string KernelTable::text(const std::string &device) const {
  std::string text =
      concat("{\n \"device\": ", Json(device).dump(), ",\n \"matrices\": [");
  const char *separator = "\n";
  for (const auto &[matrix, tiles] : matrices) {
    auto [k, n, paired, fp8] = matrix;
    text += concat(separator, "  {\"k\": ", k, ", \"n\": ", n,
                   ", \"paired\": ", paired ? "true" : "false",
                   fp8 ? ", \"fp8\": true" : "", ", \"tiles\": [");
    separator = ",\n";
    const char *next = "\n    ";
    for (const auto &[rows, words] : tiles) {
      text += next + tileText(rows, words);
      next = ",\n    ";
    }
    text += "\n  ]}";
  }
  text += "\n ],\n \"layers\": [";
  separator = "\n  ";
  for (const auto &[layer, few] : layers) {
    auto [experts, topK, hidden, inner, fp8] = layer;
    text += concat(separator, "{\"experts\": ", experts, ", \"top_k\": ", topK,
                   ", \"hidden\": ", hidden, ", \"inner\": ", inner,
                   fp8 ? ", \"fp8\": true" : "", ", \"few\": ", bracketed(few),
                   "}");
    separator = ",\n  ";
  }
  return text + "\n ]\n}\n";
}
