// Tables that moe-run tune writes.
#include "tune_table.h"

#include "temporary_folder.h"

#include <gtest/gtest.h>

using namespace moert;
using namespace moert::test;

static KernelTable readTable(const TemporaryFolder &folder,
                             const std::string &text) {
  Result<KernelTable> table =
      KernelTable::read(folder.write("table.json", text));
  EXPECT_TRUE(table.ok()) << table.status().message();
  return table.ok() ? *table : KernelTable();
}

// One of them would be lost.
TEST(TuneTable, TilesOfTheSameRowsAreRefused) {
  TemporaryFolder folder;
  Result<KernelTable> table = KernelTable::read(
      folder.write("table.json", R"({"matrices": [{"k": 64, "n": 64, "tiles": [
                        {"rows": 4, "tokens": 16, "weights": 128},
                        {"rows": 4.0, "tokens": 32, "weights": 128}]}]})"));
  ASSERT_FALSE(table.ok());
  EXPECT_NE(table.status().message().find("tiles[1] has the 4 rows of another"),
            std::string::npos)
      << table.status().message();
}

// moe-opt refuses numbers that do not ascend.
TEST(TuneTable, AKernelThatIsKeptAndChosenStandsOnce) {
  TemporaryFolder folder;
  KernelTable table = readTable(
      folder, R"({"matrices": [], "layers": [{"experts": 16, "top_k": 1,
                  "hidden": 64, "inner": 96, "few": [1, 8, 16]}]})");
  Choice layer;
  layer.isLayer = true;
  layer.experts = 16;
  layer.topK = 1;
  layer.hidden = 64;
  layer.inner = 96;
  table.setFew(layer, /*measured=*/{1, 2, 4}, /*few=*/{8, 1});
  EXPECT_NE(table.text("a device").find("\"few\": [1, 8, 16]"),
            std::string::npos)
      << table.text("a device");
}

TEST(TuneTable, LayersInFp8StandApart) {
  TemporaryFolder folder;
  KernelTable table = readTable(folder, R"({"matrices": [], "layers": [
                  {"experts": 16, "top_k": 1, "hidden": 64, "inner": 96, "few": [1, 16]},
                  {"experts": 16, "top_k": 1, "hidden": 64, "inner": 96, "fp8": true, "few": [1]}]})");
  Choice layer;
  layer.isLayer = layer.isFp8 = true;
  layer.experts = 16;
  layer.topK = 1;
  layer.hidden = 64;
  layer.inner = 96;
  table.setFew(layer, /*measured=*/{1, 2}, /*few=*/{2});
  std::string text = table.text("a device");
  EXPECT_NE(text.find("\"inner\": 96, \"few\": [1, 16]"), std::string::npos)
      << text;
  EXPECT_NE(text.find("\"fp8\": true, \"few\": [2]"), std::string::npos)
      << text;
}

TEST(TuneTable, WhatIsMeasuredAgainIsReplaced) {
  TemporaryFolder folder;
  KernelTable table = readTable(
      folder, R"({"matrices": [{"k": 64, "n": 128, "paired": true, "tiles": [
                  {"rows": 4, "tokens": 16, "weights": 128, "split": 2},
                  {"rows": 8, "tokens": 16, "weights": 128}]}]})");
  Choice product;
  product.k = 64;
  product.n = 128;
  product.isPaired = true;
  product.experts = 4;
  table.setTile(product, 8.001, R"({"tokens": 32, "weights": 128})", 1e-6);
  std::string text = table.text("a device");
  EXPECT_NE(text.find("\"split\": 2"), std::string::npos) << text;
  EXPECT_EQ(text.find("\"rows\": 8,"), std::string::npos) << text;
  EXPECT_NE(text.find("\"rows\": 8.001, \"tokens\": 32"), std::string::npos)
      << text;
}
