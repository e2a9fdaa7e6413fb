// What a program gets when it calls nonsense.
#include "comm/local.h"
#include "rank.h"

#include <gtest/gtest.h>

using namespace moert;

namespace {

// One rank alone, with its context.
struct Alone {
  Topology topology{{1}, {{0}}};
  LocalWorld world{topology, 1};
  Rank rank{0, topology, {}, 1, nullptr, world.endpoint(0)};

  std::string message() const { return rank.team.status().message(); }
};

} // namespace

TEST(EntryPoints, TheHeadIsWhatTheContractSays) {
  Alone alone;
  EXPECT_EQ(alone.rank.context()->entries, &entryTable());
  EXPECT_EQ(alone.rank.context()->coordinates[0], 0);
}

TEST(EntryPoints, AFailureStaysTheRanks) {
  Alone alone;
  moert_context *context = alone.rank.context();
  float value = 2, sum = 0;
  EXPECT_EQ(
      context->entries->all_reduce(context, 0, MOERT_F32, &value, &sum, 1),
      MOERT_OK);
  EXPECT_EQ(sum, 2);
  EXPECT_EQ(context->entries->team_barrier(context), MOERT_OK);
  EXPECT_EQ(context->entries->fail(context, MOERT_FAIL_ROWS, 9, 8),
            MOERT_ERROR_PROGRAM);
  EXPECT_EQ(alone.message(), "9 rows do not fit into a buffer for 8");
  EXPECT_EQ(context->entries->team_barrier(context), MOERT_ERROR_PROGRAM);
  EXPECT_EQ(
      context->entries->all_reduce(context, 0, MOERT_F32, &value, &sum, 1),
      MOERT_ERROR_ABORTED);
  EXPECT_EQ(alone.message(), "9 rows do not fit into a buffer for 8");
}

TEST(EntryPoints, ReasonsAreTold) {
  auto message = [](int32_t reason, int64_t found, int64_t limit) {
    Alone alone;
    moert_context *context = alone.rank.context();
    context->entries->fail(context, reason, found, limit);
    return alone.message();
  };
  EXPECT_EQ(message(MOERT_FAIL_EXPERT_ID, -1, 8),
            "expert id -1 is outside of 0 to 7");
  EXPECT_EQ(message(MOERT_FAIL_DUPLICATE_ID, 3, 17),
            "token 17 of this rank names expert 3 twice");
  EXPECT_EQ(message(99, 1, 2),
            "the program failed for the unknown reason 99 (1, 2)");
}

TEST(EntryPoints, UnknownTypesAndGroupsAreRefused) {
  auto message = [](int32_t group, int32_t dtype) {
    Alone alone;
    moert_context *context = alone.rank.context();
    float value = 0;
    EXPECT_EQ(
        context->entries->all_gather(context, group, dtype, &value, &value, 1),
        MOERT_ERROR_INTERNAL);
    return alone.message();
  };
  EXPECT_EQ(message(0, 9), "all_gather with the unknown dtype 9");
  EXPECT_EQ(message(0, -1), "all_gather with the unknown dtype -1");
  EXPECT_EQ(message(1, 0), "all_gather on group 1, the artifact has 1");
}

TEST(EntryPoints, OnlyChoicesOfTheManifestHaveVariants) {
  Alone alone;
  alone.rank.variants = {0, 5};
  moert_context *context = alone.rank.context();
  int32_t number = -1;
  EXPECT_EQ(context->entries->variant(context, 1, &number), MOERT_OK);
  EXPECT_EQ(number, 5);
  EXPECT_EQ(context->entries->variant(context, 2, &number),
            MOERT_ERROR_INTERNAL);
  EXPECT_EQ(alone.message(), "the program asks for the variant of choice 2, "
                             "the manifest lists 2");
}
