// Reading JSON that nobody vouches for.
#ifndef MOERT_JSON_READER_H
#define MOERT_JSON_READER_H

#include "status.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace moert {

using Json = nlohmann::json;

struct JsonLimits {
  size_t bytes = 64 << 20;
  size_t depth = 32;
};

// Parses one JSON document. Size and nesting are checked on the bytes before
// the parser sees them; a key that stands twice in one object is refused.
Result<Json> parseJson(std::string_view bytes, const JsonLimits &limits);

// Reads the fields of one object. The first thing wrong is kept in `problem`
// (with the path to it) and later reads return harmless defaults, so that a
// caller checks once, after `finish` has refused fields that nobody asked for.
class JsonObject {
public:
  JsonObject(const Json &value, std::string path, std::string &problem);

  // Whether an optional field is there.
  bool has(const char *name);
  int64_t integer(const char *name, int64_t least, int64_t most);
  bool flag(const char *name);
  std::string string(const char *name, size_t maxSize = 4096);
  std::vector<int64_t> integers(const char *name, size_t leastSize,
                                size_t mostSize, int64_t least, int64_t most);
  std::vector<std::string> strings(const char *name, size_t leastSize,
                                   size_t mostSize);
  // An array's elements; empty on error.
  const Json &array(const char *name, size_t leastSize, size_t mostSize);
  const Json &value(const char *name);
  void finish();

  void fail(std::string_view name, const std::string &message);
  std::string pathTo(std::string_view name) const;
  const std::string &path() const { return where; }
  bool failed() const { return !problem.empty(); }

private:
  const Json *find(const char *name);

  const Json *object;
  std::string where;
  std::string &problem;
  std::set<std::string> known;
};

// "list[3]": the path to an element of a list.
std::string element(std::string_view list, size_t index);

} // namespace moert

#endif
