// Digests that find differences, by chance or by mistake; no signatures.
#ifndef MOERT_DIGEST_H
#define MOERT_DIGEST_H

#include <memory>
#include <string>
#include <string_view>

namespace moert {

class Digest {
public:
  Digest();
  ~Digest();
  void add(std::string_view bytes);
  // 32 hexadecimal digits of XXH3-128.
  std::string text() const;

private:
  struct State;
  std::unique_ptr<State> state;
};

} // namespace moert

#endif
