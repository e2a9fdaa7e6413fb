// moe-run as one of several processes.
#ifndef MOE_RUN_LAUNCH_H
#define MOE_RUN_LAUNCH_H

#include "run.h"

#include <condition_variable>
#include <mutex>
#include <thread>

namespace moert {

// This process's part in a job: all of it, or one rank of it.
class Job {
public:
  explicit Job(const JobPlan &plan) : plan(plan) {}

  // Takes the communicator that --comm says, or that fits whoever started this
  // process: never all ranks in each of several processes by accident. Before
  // any thread is started: from then on the signal by which a launcher ends the
  // other processes of a failed job leaves time to say which has failed.
  Status join(const std::string &device);
  // One of several processes that run the artifact together.
  bool isProcess() const { return isOneOfSeveral(communicator, plan.launch); }
  // Results are rank 0's to write and to check.
  bool isFirst() const { return !isProcess() || plan.launch->rank == 0; }
  void fill(SessionOptions &options) const;
  // What lines of this process begin with.
  std::string prefix() const;
  // Prints the failure that ends this process, and only then tells the other
  // processes of the job, where they have met: those end when they know, and
  // a launcher may then end this one. Gives the exit code.
  int fail(Rendezvous *meeting, const Status &status) const;

private:
  const JobPlan &plan;
  std::string communicator = "local";
};

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
