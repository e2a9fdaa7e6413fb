// The container: local headers with data, central directory, end record with
// the digest as comment. See artifact.h for why there is one form only.
#include "moert/artifact.h"

#include "atomic_file.h"
#include "text.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <set>

using namespace moert;

static constexpr size_t DigestDigits = 32;
static constexpr size_t EndRecordSize = 22;
static constexpr size_t CommentSize = ArtifactMagic.size() + DigestDigits;
static constexpr size_t MaxEntries = 4096;
static constexpr size_t MaxSize = 0xffff0000; // below what needs ZIP64

static constexpr uint32_t LocalSignature = 0x04034b50;
static constexpr uint32_t CentralSignature = 0x02014b50;
static constexpr uint32_t EndSignature = 0x06054b50;
static constexpr size_t CentralHeaderSize = 46;
static constexpr uint16_t ZipVersion = 10;    // 1.0: stored entries
static constexpr uint16_t FixedDate = 0x0021; // 1980-01-01
static constexpr uint16_t MadeByUnix = 3 << 8 | ZipVersion;
static constexpr uint32_t FileMode = 0100644u << 16;

static constexpr std::array<uint32_t, 256> makeCrcTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t c = i;
    for (int bit = 0; bit < 8; ++bit)
      c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
    table[i] = c;
  }
  return table;
}

static uint32_t crc32(std::string_view data) {
  static constexpr std::array<uint32_t, 256> table = makeCrcTable();
  uint32_t crc = ~0u;
  for (char c : data)
    crc = table[(crc ^ static_cast<unsigned char>(c)) & 0xff] ^ crc >> 8;
  return ~crc;
}

static void put16(std::string &out, size_t value) {
  out += static_cast<char>(value & 0xff);
  out += static_cast<char>(value >> 8 & 0xff);
}

static void put32(std::string &out, size_t value) {
  put16(out, value & 0xffff);
  put16(out, value >> 16);
}

static uint32_t get32(std::string_view bytes, size_t at) {
  uint32_t value;
  std::memcpy(&value, bytes.data() + at, sizeof(value));
  return value;
}

static uint16_t get16(std::string_view bytes, size_t at) {
  uint16_t value;
  std::memcpy(&value, bytes.data() + at, sizeof(value));
  return value;
}

static std::string digestOf(std::string_view bytes) {
  XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  std::string text;
  for (uint64_t half : {hash.high64, hash.low64})
    for (int shift = 60; shift >= 0; shift -= 4)
      text += "0123456789abcdef"[half >> shift & 15];
  return text;
}

// The fields that a local and a central header have in common.
static void putShared(std::string &out, const ArtifactEntry &entry,
                      uint32_t crc) {
  put16(out, ZipVersion);
  put16(out, 0); // flags
  put16(out, 0); // stored
  put16(out, 0); // 00:00:00
  put16(out, FixedDate);
  put32(out, crc);
  put32(out, entry.data.size());
  put32(out, entry.data.size());
  put16(out, entry.name.size());
  put16(out, 0); // extra field
}

static std::string checkName(std::string_view name) {
  if (name.empty() || name.size() > 200 || name.front() == '/')
    return concat("entry name '", printable(name), "' is not allowed");
  for (char c : name)
    if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
        !(c >= '0' && c <= '9') && c != '.' && c != '-' && c != '_' && c != '/')
      return concat("entry name '", printable(name), "' is not allowed");
  if (name.find("..") != std::string_view::npos)
    return concat("entry name '", printable(name), "' is not allowed");
  return {};
}

static std::string checkEntries(std::span<const ArtifactEntry> entries) {
  if (entries.empty() || entries.front().name != ManifestEntryName)
    return concat("the first entry is not ", ManifestEntryName);
  if (entries.size() > MaxEntries)
    return concat("there are ", entries.size(), " entries, at most ",
                  MaxEntries, " are allowed");
  std::set<std::string_view> names;
  size_t total = 0;
  for (const ArtifactEntry &entry : entries) {
    if (std::string error = checkName(entry.name); !error.empty())
      return error;
    if (!names.insert(entry.name).second)
      return concat("entry '", entry.name, "' is there twice");
    total += entry.data.size() + 2 * entry.name.size() + 128;
    if (entry.data.size() > MaxSize || total > MaxSize)
      return concat("the artifact has more than ", MaxSize, " bytes");
  }
  return {};
}

