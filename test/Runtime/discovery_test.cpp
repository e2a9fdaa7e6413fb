// Which process of a job this is, for each launcher.
#include "launch/discovery.h"

#include <gtest/gtest.h>

using namespace moert;

namespace {

struct Found {
  std::optional<Launch> launch;
  std::string error, log;
};

Found discover(const Variables &variables, const LaunchFlags &flags = {}) {
  Found found;
  Result<std::optional<Launch>> result = discoverLaunch(
      flags, variables, [&](const std::string &line) { found.log += line; });
  if (result.ok())
    found.launch = *result;
  else
    found.error = result.status().message();
  return found;
}

const Variables Torchrun = {{"RANK", "3"},
                            {"WORLD_SIZE", "8"},
                            {"LOCAL_RANK", "1"},
                            {"LOCAL_WORLD_SIZE", "2"},
                            {"MASTER_ADDR", "node7"},
                            {"MASTER_PORT", "29500"},
                            {"TORCHELASTIC_RUN_ID", "none"},
                            {"TORCHELASTIC_RESTART_COUNT", "0"},
                            {"TORCHELASTIC_USE_AGENT_STORE", "True"}};
const Variables OpenMpi = {{"OMPI_COMM_WORLD_RANK", "2"},
                           {"OMPI_COMM_WORLD_SIZE", "4"},
                           {"OMPI_COMM_WORLD_LOCAL_RANK", "2"},
                           {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"},
                           {"PMIX_NAMESPACE", "2716925953"}};
const Variables Slurm = {{"SLURM_PROCID", "5"},
                         {"SLURM_STEP_NUM_TASKS", "6"},
                         {"SLURM_LOCALID", "1"},
                         {"SLURM_JOB_ID", "77"},
                         {"SLURM_STEP_ID", "2"},
                         {"SLURM_STEP_NUM_NODES", "3"},
                         {"SLURM_STEP_NODELIST", "gpu[07-09]"}};

Variables with(Variables base, const Variables &more) {
  for (const auto &[name, value] : more)
    base[name] = value;
  return base;
}

} // namespace

TEST(Discovery, NothingIsOneProcess) {
  Found found = discover({{"HOME", "/"}, {"RANK", "3"}});
  EXPECT_FALSE(found.launch);
  EXPECT_EQ(found.error + found.log, "");
}

TEST(Discovery, TorchrunLeavesItsAgentThePort) {
  Found found = discover(Torchrun);
  ASSERT_TRUE(found.launch) << found.error;
  EXPECT_EQ(found.launch->source, LaunchSource::Torchrun);
  EXPECT_EQ(found.launch->rank, 3);
  EXPECT_EQ(found.launch->world, 8);
  EXPECT_EQ(found.launch->localRank, 1);
  EXPECT_EQ(found.launch->localWorld, 2);
  EXPECT_EQ(found.launch->host, "node7");
  EXPECT_EQ(found.launch->ports.front(), 29501);
  EXPECT_EQ(found.log, "");
  Variables other = with(Torchrun, {{"MASTER_PORT", "29400"}});
  EXPECT_NE(discover(other).launch->job, found.launch->job);
}

TEST(Discovery, OpenMpiOnOneHostMeetsOnAPortOfItsJob) {
  Found found = discover(OpenMpi);
  ASSERT_TRUE(found.launch) << found.error;
  EXPECT_EQ(found.launch->rank, 2);
  EXPECT_EQ(found.launch->world, 4);
  EXPECT_EQ(found.launch->host, "127.0.0.1");
  EXPECT_GE(found.launch->ports.front(), 20000);
  EXPECT_EQ(found.launch->ports.size(), 16u);
  Found other = discover(with(OpenMpi, {{"PMIX_NAMESPACE", "2716925954"}}));
  EXPECT_NE(other.launch->job, found.launch->job);
  EXPECT_NE(other.launch->ports, found.launch->ports);
}

TEST(Discovery, MpichSaysNothingOfTheMeetingPoint) {
  Variables variables = {{"PMI_RANK", "0"}, {"PMI_SIZE", "2"}};
  Found found = discover(variables);
  ASSERT_TRUE(found.launch) << found.error;
  EXPECT_EQ(found.launch->source, LaunchSource::Mpich);
  EXPECT_TRUE(found.launch->ports.empty());
  found =
      discover(with(variables, {{"MASTER_ADDR", "a"}, {"MASTER_PORT", "400"}}));
  EXPECT_EQ(found.launch->ports.front(), 400);
}

TEST(Discovery, SlurmStepsButNotBatchScripts) {
  Found found = discover(Slurm);
  ASSERT_TRUE(found.launch) << found.error;
  EXPECT_EQ(found.launch->source, LaunchSource::Slurm);
  EXPECT_EQ(found.launch->rank, 5);
  EXPECT_EQ(found.launch->host, "gpu07");
  EXPECT_FALSE(found.launch->ports.empty());
  for (const auto &[list, first] : {std::pair("a,b", "a"),
                                    {"x[3]-ib,y", "x3-ib"},
                                    {"one", "one"},
                                    {"broken[", ""},
                                    {"r[1,4]n[2-3]", "r1n[2-3]"}})
    EXPECT_EQ(
        discover(with(Slurm, {{"SLURM_STEP_NODELIST", list}})).launch->host,
        first);
  Variables batch = {
      {"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}, {"SLURM_JOB_ID", "77"}};
  EXPECT_FALSE(discover(batch).launch);
}

TEST(Discovery, PlainVariablesHaveOnePort) {
  Variables variables = {{"RANK", "0"},
                         {"WORLD_SIZE", "2"},
                         {"MASTER_ADDR", "localhost"},
                         {"MASTER_PORT", "4000"}};
  Found found = discover(variables);
  ASSERT_TRUE(found.launch) << found.error;
  EXPECT_EQ(found.launch->source, LaunchSource::Variables);
  EXPECT_EQ(found.launch->ports, std::vector<int>{4000});
  EXPECT_EQ(found.log, "");
  // Forgotten, every process would run all ranks and say nothing.
  variables.erase("MASTER_PORT");
  found = discover(variables);
  EXPECT_FALSE(found.launch);
  EXPECT_EQ(found.log, "all ranks are in this process: RANK and WORLD_SIZE are "
                       "set, but not MASTER_PORT, where several would meet");
  EXPECT_EQ(discover(with(variables, {{"WORLD_SIZE", "1"}})).log, "");
}

TEST(Discovery, TheFirstCompleteSourceWins) {
  Found found = discover(with(OpenMpi, Slurm));
  ASSERT_TRUE(found.launch) << found.error;
  EXPECT_EQ(found.launch->source, LaunchSource::OpenMpi);
  EXPECT_EQ(found.log, "rank 2 of 4 by Open MPI; ignored: Slurm");
  found =
      discover(with(with(OpenMpi, Slurm), Torchrun), {"1", "2", "[::1]:5000"});
  ASSERT_TRUE(found.launch) << found.error;
  EXPECT_EQ(found.launch->host, "::1");
  EXPECT_EQ(found.launch->ports, std::vector<int>{5000});
  EXPECT_EQ(found.log,
            "rank 1 of 2 by flags; ignored: torchrun, Open MPI, Slurm, "
            "variables");
}

TEST(Discovery, WhatACompleteSourceSaysIsChecked) {
  EXPECT_EQ(discover(with(OpenMpi, {{"OMPI_COMM_WORLD_RANK", "4"}})).error,
            "Open MPI: the environment variable OMPI_COMM_WORLD_RANK is '4', "
            "an integer from 0 to 3 is expected");
  EXPECT_EQ(discover(with(Torchrun, {{"WORLD_SIZE", "8x"}})).error,
            "torchrun: the environment variable WORLD_SIZE is '8x', an integer "
            "from 1 to 65536 is expected");
  EXPECT_EQ(discover(with(Torchrun, {{"MASTER_PORT", "0"}})).error,
            "torchrun: the environment variable MASTER_PORT is '0', an integer "
            "from 1 to 65535 is expected");
  EXPECT_EQ(discover({}, {"1", "", ""}).error,
            "--rank, --world-size and --rendezvous=HOST:PORT are needed "
            "together");
  EXPECT_EQ(discover({}, {"2", "2", "h:1"}).error,
            "--rank is '2', an integer from 0 to 1 is expected");
  EXPECT_EQ(discover({}, {"1", "2", "host"}).error,
            "--rendezvous is 'host', HOST:PORT is expected");
}
