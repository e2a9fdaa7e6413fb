// How long the collectives take, by how much they move.
#ifndef MOERT_TEST_CUDA_MEASURE_H
#define MOERT_TEST_CUDA_MEASURE_H

#include "comm/nccl.h"
#include "staged.h"

namespace moert::test {

// By all ranks; rank 0 prints a table and writes it as JSON.
Status measureCollectives(std::shared_ptr<Device> device, StagedRank &rank,
                          NcclWorld &world, int number, int ranks,
                          const std::string &where, const std::string &file);

} // namespace moert::test

#endif
