// What the ranks did and when, as a file for chrome://tracing and Perfetto.
#ifndef MOE_RUN_TRACE_FILE_H
#define MOE_RUN_TRACE_FILE_H

#include "session.h"

namespace moert {

// The ranks' spans in the clock of rank 0; all processes of the job call these
// in turn. Times in the file count from `makeClock` on.
class TraceFile {
public:
  // Before what is to be traced. An exchange, where ranks are processes.
  static Result<TraceFile> makeClock(const Session &session);
  // Everybody's events at rank 0, elsewhere nothing. An exchange.
  Status gather(const Session &session);
  // At rank 0.
  Status write(const std::string &path) const;

private:
  std::string describe(const Session &session, int rank) const;

  // What is taken off this process's clock: the file's time.
  int64_t zero = 0;
  std::vector<std::string> events; // by rank, JSON without the brackets
};

} // namespace moert

#endif
