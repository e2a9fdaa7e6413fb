// The container of artifacts: as it is, and with the digest made right, without
// which nearly every input would end there.
#include "fuzz.h"

#include "artifact.h"
#include "digest.h"

using namespace moert;

static void check(std::string_view bytes) {
  std::vector<ArtifactEntry> entries;
  if (!decodeArtifact(bytes, entries).empty())
    return;
  // What is accepted is in the one form that there is.
  std::string again;
  fuzz::require(encodeArtifact(entries, again).empty() && again == bytes,
                "an accepted artifact encodes to the same bytes");
  (void)Artifact::openMemory(bytes);
}

// Puts the digest right that ends the file; the end record is not part of it.
static void putDigest(std::string &bytes) {
  constexpr size_t digits = 32, endRecord = 22;
  constexpr size_t tail = endRecord + ArtifactMagic.size() + digits;
  if (bytes.size() < tail)
    return;
  Digest digest;
  digest.add(std::string_view(bytes).substr(0, bytes.size() - tail));
  bytes.replace(bytes.size() - digits, digits, digest.text());
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string bytes(fuzz::text(data, size));
  check(bytes);
  putDigest(bytes);
  check(bytes);
  // The same bytes as what is inside a good one.
  std::string program = "no program";
  ArtifactEntry entries[] = {
      {std::string(ManifestEntryName), fuzz::text(data, size)},
      {std::string(ProgramEntryName), program}};
  std::string whole;
  fuzz::require(encodeArtifact(entries, whole).empty(),
                "entries can be encoded");
  check(whole);
  Result<std::shared_ptr<Artifact>> opened = Artifact::openMemory(whole);
  if (opened.ok())
    fuzz::require(!(*opened)->loadProgram().ok(),
                  "what is no program is not loaded");
  return 0;
}
