// The artifact's container, shared by the compiler, which writes it, and the
// runtime, which reads it (docs/Artifact.md).
//
// The container is a ZIP archive in exactly one form: stored entries, no extra
// fields, fixed time stamps, no gaps. The reader rebuilds that form from the
// names and sizes that it finds and compares every byte, so that nothing in the
// file is unchecked; any ZIP tool can read it.
#ifndef MOERT_ARTIFACT_H
#define MOERT_ARTIFACT_H

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace moert {

inline constexpr int ArtifactVersion = 1;
inline constexpr std::string_view ArtifactFormat = "moe-mlir artifact";
// The archive comment: this, then 32 lower-case hexadecimal digits of XXH3-128.
inline constexpr std::string_view ArtifactMagic = "moe-mlir artifact v1 ";
inline constexpr std::string_view ManifestEntryName = "manifest.json";
inline constexpr std::string_view ProgramEntryName = "program.so";
inline constexpr std::string_view ScheduledEntryName = "scheduled.mlir";

struct ArtifactEntry {
  std::string name; // letters, digits, '.', '-', '_', '/'
  std::string_view data;
};

// The bytes of an artifact with these entries, in this order. Returns an error
// text, or an empty string. Equal entries give equal bytes.
std::string encodeArtifact(std::span<const ArtifactEntry> entries,
                           std::string &bytes);

// Encodes and writes to `path` by way of a temporary file beside it, so that no
// half-written artifact is ever seen. Returns an error text, or an empty
// string.
std::string writeArtifact(const std::string &path,
                          std::span<const ArtifactEntry> entries);

// Checks `bytes` completely and finds the entries, which point into `bytes`.
// Returns an error text, or an empty string.
std::string decodeArtifact(std::string_view bytes,
                           std::vector<ArtifactEntry> &entries);

} // namespace moert

#endif