std::string moert::encodeArtifact(std::span<const ArtifactEntry> entries,
                                  std::string &bytes) {
  if (std::string error = checkEntries(entries); !error.empty())
    return error;
  bytes.clear();
  std::string central;
  for (const ArtifactEntry &entry : entries) {
    size_t offset = bytes.size();
    uint32_t crc = crc32(entry.data);
    put32(bytes, LocalSignature);
    putShared(bytes, entry, crc);
    bytes += entry.name;
    bytes += entry.data;
    put32(central, CentralSignature);
    put16(central, MadeByUnix);
    putShared(central, entry, crc);
    put16(central, 0); // comment
    put16(central, 0); // disk
    put16(central, 0); // internal attributes
    put32(central, FileMode);
    put32(central, offset);
    central += entry.name;
  }
  size_t centralOffset = bytes.size();
  bytes += central;
  std::string digest = digestOf(bytes);
  put32(bytes, EndSignature);
  put16(bytes, 0); // this disk
  put16(bytes, 0); // disk of the central directory
  put16(bytes, entries.size());
  put16(bytes, entries.size());
  put32(bytes, central.size());
  put32(bytes, centralOffset);
  put16(bytes, CommentSize);
  bytes += ArtifactMagic;
  bytes += digest;
  return {};
}

std::string moert::writeArtifact(const std::string &path,
                                 std::span<const ArtifactEntry> entries) {
  std::string bytes;
  if (std::string error = encodeArtifact(entries, bytes); !error.empty())
    return error;
  std::string_view pieces[] = {bytes};
  return writeFileAtomically(path, pieces);
}

// Finds names and data through the central directory; every offset is checked
// before use, everything else is left to the comparison in decodeArtifact.
static std::string findEntries(std::string_view bytes, size_t end,
                               std::vector<ArtifactEntry> &entries) {
  const std::string damaged = "the ZIP structure is not the one of an artifact";
  size_t count = get16(bytes, end + 10);
  size_t at = get32(bytes, end + 16);
  for (size_t i = 0; i < count; ++i) {
    if (at > end || end - at < CentralHeaderSize)
      return damaged;
    size_t size = get32(bytes, at + 24);
    size_t nameSize = get16(bytes, at + 28);
    size_t offset = get32(bytes, at + 42);
    if (end - at - CentralHeaderSize < nameSize)
      return damaged;
    std::string name(bytes.substr(at + CentralHeaderSize, nameSize));
    size_t data = offset + 30 + nameSize;
    if (data > end || end - data < size)
      return damaged;
    entries.push_back({std::move(name), bytes.substr(data, size)});
    at += CentralHeaderSize + nameSize;
  }
  return {};
}

std::string moert::decodeArtifact(std::string_view bytes,
                                  std::vector<ArtifactEntry> &entries) {
  entries.clear();
  constexpr size_t tail = EndRecordSize + CommentSize;
  if (bytes.size() < tail)
    return concat("the file has ", bytes.size(),
                  " bytes, an artifact has at least ", tail);
  if (bytes.size() > MaxSize + tail)
    return concat("the file has ", bytes.size(),
                  " bytes, an artifact has at most ", MaxSize + tail);
  size_t end = bytes.size() - tail;
  std::string_view comment = bytes.substr(end + EndRecordSize);
  if (!comment.starts_with(ArtifactMagic))
    return concat("the file does not end with the mark of an artifact, '",
                  ArtifactMagic,
                  "' and a digest: it is cut short or something "
                  "else");
  if (comment.substr(ArtifactMagic.size()) != digestOf(bytes.substr(0, end)))
    return "the digest does not match: the file is damaged";

  if (std::string error = findEntries(bytes, end, entries); !error.empty())
    return error;
  // One form only: what these entries would be written as must be what is
  // there.
  std::string canonical;
  if (std::string error = encodeArtifact(entries, canonical); !error.empty())
    return error;
  if (canonical != bytes)
    return "the ZIP structure is not the one of an artifact";
  return {};
}
