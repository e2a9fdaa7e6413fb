// Artifacts of the hand-written program, for tests of the runtime and moe-run.
#ifndef MOERT_TEST_ARTIFACT_H
#define MOERT_TEST_ARTIFACT_H

#include <string>

namespace moert::test {

// The manifest for `ranks` ranks, 1 to 8, on the axes "ep" (ranks) and "one"
// (1).
std::string testManifest(int ranks);
// The whole artifact's bytes, with another manifest if one is given.
std::string testArtifact(int ranks);
std::string testArtifact(const std::string &manifest);
std::string testProgram();

} // namespace moert::test

#endif
