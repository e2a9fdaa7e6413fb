// Programs that embed the runtime: calls of moert.h in any order, with names,
// shapes, types, sizes and pointers that fit or do not. What the contract asks
// of callers is kept: handles are live or null, memory is as large as its shape
// says, and one session is used by one thread.
#include "fuzz.h"

#include "moert/moert.h"
#include "safetensors.h"
#include "test_artifact.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <memory>

using namespace moert;

namespace {

constexpr int64_t MaxTokens = 8;

// A tensor and all that it points to.
struct Tensor {
  std::string name, dtype;
  std::vector<int64_t> shape;
  std::vector<char> memory;
  moert_tensor c = {};
};

class Caller {
public:
  explicit Caller(fuzz::Choices choices) : choices(choices) {}
  ~Caller();
  Caller(const Caller &) = delete;
  Caller &operator=(const Caller &) = delete;
  void step();
  bool done() const { return choices.done(); }

private:
  struct Tensors {
    std::vector<std::unique_ptr<Tensor>> owned;
    std::vector<moert_tensor> c;
    const moert_tensor *data() const { return c.empty() ? nullptr : c.data(); }
  };

  template <size_t N> const char *pick(const char *const (&words)[N]) {
    return words[choices.below(N)];
  }
  template <typename T> T *any(const std::vector<T *> &handles) {
    size_t at = choices.below(handles.size() + 1);
    return at < handles.size() ? handles[at] : nullptr;
  }
  std::unique_ptr<Tensor> makeTensor(const char *name, const char *dtype,
                                     std::vector<int64_t> shape);
  Tensors makeTensors(bool areWeights, bool areOutputs);
  void openArtifact();
  void openSession();
  void closeSession();
  void loadWeights();
  void run(bool enqueue);
  void readNumbers();

  fuzz::Choices choices;
  std::vector<moert_artifact_t *> artifacts;
  std::vector<moert_session_t *> sessions;
};

} // namespace

static void check(moert_status status) {
  fuzz::require(status >= MOERT_OK && status <= MOERT_ERROR_INTERNAL,
                "a call ends with a status");
  fuzz::require(status == MOERT_OK || *moert_last_message(),
                "an error says what is wrong");
  fuzz::require(status != MOERT_ERROR_INTERNAL ||
                    std::string(moert_last_message()).find("77") !=
                        std::string::npos,
                "only a program that misbehaves is a defect");
}

static const std::string &weightsFolder() {
  static fuzz::Folder folder;
  static const std::string path = [] {
    const float row[] = {1, 2, 3, 4};
    std::vector<NamedTensor> tensors = {{"bias", MOERT_F32, {4}, row}};
    for (int expert = 0; expert < 5; ++expert)
      tensors.push_back(
          {"experts." + std::to_string(expert) + ".w", MOERT_F32, {4}, row});
    // To be removed at the end.
    folder.write("model.safetensors", "");
    fuzz::require(
        writeSafetensors(folder.path + "/model.safetensors", tensors).ok(),
        "weights can be written");
    return folder.path;
  }();
  return path;
}

Caller::~Caller() {
  for (moert_artifact_t *artifact : artifacts)
    moert_artifact_close(artifact);
  for (moert_session_t *session : sessions)
    moert_session_close(session);
}

void Caller::openArtifact() {
  static const std::string artifact1 = test::testArtifact(1),
                           artifact2 = test::testArtifact(2),
                           artifact3 = test::testArtifact(3);
  std::string bytes;
  switch (choices.below(5)) {
  case 0:
    bytes = std::string(choices.take(64));
    break;
  case 1:
    bytes = artifact2.substr(0, choices.below(artifact2.size()));
    break;
  case 2:
    bytes = artifact1;
    break;
  case 3:
    bytes = artifact3;
    break;
  default:
    bytes = artifact2;
  }
  moert_artifact_t *artifact = nullptr;
  moert_status status;
  switch (choices.below(8)) {
  case 0:
    status = moert_artifact_open("/none/layer.moe", &artifact);
    break;
  case 1:
    status = moert_artifact_open(nullptr, &artifact);
    break;
  case 2:
    status = moert_artifact_open("/dev/shm", nullptr);
    break;
  case 3:
    status = moert_artifact_open_memory(nullptr, choices.below(2), &artifact);
    break;
  default:
    status = moert_artifact_open_memory(bytes.data(), bytes.size(), &artifact);
  }
  check(status);
  fuzz::require((status == MOERT_OK) == (artifact != nullptr),
                "an artifact is open when it was opened");
  if (artifact) {
    fuzz::require(*moert_artifact_manifest(artifact) == '{',
                  "an artifact has a manifest");
    artifacts.push_back(artifact);
  }
}

