// The container: damage of any kind is refused, good bytes are deterministic.
#include "artifact.h"
#include "moert/artifact.h"
#include "temporary_folder.h"
#include "test_artifact.h"

#include <cstring>
#include <gtest/gtest.h>
#include <sys/stat.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

using namespace moert;
using namespace moert::test;

namespace {

// A small one, so that every byte can be tried.
std::string smallArtifact() {
  std::string bytes;
  ArtifactEntry entries[] = {{"manifest.json", "{}"},
                             {"program.so", "not much"},
                             {"scheduled.mlir", ""}};
  EXPECT_EQ(encodeArtifact(entries, bytes), "");
  return bytes;
}

std::string decodeError(std::string_view bytes) {
  std::vector<ArtifactEntry> entries;
  return decodeArtifact(bytes, entries);
}

// Makes the digest right again after a change: what is then refused is refused
// for its structure.
std::string sealed(std::string bytes) {
  size_t end = bytes.size() - 22 - ArtifactMagic.size() - 32;
  XXH128_hash_t hash = XXH3_128bits(bytes.data(), end);
  char digits[33];
  std::snprintf(digits, sizeof(digits), "%016llx%016llx",
                static_cast<unsigned long long>(hash.high64),
                static_cast<unsigned long long>(hash.low64));
  return bytes.replace(bytes.size() - 32, 32, digits);
}

} // namespace

TEST(ArtifactContainer, RoundTrip) {
  std::string bytes = smallArtifact();
  std::vector<ArtifactEntry> entries;
  ASSERT_EQ(decodeArtifact(bytes, entries), "");
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(entries[1].name, "program.so");
  EXPECT_EQ(entries[1].data, "not much");
  EXPECT_EQ(entries[2].data, "");
  EXPECT_EQ(bytes, smallArtifact());
  EXPECT_EQ(sealed(bytes), bytes);
}

TEST(ArtifactContainer, EveryTruncationIsRefused) {
  std::string bytes = testArtifact(2);
  for (size_t size = 0; size < bytes.size(); ++size)
    ASSERT_NE(decodeError(std::string_view(bytes).substr(0, size)), "")
        << "cut to " << size << " of " << bytes.size();
  EXPECT_EQ(decodeError(bytes), "");
}

TEST(ArtifactContainer, EveryFlippedByteIsRefused) {
  std::string bytes = testArtifact(2);
  for (size_t at = 0; at < bytes.size(); ++at)
    for (int mask : {0x01, 0x20, 0x80, 0xff}) {
      bytes[at] = static_cast<char>(bytes[at] ^ mask);
      ASSERT_NE(decodeError(bytes), "") << "byte " << at << ", mask " << mask;
      bytes[at] = static_cast<char>(bytes[at] ^ mask);
    }
}

// A flip with the digest put right again cannot be told from another artifact,
// unless it is in the structure: whatever is accepted must be canonical.
TEST(ArtifactContainer, FlipsUnderAGoodDigestStayCanonical) {
  const std::string good = smallArtifact();
  int accepted = 0;
  for (size_t at = 0; at < good.size() - 32; ++at)
    for (int bit = 0; bit < 8; ++bit) {
      std::string bytes = good;
      bytes[at] = static_cast<char>(bytes[at] ^ 1 << bit);
      bytes = sealed(bytes);
      std::vector<ArtifactEntry> entries;
      if (!decodeArtifact(bytes, entries).empty())
        continue;
      ++accepted;
      std::string again;
      ASSERT_EQ(encodeArtifact(entries, again), "");
      ASSERT_EQ(again, bytes) << "byte " << at << ", bit " << bit;
    }
  // Data is protected twice: by its CRC as well.
  EXPECT_EQ(accepted, 0);
}

TEST(ArtifactContainer, ErrorsSayWhat) {
  std::string good = smallArtifact();
  EXPECT_EQ(decodeError(""),
            "the file has 0 bytes, an artifact has at least 75");
  EXPECT_EQ(decodeError(good + "x"),
            "the file does not end with the mark of an artifact, 'moe-mlir "
            "artifact v1 ' and a digest: it is cut short or something else");
  std::string flipped = good;
  flipped[40] ^= 1;
  EXPECT_EQ(decodeError(flipped),
            "the digest does not match: the file is damaged");
  EXPECT_EQ(decodeError(sealed(flipped)),
            "the ZIP structure is not the one of an artifact");
  std::string gap = good;
  gap.insert(0, "gap");
  EXPECT_EQ(decodeError(sealed(gap)),
            "the ZIP structure is not the one of an artifact");
}

