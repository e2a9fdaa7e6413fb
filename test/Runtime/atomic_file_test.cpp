// Files are there whole or not at all.
#include "atomic_file.h"

#include "temporary_folder.h"

#include <csignal>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace moert;
using namespace moert::test;

static size_t filesIn(const TemporaryFolder &folder) {
  std::filesystem::directory_iterator begin(folder.path), end;
  return static_cast<size_t>(std::distance(begin, end));
}

// Writes 64 MiB in small pieces in a process of its own.
static pid_t writeElsewhere(const std::string &path, rlim_t limit) {
  pid_t pid = ::fork();
  if (pid != 0)
    return pid;
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit sizes = {limit, limit};
  ::setrlimit(RLIMIT_FSIZE, &sizes);
  std::string piece(1 << 16, 'x');
  std::vector<std::string_view> pieces(1024, piece);
  std::string error = writeFileAtomically(path, pieces);
  ::_exit(error == "cannot write '" + path + "': File too large" ? 7
          : error.empty()                                        ? 0
                                                                 : 8);
}

TEST(AtomicFile, WhatDoesNotFitLeavesNothing) {
  TemporaryFolder folder;
  int status = 0;
  ::waitpid(writeElsewhere(folder / "out", 1 << 20), &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 7);
  EXPECT_EQ(filesIn(folder), 0u);
  folder.write("out", "old");
  ::waitpid(writeElsewhere(folder / "out", 1 << 20), &status, 0);
  EXPECT_EQ(readFile(folder / "out"), "old");
  EXPECT_EQ(filesIn(folder), 1u);
}

TEST(AtomicFile, AKilledWriterLeavesNothingPartial) {
  TemporaryFolder folder;
  for (int wait : {0, 1000, 5000, 20000}) {
    pid_t pid = writeElsewhere(folder / "out", RLIM_INFINITY);
    ::usleep(static_cast<useconds_t>(wait));
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    for (const auto &entry : std::filesystem::directory_iterator(folder.path))
      EXPECT_EQ(entry.file_size(), size_t(64) << 20) << entry.path();
  }
}
