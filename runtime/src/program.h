// The compiled program, loaded from memory.
#ifndef MOERT_PROGRAM_H
#define MOERT_PROGRAM_H

#include "manifest.h"
#include "moert/abi.h"
#include "status.h"

#include <memory>
#include <string_view>

namespace moert {

// Refuses a target that this machine cannot run.
Status checkTarget(const Target &target);

class Program {
public:
  static Result<std::shared_ptr<Program>> load(std::string_view object);
  ~Program();
  Program(const Program &) = delete;
  Program &operator=(const Program &) = delete;

  Result<void *> symbol(const std::string &name) const;

private:
  Program(int fd, void *handle) : fd(fd), handle(handle) {}

  int fd; // kept open: see load
  void *handle;
};

} // namespace moert

#endif