void Caller::openSession() {
  static const char *const functions[] = {"scale", "scale", "misbehave",
                                          nullptr, "",      "Scale"};
  static const char *const communicators[] = {nullptr, "local", "nccl", "",
                                              "x"};
  static const int64_t tokens[] = {
      MaxTokens, MaxTokens, 0, 1, -1, INT64_MAX, INT64_MIN, int64_t(1) << 40};
  static const int32_t threads[] = {1, 2, 0, 3, -1, INT32_MAX, INT32_MIN};
  static const double seconds[] = {0.05,
                                   0,
                                   -1,
                                   1e300,
                                   std::numeric_limits<double>::infinity(),
                                   std::numeric_limits<double>::quiet_NaN()};
  moert_session_options options;
  moert_session_options_init(&options);
  options.function = pick(functions);
  options.communicator = choices.below(4) ? nullptr : pick(communicators);
  options.max_tokens = tokens[choices.below(std::size(tokens))];
  options.threads = threads[choices.below(std::size(threads))];
  options.check_replicas = static_cast<int32_t>(choices.below(2));
  // A program that misbehaves is waited for as long as is said here.
  bool misbehaves =
      options.function && std::string(options.function) == "misbehave";
  options.timeout_seconds =
      seconds[misbehaves ? 0 : choices.below(std::size(seconds))];
  if (choices.below(2))
    options.log = [](void *user, const char *line) {
      *static_cast<size_t *>(user) += std::string(line).size();
    };
  static size_t logged = 0;
  options.log_user = &logged;
  if (choices.below(8) == 0)
    options.size = choices.below(200);
  moert_session_t *session = nullptr;
  moert_status status =
      moert_session_open(any(artifacts), choices.below(16) ? &options : nullptr,
                         choices.below(16) ? &session : nullptr);
  check(status);
  fuzz::require((status == MOERT_OK) == (session != nullptr),
                "a session is open when it was opened");
  if (session)
    sessions.push_back(session);
}

void Caller::closeSession() {
  moert_session_t *session = any(sessions);
  std::erase(sessions, session);
  moert_session_close(session);
}

void Caller::loadWeights() {
  std::string file = weightsFolder() + "/model.safetensors";
  const char *const paths[] = {
      weightsFolder().c_str(), file.c_str(), "/none", "", nullptr, "/dev/null"};
  check(moert_session_load_weights(any(sessions), pick(paths)));
}

std::unique_ptr<Tensor> Caller::makeTensor(const char *name, const char *dtype,
                                           std::vector<int64_t> shape) {
  static const char *const names[] = {"x", "y", "w", "b", "mode", "", "\xff"};
  static const char *const dtypes[] = {"f32",      "i32", "bf16", "i64", "f16",
                                       "f8E4M3FN", "i8",  "F32",  ""};
  static const int64_t sizes[] = {
      0, 1, 2, 3, 4, 5, 8, 9, -1, INT64_MAX, INT64_MIN, int64_t(1) << 33};
  auto tensor = std::make_unique<Tensor>();
  tensor->name = choices.below(10) ? name : pick(names);
  tensor->dtype = choices.below(10) ? dtype : pick(dtypes);
  tensor->shape = std::move(shape);
  if (choices.below(8) == 0 && !tensor->shape.empty())
    tensor->shape[choices.below(tensor->shape.size())] =
        sizes[choices.below(std::size(sizes))];
  if (choices.below(12) == 0)
    tensor->shape.resize(choices.below(12), 1);
  // No type is larger than eight bytes.
  double bytes = 8;
  for (int64_t size : tensor->shape)
    bytes *= static_cast<double>(size);
  bool fits = bytes >= 0 && bytes <= 1 << 16;
  tensor->memory.resize(fits ? static_cast<size_t>(bytes) : 0);
  std::string_view content = choices.take(
      std::min<size_t>(tensor->memory.size(), choices.below(4) ? 4 : 256));
  std::copy(content.begin(), content.end(), tensor->memory.begin());
  // What is too large to be there is null, and must be refused.
  void *data = tensor->memory.empty() ? nullptr : tensor->memory.data();
  tensor->c = {tensor->name.c_str(), tensor->dtype.c_str(),
               tensor->shape.data(), static_cast<int32_t>(tensor->shape.size()),
               choices.below(20) ? data : nullptr};
  switch (choices.below(40)) {
  case 0:
    tensor->c.name = nullptr;
    break;
  case 1:
    tensor->c.dtype = nullptr;
    break;
  case 2:
    tensor->c.shape = nullptr;
    break;
  case 3:
    tensor->c.rank = choices.below(2) ? INT32_MIN : INT32_MAX;
    break;
  default:
    break;
  }
  return tensor;
}

