// moe-run as one of several processes.
#ifndef MOE_RUN_LAUNCH_H
#define MOE_RUN_LAUNCH_H

#include "run.h"

#include <condition_variable>
#include <mutex>
#include <thread>

namespace moert {

// What --comm says, or what fits whoever started this process: never all ranks
// in each of several processes by accident.
Result<std::string> chooseCommunicator(const RunPlan &plan,
                                       const std::string &device);

// A launcher ends the other processes of a job when one has failed. From now on
// its signal leaves time to say which. Before any thread is started.
void outliveLauncher(int rank);

// Ends this process when a run has failed and yet does not return: a program
// that hangs cannot be told to stop.
class Watchdog {
public:
  Watchdog(const Session &session, std::string prefix);
  ~Watchdog();

private:
  void watch();

  const Session &session;
  const std::string prefix;
  std::mutex mutex;
  std::condition_variable changed;
  bool stopping = false;
  std::thread thread;
};

} // namespace moert

#endif
