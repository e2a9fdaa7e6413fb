#include "npy.h"

#include "checked.h"

#include <cstring>
#include <set>

using namespace moert;

static constexpr std::string_view NpyMagic("\x93NUMPY", 6);
static constexpr size_t MaxHeader = 1 << 20;

template <typename... Args> static Status invalid(const Args &...args) {
  return Status::error(MOERT_ERROR_INVALID_FILE, args...);
}

namespace {

// The header is a Python dictionary; only the form that NumPy writes is read.
class HeaderParser {
public:
  explicit HeaderParser(std::string_view text) : text(text) {}

  Status parse();

  std::string dtype;
  bool fortranOrder = false;
  std::vector<int64_t> shape;

private:
  void skipSpaces();
  bool take(char c);
  bool parseString(std::string &value);
  bool parseBool(bool &value);
  bool parseShape();
  bool parseField(std::set<std::string> &seen);

  std::string_view text;
  size_t at = 0;
};

} // namespace

void HeaderParser::skipSpaces() {
  while (at < text.size() && text[at] == ' ')
    ++at;
}

bool HeaderParser::take(char c) {
  skipSpaces();
  if (at >= text.size() || text[at] != c)
    return false;
  ++at;
  return true;
}

bool HeaderParser::parseString(std::string &value) {
  skipSpaces();
  if (at >= text.size() || (text[at] != '\'' && text[at] != '"'))
    return false;
  size_t end = text.find(text[at], at + 1);
  if (end == std::string_view::npos)
    return false;
  value = text.substr(at + 1, end - at - 1);
  at = end + 1;
  return true;
}

bool HeaderParser::parseBool(bool &value) {
  skipSpaces();
  for (bool candidate : {true, false}) {
    std::string_view word = candidate ? "True" : "False";
    if (text.substr(at).starts_with(word)) {
      at += word.size();
      value = candidate;
      return true;
    }
  }
  return false;
}

bool HeaderParser::parseShape() {
  if (!take('('))
    return false;
  while (!take(')')) {
    skipSpaces();
    size_t begin = at;
    Checked size(0);
    while (at < text.size() && text[at] >= '0' && text[at] <= '9')
      size = size * 10 + (text[at++] - '0');
    if (at == begin || !size.get() || shape.size() == 32)
      return false;
    shape.push_back(*size.get());
    if (take(','))
      continue;
    // "(3)" is no tuple.
    if (shape.size() == 1 || !take(')'))
      return false;
    return true;
  }
  return true;
}

bool HeaderParser::parseField(std::set<std::string> &seen) {
  std::string key;
  if (!parseString(key) || !take(':') || !seen.insert(key).second)
    return false;
  if (key == "descr")
    return parseString(dtype);
  if (key == "fortran_order")
    return parseBool(fortranOrder);
  return key == "shape" && parseShape();
}

Status HeaderParser::parse() {
  std::set<std::string> seen;
  bool good = take('{');
  while (good && !take('}')) {
    good = parseField(seen);
    if (good && !take(',')) {
      good = take('}');
      break;
    }
  }
  skipSpaces();
  if (!good || seen.size() != 3)
    return invalid("the header is no dictionary of descr, fortran_order and "
                   "shape");
  if (at + 1 != text.size() || text[at] != '\n')
    return invalid("the header does not end with spaces and a line feed");
  return {};
}

static FileDtype dtypeOf(std::string_view name) {
  if (name == "<f8")
    return FileDtype::F64;
  if (name == "<f4")
    return FileDtype::F32;
  if (name == "<f2")
    return FileDtype::F16;
  if (name == "<i4")
    return FileDtype::I32;
  if (name == "<i8")
    return FileDtype::I64;
  return FileDtype::Other;
}

// Finds the header's text and the data behind it.
static Status splitFile(std::string_view bytes, std::string_view &header,
                        std::string_view &data) {
  if (!bytes.starts_with(NpyMagic) || bytes.size() < 8)
    return invalid("the file does not begin with the mark of a .npy file");
  int major = static_cast<unsigned char>(bytes[6]);
  int minor = static_cast<unsigned char>(bytes[7]);
  if (major < 1 || major > 3 || minor != 0)
    return invalid("the .npy version is ", major, ".", minor,
                   ", expected 1.0, 2.0 or 3.0");
  size_t lengthBytes = major == 1 ? 2 : 4;
  if (bytes.size() < 8 + lengthBytes)
    return invalid("the file ends inside of its header");
  uint32_t length = 0;
  std::memcpy(&length, bytes.data() + 8, lengthBytes);
  if (length > MaxHeader)
    return invalid("the header has ", length, " bytes, at most ", MaxHeader,
                   " are allowed");
  if (length > bytes.size() - 8 - lengthBytes)
    return invalid("the file ends inside of its header");
  header = bytes.substr(8 + lengthBytes, length);
  data = bytes.substr(8 + lengthBytes + length);
  return {};
}

Result<TensorView> moert::parseNpy(std::string_view bytes) {
  std::string_view header, data;
  MOERT_TRY(splitFile(bytes, header, data));
  HeaderParser parser(header);
  MOERT_TRY(parser.parse());
  TensorView tensor;
  tensor.dtypeText = parser.dtype;
  tensor.dtype = dtypeOf(parser.dtype);
  tensor.shape = parser.shape;
  if (tensor.dtype == FileDtype::Other)
    return invalid("the dtype is '", printable(parser.dtype),
                   "', expected one of <f8, <f4, <f2, <i8, <i4");
  if (parser.fortranOrder)
    return invalid("the array is in Fortran order, C order is expected");
  std::optional<int64_t> elements = elementCount(tensor.shape);
  std::optional<int64_t> size;
  if (elements)
    size = (Checked(*elements) * fileDtypeSize(tensor.dtype)).get();
  if (!size)
    return invalid("an array of shape ", bracketed(tensor.shape),
                   " is too large");
  if (static_cast<uint64_t>(*size) != data.size())
    return invalid("an array of shape ", bracketed(tensor.shape), " and dtype ",
                   parser.dtype, " needs ", *size, " bytes, the file has ",
                   data.size());
  tensor.bytes = data;
  return tensor;
}