TEST(ArtifactContainer, BadEntriesAreNotWritten) {
  std::string bytes;
  auto error = [&](std::vector<ArtifactEntry> entries) {
    return encodeArtifact(entries, bytes);
  };
  EXPECT_EQ(error({}), "the first entry is not manifest.json");
  EXPECT_EQ(error({{"program.so", ""}}),
            "the first entry is not manifest.json");
  EXPECT_EQ(error({{"manifest.json", ""}, {"manifest.json", ""}}),
            "entry 'manifest.json' is there twice");
  for (const char *name : {"", "/etc/passwd", "../x", "a b", "x\ny", "ä"})
    EXPECT_NE(error({{"manifest.json", ""}, {name, ""}}), "") << name;
}

TEST(ArtifactFile, IsWrittenWholeOrNotAtAll) {
  TemporaryFolder folder;
  ArtifactEntry entries[] = {{"manifest.json", "{}"}};
  EXPECT_EQ(writeArtifact(folder / "a.moe", entries), "");
  std::string first = readFile(folder / "a.moe");
  EXPECT_EQ(decodeError(first), "");
  // Over an existing one, through a link that stays a link.
  std::filesystem::create_symlink("a.moe", folder / "link.moe");
  EXPECT_EQ(writeArtifact(folder / "link.moe", entries), "");
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "link.moe"));
  EXPECT_EQ(readFile(folder / "a.moe"), first);

  EXPECT_NE(writeArtifact(folder / "none/a.moe", entries).find("cannot create"),
            std::string::npos);
  EXPECT_EQ(writeArtifact(folder.path, entries),
            "cannot write '" + folder.path + "': it is a folder");
  EXPECT_EQ(writeArtifact("/dev/full", entries),
            "cannot write '/dev/full': No space left on device");
  struct stat info;
  ASSERT_EQ(::stat("/dev/full", &info), 0);
  EXPECT_TRUE(S_ISCHR(info.st_mode));
  int files = 0;
  for (const auto &entry : std::filesystem::directory_iterator(folder.path))
    files += entry.path().filename() != "";
  EXPECT_EQ(files, 2);
}

TEST(ArtifactOpen, RefusesWhatIsNoArtifact) {
  TemporaryFolder folder;
  auto message = [](const std::string &path) {
    return Artifact::open(path).status().message();
  };
  EXPECT_EQ(message(folder / "none"), "cannot read '" + (folder / "none") +
                                          "': No such file or directory");
  EXPECT_EQ(message(folder.path),
            "cannot read '" + folder.path + "': it is no regular file");
  std::string empty = folder.write("empty.moe", "");
  EXPECT_EQ(message(empty), "'" + empty +
                                "': the file has 0 bytes, an "
                                "artifact has at least 75");
  std::string noProgram;
  std::string manifest = testManifest(2);
  ArtifactEntry entries[] = {{"manifest.json", manifest}};
  ASSERT_EQ(encodeArtifact(entries, noProgram), "");
  EXPECT_EQ(Artifact::openMemory(noProgram).status().message(),
            "the artifact has no program.so");
}

TEST(ArtifactOpen, TwoProgramsAreLoadedSideBySide) {
  std::shared_ptr<Artifact> artifact = *Artifact::openMemory(testArtifact(2));
  std::shared_ptr<Program> first = *artifact->loadProgram();
  std::shared_ptr<Program> second = *artifact->loadProgram();
  EXPECT_NE(*first->symbol("scale"), *second->symbol("scale"));
  EXPECT_EQ(first->symbol("scalo").status().message(),
            "the program does not export `scalo`");
}

TEST(ArtifactOpen, ProgramThatIsNoSharedObject) {
  std::string bytes, manifest = testManifest(2);
  ArtifactEntry entries[] = {{"manifest.json", manifest},
                             {"program.so", "text"}};
  ASSERT_EQ(encodeArtifact(entries, bytes), "");
  std::shared_ptr<Artifact> artifact = *Artifact::openMemory(bytes);
  EXPECT_TRUE(artifact->loadProgram().status().message().starts_with(
      "cannot load the program: "));
}
