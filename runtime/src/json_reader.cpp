#include "json_reader.h"

#include <unordered_set>

using namespace moert;

static Status checkShape(std::string_view bytes, const JsonLimits &limits) {
  if (bytes.size() > limits.bytes)
    return Status::error(MOERT_ERROR_INVALID_FILE, "the JSON text has ",
                         bytes.size(), " bytes, at most ", limits.bytes,
                         " are allowed");
  size_t depth = 0;
  bool inString = false;
  for (size_t i = 0; i < bytes.size(); ++i) {
    char c = bytes[i];
    if (inString) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        inString = false;
    } else if (c == '"') {
      inString = true;
    } else if (c == '[' || c == '{') {
      if (++depth > limits.depth)
        return Status::error(MOERT_ERROR_INVALID_FILE,
                             "the JSON text is nested more than ", limits.depth,
                             " deep at byte ", i);
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return {};
}

Result<Json> moert::parseJson(std::string_view bytes,
                              const JsonLimits &limits) {
  MOERT_TRY(checkShape(bytes, limits));
  std::vector<std::unordered_set<std::string>> keys;
  std::string duplicate;
  auto watchKeys = [&](int, Json::parse_event_t event, Json &parsed) {
    if (event == Json::parse_event_t::object_start)
      keys.emplace_back();
    else if (event == Json::parse_event_t::object_end)
      keys.pop_back();
    else if (event == Json::parse_event_t::key && duplicate.empty() &&
             !keys.back().insert(parsed.get<std::string>()).second)
      duplicate = "key '" + printable(parsed.get<std::string>()) +
                  "' stands twice in one object";
    return true;
  };
  try {
    Json json = Json::parse(bytes.begin(), bytes.end(), watchKeys);
    if (!duplicate.empty())
      return Status::error(MOERT_ERROR_INVALID_FILE, duplicate);
    return json;
  } catch (const Json::parse_error &error) {
    return Status::error(MOERT_ERROR_INVALID_FILE,
                         "the text is no JSON at byte ", error.byte);
  } catch (const Json::exception &) {
    return Status::error(MOERT_ERROR_INVALID_FILE,
                         "the JSON text holds a number out of range");
  }
}

static const Json &emptyArray() {
  static const Json empty = Json::array();
  return empty;
}

JsonObject::JsonObject(const Json &value, std::string path,
                       std::string &problem)
    : object(&value), where(std::move(path)), problem(problem) {
  static const Json emptyObject = Json::object();
  if (!value.is_object()) {
    if (problem.empty())
      problem = concat(where.empty() ? "the document" : where, " is a ",
                       value.type_name(), ", an object is expected");
    object = &emptyObject;
  }
}

std::string JsonObject::pathTo(std::string_view name) const {
  return where.empty() ? std::string(name) : concat(where, ".", name);
}

void JsonObject::fail(std::string_view name, const std::string &message) {
  if (problem.empty())
    problem = concat(pathTo(name), " ", message);
}

bool JsonObject::has(const char *name) {
  known.insert(name);
  return object->contains(name);
}

const Json *JsonObject::find(const char *name) {
  known.insert(name);
  auto it = object->find(name);
  if (it != object->end())
    return &*it;
  fail(name, "is missing");
  return nullptr;
}

static bool readInteger(const Json &json, int64_t &value) {
  if (json.is_number_unsigned()) {
    uint64_t number = json.get<uint64_t>();
    value = static_cast<int64_t>(number);
    return number <= INT64_MAX;
  }
  if (!json.is_number_integer())
    return false;
  value = json.get<int64_t>();
  return true;
}

static std::string checkInteger(const Json &json, int64_t least, int64_t most,
                                int64_t &value) {
  if (!readInteger(json, value))
    return concat("is ",
                  json.is_number() ? "no 64-bit integer"
                                   : std::string("a ") + json.type_name(),
                  ", an integer is expected");
  if (value < least || value > most)
    return concat("is ", value, ", expected ", least, " to ", most);
  return {};
}

int64_t JsonObject::integer(const char *name, int64_t least, int64_t most) {
  const Json *json = find(name);
  int64_t value = least;
  if (!json)
    return least;
  std::string error = checkInteger(*json, least, most, value);
  if (error.empty())
    return value;
  fail(name, error);
  return least;
}

bool JsonObject::flag(const char *name) {
  const Json *json = find(name);
  if (!json)
    return false;
  if (json->is_boolean())
    return json->get<bool>();
  fail(name, concat("is a ", json->type_name(), ", true or false is expected"));
  return false;
}

static std::string checkString(const Json &json, size_t maxSize) {
  if (!json.is_string())
    return concat("is a ", json.type_name(), ", a string is expected");
  const std::string &text = json.get_ref<const std::string &>();
  if (text.size() > maxSize)
    return concat("has ", text.size(), " bytes, at most ", maxSize,
                  " are allowed");
  // A NUL would cut the name short where it is handed to C.
  if (text.find('\0') != std::string::npos)
    return "holds a NUL character";
  return {};
}

std::string JsonObject::string(const char *name, size_t maxSize) {
  const Json *json = find(name);
  if (!json)
    return {};
  if (std::string error = checkString(*json, maxSize); !error.empty()) {
    fail(name, error);
    return {};
  }
  return json->get<std::string>();
}

const Json &JsonObject::array(const char *name, size_t leastSize,
                              size_t mostSize) {
  const Json *json = find(name);
  if (!json)
    return emptyArray();
  if (!json->is_array()) {
    fail(name, concat("is a ", json->type_name(), ", an array is expected"));
    return emptyArray();
  }
  if (json->size() < leastSize || json->size() > mostSize) {
    std::string expected = leastSize == mostSize
                               ? concat(leastSize)
                               : concat(leastSize, " to ", mostSize);
    fail(name, concat("has ", json->size(), " elements, expected ", expected));
    return emptyArray();
  }
  return *json;
}

const Json &JsonObject::value(const char *name) {
  const Json *json = find(name);
  return json ? *json : emptyArray();
}

std::vector<int64_t> JsonObject::integers(const char *name, size_t leastSize,
                                          size_t mostSize, int64_t least,
                                          int64_t most) {
  std::vector<int64_t> values;
  for (const Json &element : array(name, leastSize, mostSize)) {
    int64_t value = least;
    std::string error = checkInteger(element, least, most, value);
    if (!error.empty()) {
      fail(concat(name, "[", values.size(), "]"), error);
      value = least;
    }
    values.push_back(value);
  }
  return values;
}

std::vector<std::string> JsonObject::strings(const char *name, size_t leastSize,
                                             size_t mostSize) {
  std::vector<std::string> values;
  for (const Json &element : array(name, leastSize, mostSize)) {
    std::string error = checkString(element, 4096);
    if (!error.empty())
      fail(concat(name, "[", values.size(), "]"), error);
    values.push_back(error.empty() ? element.get<std::string>()
                                   : std::string());
  }
  return values;
}

void JsonObject::finish() {
  for (const auto &item : object->items())
    if (!known.contains(item.key()))
      fail(printable(item.key()),
           concat("is unknown",
                  suggest(item.key(), {known.begin(), known.end()})));
}

std::string moert::element(std::string_view list, size_t index) {
  return concat(list, "[", index, "]");
}
