// Packing of bf16 rows: every element of the target is the source's or zero.
#include "emulator.h"

int main(int argc, char **argv) {
  readSettings(argc, argv);
  size_t groups = setting("groups", 1), parts = setting("parts", 1),
         rows = setting("rows"), columns = setting("columns"),
         paddedRows = setting("padded-rows"),
         paddedColumns = setting("padded-columns");
  std::vector<uint16_t> source(groups * parts * rows * columns);
  for (size_t i = 0; i < source.size(); ++i)
    source[i] = static_cast<uint16_t>(1 + i % 65521);
  std::vector<uint16_t> target(groups * parts * paddedRows * paddedColumns,
                               0xFFFF);
  arrays = {{"source", source.data()}, {"target", target.data()}};
  emulator::launch(setting("grid"), setting("threads"), callKernel);
  for (size_t i = 0; i < target.size(); ++i) {
    size_t row = i / paddedColumns, column = i % paddedColumns;
    if (setting("blocked")) {
      size_t block = i / 512, across = paddedColumns / 64;
      row = block / across * 8 + i % 512 / 64;
      column = block % across * 64 + i % 64;
    }
    size_t group = row / (parts * paddedRows),
           inGroup = row % (parts * paddedRows);
    size_t part = parts == 2 ? inGroup / 8 % 2 : 0;
    size_t inPart = parts == 2 ? inGroup / 16 * 8 + inGroup % 8 : inGroup;
    uint16_t want = 0;
    if (inPart < rows && column < columns)
      want =
          source[((group * parts + part) * rows + inPart) * columns + column];
    if (target[i] != want)
      emulator::fail("another element than expected");
  }
  return 0;
}
