#include "comm/mpi_library.h"

#include <dlfcn.h>
#include <unistd.h>

using namespace moert;

static const std::vector<std::string> &knownNames() {
  static const std::vector<std::string> names = {"openmpi", "mpich"};
  return names;
}

std::vector<std::string> moert::mpiPluginPaths(const std::string &name) {
  Dl_info info = {};
  std::string folder = ".";
  if (::dladdr(reinterpret_cast<void *>(&mpiPluginPaths), &info) &&
      info.dli_fname) {
    std::string file = info.dli_fname;
    folder = file.substr(0, file.find_last_of('/'));
    if (folder == file)
      folder = "."; // found by PATH: see /proc below
  }
  // A program's name may be relative to a folder that it has left.
  char self[4096];
  ssize_t size = ::readlink("/proc/self/exe", self, sizeof(self));
  std::string file = "libmoert-mpi-" + name + ".so";
  std::vector<std::string> folders = {folder};
  if (size > 0) {
    std::string program(self, static_cast<size_t>(size));
    folders.push_back(program.substr(0, program.find_last_of('/')));
  }
  std::vector<std::string> paths;
  for (const std::string &base : folders)
    for (const char *below : {"", "/../lib", "/../" MOERT_LIBRARY_FOLDER})
      paths.push_back(base + below + "/" + file);
  return paths;
}

// The plug-in's table, or why there is none.
static Result<const moert_mpi_plugin *> load(const std::string &path) {
  // Global: MPIs load parts of their own that look for the library's symbols.
  void *handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (!handle)
    return Status::error(MOERT_ERROR_UNSUPPORTED, printable(::dlerror()));
  auto open = reinterpret_cast<moert_mpi_plugin_open_fn>(
      ::dlsym(handle, MOERT_MPI_PLUGIN_SYMBOL));
  const moert_mpi_plugin *plugin = open ? open() : nullptr;
  if (!plugin)
    return Status::error(MOERT_ERROR_UNSUPPORTED, "'", printable(path),
                         "' is no plug-in: it has no " MOERT_MPI_PLUGIN_SYMBOL);
  if (plugin->version != MOERT_MPI_PLUGIN_VERSION)
    return Status::error(MOERT_ERROR_UNSUPPORTED, "'", printable(path),
                         "' is a plug-in of version ", plugin->version, ", ",
                         MOERT_MPI_PLUGIN_VERSION, " is expected");
  return plugin;
}

// The MPI that the program itself is linked with; empty if it is with none.
static std::string mpiOfProgram() {
  using LibraryVersion = int(char *, int *);
  auto *version = reinterpret_cast<LibraryVersion *>(
      ::dlsym(RTLD_DEFAULT, "MPI_Get_library_version"));
  std::vector<char> text(1 << 14);
  int size = 0;
  if (!version || version(text.data(), &size) != 0)
    return {};
  std::string_view found(text.data());
  if (found.find("Open MPI") != std::string_view::npos)
    return "openmpi";
  return found.find("MPICH") != std::string_view::npos ? "mpich" : "";
}

static Result<const moert_mpi_plugin *> find(std::string name) {
  if (name.empty())
    name = mpiOfProgram();
  if (name.find('/') != std::string::npos)
    return load(name);
  Status last;
  for (const std::string &known : knownNames()) {
    if (!name.empty() && name != known)
      continue;
    for (const std::string &path : mpiPluginPaths(known)) {
      if (::access(path.c_str(), R_OK) != 0)
        continue;
      Result<const moert_mpi_plugin *> plugin = load(path);
      if (plugin.ok())
        return plugin;
      last = plugin.status(); // its MPI may not be installed
    }
  }
  if (!last.ok())
    return last.in("the plug-in for MPI cannot be loaded");
  return Status::error(MOERT_ERROR_UNSUPPORTED,
                       "this runtime was built without a plug-in for ",
                       name.empty() ? "any MPI" : name);
}

Result<std::shared_ptr<MpiLibrary>> MpiLibrary::open(const std::string &name) {
  // Lives until the process ends: MPI cannot be initialized twice.
  static std::mutex once;
  static std::shared_ptr<MpiLibrary> shared;
  std::lock_guard<std::mutex> lock(once);
  if (shared)
    return shared;
  Result<const moert_mpi_plugin *> plugin = find(name);
  if (!plugin.ok())
    return plugin.status();
  std::shared_ptr<MpiLibrary> library(new MpiLibrary(*plugin));
  library->isAbandoned = true; // until it is initialized
  MOERT_TRY(library->check(
      library->plugin->initialize(&library->own, &library->world),
      "cannot be initialized"));
  library->isAbandoned = false;
  shared = library;
  return library;
}

MpiLibrary::~MpiLibrary() {
  if (!isAbandoned)
    plugin->finalize();
}

Status MpiLibrary::check(int code, const char *what) const {
  if (code == 0)
    return {};
  char text[256];
  plugin->error_text(code, text, sizeof(text));
  return Status::error(MOERT_ERROR_IO, "MPI ", what, ": ", printable(text));
}

Status MpiLibrary::broadcast(void *data, size_t bytes) {
  std::lock_guard<std::mutex> lock(mutex);
  return check(plugin->broadcast(data, static_cast<int>(bytes)),
               "cannot broadcast");
}

Status MpiLibrary::barrier() {
  std::lock_guard<std::mutex> lock(mutex);
  return check(plugin->barrier(), "cannot meet at a barrier");
}

Result<void *> MpiLibrary::split(bool isMember) {
  std::lock_guard<std::mutex> lock(mutex);
  void *communicator = nullptr;
  MOERT_TRY(check(plugin->split(isMember, &communicator),
                  "cannot make a communicator"));
  return communicator;
}

Status MpiLibrary::send(void *communicator, const void *data, int64_t bytes,
                        int to, int tag, bool synchronous,
                        moert_mpi_request &request) {
  std::lock_guard<std::mutex> lock(mutex);
  return check(plugin->send(communicator, data, static_cast<int>(bytes), to,
                            tag, synchronous, &request),
               "cannot send");
}

Status MpiLibrary::receive(void *communicator, void *data, int64_t bytes,
                           int from, int tag, moert_mpi_request &request) {
  std::lock_guard<std::mutex> lock(mutex);
  return check(plugin->receive(communicator, data, static_cast<int>(bytes),
                               from, tag, &request),
               "cannot receive");
}

Result<bool> MpiLibrary::test(moert_mpi_request &request) {
  std::lock_guard<std::mutex> lock(mutex);
  int done = 0;
  MOERT_TRY(check(plugin->test(&request, &done), "cannot move data"));
  return done != 0;
}

Result<int> MpiLibrary::probe(void *communicator, int from, int tag) {
  std::lock_guard<std::mutex> lock(mutex);
  int bytes = -1;
  MOERT_TRY(check(plugin->probe(communicator, from, tag, &bytes),
                  "cannot look for messages"));
  return bytes;
}
