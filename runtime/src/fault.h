// Faults on purpose, for tests: MOERT_FAULT=RANK:N:KIND makes the N-th
// collective of a rank, from 1 on, `fail`, `stall` or `exit`. Only in builds
// with MOERT_FAULT_INJECTION.
#ifndef MOERT_FAULT_H
#define MOERT_FAULT_H

#include "status.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unistd.h>

namespace moert {

inline Status injectFault(int rank) {
  static std::atomic<int> calls = 0;
  const char *text = std::getenv("MOERT_FAULT");
  int faulty = 0, number = 0;
  char kind[8] = {};
  if (!text || std::sscanf(text, "%d:%d:%7s", &faulty, &number, kind) != 3 ||
      rank != faulty || ++calls != number)
    return {};
  if (std::strcmp(kind, "exit") == 0)
    ::_exit(3);
  if (std::strcmp(kind, "stall") == 0)
    while (true)
      ::pause();
  return Status::error(MOERT_ERROR_PROGRAM, "a fault on purpose");
}

} // namespace moert

#endif
