#include "mutators.h"

#include <algorithm>
#include <vector>

using namespace fuzz;

namespace {

// A value as it was written; spaces are dropped.
struct Node {
  enum Kind { Scalar, Array, Object } kind = Scalar;
  std::string key;  // with its quotes; empty in an array
  std::string text; // of a scalar
  std::vector<Node> children;
};

// Lenient: what matters is where values begin and end.
class Reader {
public:
  explicit Reader(std::string_view text) : rest(text) {}
  bool readDocument(Node &node) {
    return readValue(node, 0) && (skipSpaces(), rest.empty());
  }

private:
  static constexpr int DeepestNesting = 200;

  void skipSpaces() {
    rest.remove_prefix(
        std::min(rest.find_first_not_of(" \t\r\n"), rest.size()));
  }
  bool take(char c) {
    skipSpaces();
    if (!rest.starts_with(c))
      return false;
    rest.remove_prefix(1);
    return true;
  }
  std::string takeFirst(size_t size) {
    std::string first(rest.substr(0, size));
    rest.remove_prefix(size);
    return first;
  }
  bool readString(std::string &text);
  bool readValue(Node &node, int depth);
  bool readChildren(Node &node, char end, int depth);

  std::string_view rest;
};

} // namespace

bool Reader::readString(std::string &text) {
  skipSpaces();
  if (!rest.starts_with('"'))
    return false;
  size_t end = 1;
  while (end < rest.size() && rest[end] != '"')
    end += rest[end] == '\\' ? 2 : 1;
  if (end >= rest.size())
    return false;
  text = takeFirst(end + 1);
  return true;
}

bool Reader::readChildren(Node &node, char end, int depth) {
  if (depth > DeepestNesting)
    return false;
  if (take(end))
    return true;
  do {
    Node child;
    if (node.kind == Node::Object && (!readString(child.key) || !take(':')))
      return false;
    if (!readValue(child, depth + 1))
      return false;
    node.children.push_back(std::move(child));
  } while (take(','));
  return take(end);
}

bool Reader::readValue(Node &node, int depth) {
  if (take('{')) {
    node.kind = Node::Object;
    return readChildren(node, '}', depth);
  }
  if (take('[')) {
    node.kind = Node::Array;
    return readChildren(node, ']', depth);
  }
  if (rest.starts_with('"'))
    return readString(node.text);
  node.text =
      takeFirst(std::min(rest.find_first_of(" \t\r\n,:]}"), rest.size()));
  return !node.text.empty();
}

static void print(const Node &node, std::string &out) {
  if (!node.key.empty())
    out += node.key + ":";
  if (node.kind == Node::Scalar) {
    out += node.text;
    return;
  }
  out += node.kind == Node::Array ? '[' : '{';
  for (size_t i = 0; i < node.children.size(); ++i) {
    if (i > 0)
      out += ',';
    print(node.children[i], out);
  }
  out += node.kind == Node::Array ? ']' : '}';
}

// Where a value stands: changes need the container too.
struct Place {
  Node *parent;
  size_t index;
  Node &node() const { return parent->children[index]; }
};

static void collect(Node &node, std::vector<Place> &places) {
  for (size_t i = 0; i < node.children.size(); ++i) {
    places.push_back({&node, i});
    collect(node.children[i], places);
  }
}

// Another value under the same key.
static void setValue(Node &node, Node value) {
  value.key = node.key;
  node = std::move(value);
}

static std::string quoted(const std::string &text) {
  std::string result = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\')
      result += '\\';
    if (static_cast<unsigned char>(c) >= 0x20)
      result += c;
  }
  return result + '"';
}

static void changeScalar(Node &node, Random &random) {
  bool isString = node.text.starts_with('"');
  if (isString && random.oneIn(2)) {
    std::string text = node.text.substr(1, node.text.size() - 2);
    node.text = quoted(random.oneIn(8) ? std::string(1 << random.below(12), 'x')
                                       : mutateBytes(text, text.size() + 16));
    return;
  }
  static const char *const others[] = {"null", "true",    "false",
                                       "\"\"", "\"1\"",   "[]",
                                       "{}",   "\"f32\"", "\"\\u0000\""};
  node.text = random.oneIn(isString ? 2 : 4)
                  ? others[random.below(std::size(others))]
                  : numberAtLimit(random);
}

static void nest(Node &node, Random &random) {
  for (size_t i = 0, depth = 1 + random.below(random.oneIn(4) ? 300 : 4);
       i < depth; ++i) {
    Node outer;
    outer.kind = random.oneIn(2) ? Node::Array : Node::Object;
    outer.key = std::move(node.key);
    node.key = outer.kind == Node::Object ? "\"x\"" : "";
    outer.children.push_back(std::move(node));
    node = std::move(outer);
  }
}

static void change(Place place, Place other, Random &random) {
  std::vector<Node> &siblings = place.parent->children;
  auto at = siblings.begin() + static_cast<std::ptrdiff_t>(place.index);
  switch (random.below(8)) {
  case 0: { // twice, under the same key
    Node copy = *at;
    siblings.insert(at, std::move(copy));
    return;
  }
  case 1:
    siblings.erase(at);
    return;
  case 2: { // two neighbours, each under the other's key
    Node &neighbour = siblings[random.below(siblings.size())];
    std::swap(*at, neighbour);
    std::swap(at->key, neighbour.key);
    return;
  }
  case 3: {
    Node copy = other.node();
    setValue(place.node(), std::move(copy));
    return;
  }
  case 4:
    if (!at->key.empty() && !other.node().key.empty()) {
      std::string key = other.node().key;
      at->key = std::move(key);
    }
    return;
  case 5:
    return nest(*at, random);
  default: {
    Node value;
    if (at->kind == Node::Scalar)
      value.text = at->text;
    changeScalar(value, random);
    setValue(*at, std::move(value));
  }
  }
}

std::string fuzz::mutateJson(std::string_view text, Random &random) {
  Node root;
  std::string result(text);
  if (!Reader(text).readDocument(root))
    return result;
  std::vector<Place> places;
  collect(root, places);
  if (places.empty())
    nest(root, random);
  else
    change(places[random.below(places.size())],
           places[random.below(places.size())], random);
  result.clear();
  print(root, result);
  return result;
}