Caller::Tensors Caller::makeTensors(bool areWeights, bool areOutputs) {
  Tensors tensors;
  auto tokens = static_cast<int64_t>(choices.below(MaxTokens + 2));
  bool scales = choices.below(3) != 0;
  auto add = [&](const char *name, const char *dtype,
                 std::vector<int64_t> shape) {
    if (choices.below(12) == 0)
      return;
    for (size_t times = choices.below(16) ? 1 : 2; times > 0; --times) {
      tensors.owned.push_back(makeTensor(name, dtype, shape));
      tensors.c.push_back(tensors.owned.back()->c);
    }
  };
  if (areWeights) {
    add("w", "f32", {choices.below(2) ? 2 : 4, 4});
    add("b", "f32", {4});
  } else if (!areOutputs) {
    scales ? add("x", "f32", {tokens, 4}) : add("mode", "i32", {tokens});
  } else if (scales) {
    add("y", "f32", {tokens, 4});
    if (choices.below(2))
      add("expert_ids", "i32", {tokens, 2});
    if (choices.below(2))
      add("expert_weights", "f32", {tokens, 2});
  } else {
    add("y", "i32", {tokens});
  }
  return tensors;
}

void Caller::run(bool enqueue) {
  Tensors inputs = makeTensors(false, false),
          outputs = makeTensors(false, true);
  moert_session_t *session = any(sessions);
  check(enqueue ? moert_session_enqueue(session, nullptr, inputs.data(),
                                        inputs.c.size(), outputs.data(),
                                        outputs.c.size())
                : moert_session_run(session, inputs.data(), inputs.c.size(),
                                    outputs.data(), outputs.c.size()));
}

void Caller::readNumbers() {
  moert_session_t *session = any(sessions);
  moert_memory memory = {};
  check(moert_session_memory(session, choices.below(8) ? &memory : nullptr));
  moert_counter counters[4];
  size_t count = 0;
  size_t capacity = choices.below(5);
  check(moert_session_counters(session, capacity ? counters : nullptr, capacity,
                               choices.below(8) ? &count : nullptr));
  for (size_t i = 0; i < std::min(count, capacity); ++i)
    fuzz::require(counters[i].calls > 0 && *counters[i].kind,
                  "what is counted was called");
}

void Caller::step() {
  switch (choices.below(12)) {
  case 0:
    return openArtifact();
  case 1:
  case 2:
    return openSession();
  case 3:
    return closeSession();
  case 4:
  case 5:
    return loadWeights();
  case 6: {
    Tensors weights = makeTensors(true, false);
    return check(moert_session_set_weights(any(sessions), weights.data(),
                                           weights.c.size()));
  }
  case 7:
    return run(/*enqueue=*/true);
  case 8:
    check(moert_session_wait(any(sessions)));
    return readNumbers();
  case 9: {
    moert_artifact_t *artifact = any(artifacts);
    std::erase(artifacts, artifact);
    return moert_artifact_close(artifact);
  }
  default:
    return run(/*enqueue=*/false);
  }
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  Caller caller(fuzz::Choices(data, size));
  for (int i = 0; i < 40 && !caller.done(); ++i)
    caller.step();
  return 0;
}
