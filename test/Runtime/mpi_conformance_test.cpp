// The suite on processes that an MPI started; run by mpirun. Every process goes
// through the tests in step, those beyond a test's ranks only wait.
#include "comm/mpi.h"
#include "conformance.h"
#include "launch/discovery.h"

using namespace moert;
using namespace moert::test;

// The MPI that started this process.
static MpiLibrary &library() {
  static std::shared_ptr<MpiLibrary> shared = [] {
    Result<std::optional<Launch>> launch =
        discoverLaunch({}, environmentVariables(), [](const std::string &) {});
    bool isMpich =
        launch.ok() && *launch && (*launch)->source == LaunchSource::Mpich;
    Result<std::shared_ptr<MpiLibrary>> opened =
        MpiLibrary::open(isMpich ? "mpich" : "openmpi");
    if (!opened.ok()) {
      std::fprintf(stderr, "%s\n", opened.status().message().c_str());
      std::exit(1);
    }
    return *opened;
  }();
  return *shared;
}

static void runOnMpi(const Topology &topology, double timeoutSeconds,
                     const RankBody &body) {
  MpiOptions options;
  options.timeoutSeconds = timeoutSeconds;
  options.allowMore = true;
  Result<std::unique_ptr<MpiWorld>> world =
      MpiWorld::join(topology, std::move(options));
  ASSERT_TRUE(world.ok()) << world.status().message();
  if (*world) {
    int rank = (*world)->ranksHere().front();
    // Another rank may have failed already; that is the body's to see.
    (void)(*world)->reset();
    body(*(*world)->endpoint(rank), rank);
  }
  // Nobody leaves while others may ask for him.
  ASSERT_TRUE(library().barrier().ok());
}

INSTANTIATE_TEST_SUITE_P(
    Mpi, CommunicatorTest,
    testing::Values(CommunicatorBackend{
        "mpi", [](int ranks) { return ranks <= library().size(); }, runOnMpi}),
    testing::PrintToStringParamName());

TEST(MpiWorld, TheWorldsSizeMustBeTheArtifacts) {
  int size = library().size();
  Result<std::unique_ptr<MpiWorld>> world =
      MpiWorld::join(Topology({size + 1}, {{0}}), {});
  ASSERT_FALSE(world.ok());
  EXPECT_EQ(world.status().message(),
            concat("the artifact is for ", size + 1, " ranks, MPI's world (",
                   library().description(), ") has ", size,
                   " processes; start it with mpirun -n ", size + 1));
}

int main(int argc, char **argv) {
  testing::InitGoogleTest(&argc, argv);
  std::printf("%s, process %d of %d\n", library().description().c_str(),
              library().rank(), library().size());
  int result = RUN_ALL_TESTS();
  // Failures are tests here: MPI ends in good order all the same.
  if (library().barrier().ok())
    library().keep();
  return result;
}
