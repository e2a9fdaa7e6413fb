#include "digest.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstdio>

using namespace moert;

struct alignas(64) Digest::State {
  XXH3_state_t hash;
};

Digest::Digest() : state(std::make_unique<State>()) {
  XXH3_128bits_reset(&state->hash);
}
Digest::~Digest() = default;

void Digest::add(std::string_view bytes) {
  XXH3_128bits_update(&state->hash, bytes.data(), bytes.size());
}

std::string Digest::text() const {
  XXH128_hash_t value = XXH3_128bits_digest(&state->hash);
  char digits[33];
  std::snprintf(digits, sizeof(digits), "%016llx%016llx",
                static_cast<unsigned long long>(value.high64),
                static_cast<unsigned long long>(value.low64));
  return digits;
}
