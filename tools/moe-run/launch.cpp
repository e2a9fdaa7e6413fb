#include "launch.h"

#include "launch/rendezvous.h"

#include <csignal>
#include <cstdio>
#include <pthread.h>
#include <thread>
#include <unistd.h>

using namespace moert;

static bool hasMpi(const Launch &launch) {
  switch (launch.source) {
  case LaunchSource::OpenMpi:
  case LaunchSource::Mpich:
    return true;
  case LaunchSource::Slurm: // where it serves MPI (srun --mpi=pmix, pmi2)
    return environmentVariables().contains("PMIX_RANK");
  case LaunchSource::Flags:
  case LaunchSource::Torchrun:
  case LaunchSource::Variables:
    break;
  }
  return false;
}

static Result<std::string> chooseCommunicator(const JobPlan &plan,
                                              const std::string &device) {
  if (!plan.communicator.empty())
    return plan.communicator;
  if (!plan.launch || plan.launch->world == 1)
    return std::string("local");
  if (device == "cuda")
    return std::string("nccl");
  if (hasMpi(*plan.launch))
    return std::string("mpi");
  return Status::error(
      MOERT_ERROR_INVALID_ARGUMENT, plan.launch->world,
      " processes were started (by ", launchSourceName(plan.launch->source),
      "), but no communicator for several processes fits: on CPUs that is "
      "mpi, with processes started by mpirun; --comm=local runs all ranks in "
      "each process");
}

static void outliveLauncher(int rank) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  if (::pthread_sigmask(SIG_BLOCK, &signals, nullptr) != 0)
    return;
  std::thread([signals, rank] {
    int signal = 0;
    if (::sigwait(&signals, &signal) != 0)
      return;
    // The failure that made the launcher do this is about to be known here.
    ::usleep(300000);
    std::fprintf(stderr, "error: rank %d: ended by signal %d\n", rank, signal);
    std::fflush(stderr);
    ::_exit(128 + signal);
  }).detach();
}

Status Job::join(const std::string &device) {
  Result<std::string> chosen = chooseCommunicator(plan, device);
  if (!chosen.ok())
    return chosen.status();
  communicator = *chosen;
  if (isProcess())
    outliveLauncher(plan.launch->rank);
  return {};
}

void Job::fill(SessionOptions &options) const {
  options.communicator = communicator;
  options.launch = plan.launch;
  options.mpi = plan.mpi;
  options.timeoutSeconds = plan.timeoutSeconds;
  // At once: a launcher may end this process before it has an error to return.
  if (isProcess())
    options.onFailure = [first = isFirst()](const std::string &line) {
      if (first)
        note(line);
    };
  if (isFirst())
    options.log = note;
}

std::string Job::prefix() const {
  return isProcess() ? concat("rank ", plan.launch->rank, ": ") : std::string();
}

int Job::fail(Rendezvous *meeting, const Status &status) const {
  int code = reportError(
      isProcess() ? status.in(concat("rank ", plan.launch->rank)) : status);
  if (meeting)
    meeting->fail(status);
  return code;
}

static constexpr int PatienceSeconds = 3;

Watchdog::Watchdog(const Session &session, std::string prefix)
    : session(session), prefix(std::move(prefix)), thread([this] { watch(); }) {
}

Watchdog::~Watchdog() {
  {
    std::lock_guard<std::mutex> lock(mutex);
    stopping = true;
    changed.notify_all();
  }
  thread.join();
}

void Watchdog::watch() {
  std::unique_lock<std::mutex> lock(mutex);
  auto pause = [&](int milliseconds) {
    return changed.wait_for(lock, std::chrono::milliseconds(milliseconds),
                            [&] { return stopping; });
  };
  while (session.failure().ok())
    if (pause(200))
      return;
  if (pause(PatienceSeconds * 1000))
    return;
  std::fflush(stdout);
  std::fprintf(stderr, "error: %s%s; the program of this process hangs\n",
               prefix.c_str(), session.failure().message().c_str());
  std::fflush(stderr);
  ::_exit(ExitBadInput);
}
