#include "common/wireguard/detached_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "common/status.h"

namespace edged::wireguard {
namespace {

// What the new process tells through the pipe: first its pid; then, when it
// could not become the program, the errno. The pipe closes when it did.
struct Report {
  pid_t pid = 0;
  int error = 0;
};

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// From here on in the child of a process with threads: only what
// signal-safety(7) allows.
void Tell(int pipe, const Report& report) {
  while (write(pipe, &report, sizeof report) < 0 && errno == EINTR) {
  }
}

int TakeCleanStart(int pipe) {
  for (int number = 1; number < NSIG; ++number) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  // Out of the way of the descriptors 0 to 3 first.
  pipe = fcntl(pipe, F_DUPFD_CLOEXEC, 4);
  if (pipe < 0 || chdir("/") < 0) return -1;
  const int null = open("/dev/null", O_RDWR);
  if (null < 0) return -1;
  for (int stream = 0; stream <= 2; ++stream) {
    if (dup2(null, stream) < 0) return -1;
  }
  if (dup3(pipe, 3, O_CLOEXEC) < 0 || close_range(4, ~0U, 0) < 0) return -1;
  return 3;
}

[[noreturn]] void RunDetached(int pipe, char* const* argv,
                              char* const* environment) {
  if (setsid() < 0) {
    Tell(pipe, {.error = errno});
    _exit(1);
  }
  const pid_t grandchild = fork();
  if (grandchild < 0) Tell(pipe, {.error = errno});
  if (grandchild != 0) _exit(0);
  Tell(pipe, {.pid = getpid()});
  const int kept = TakeCleanStart(pipe);
  if (kept < 0) {
    Tell(pipe, {.error = errno});
    _exit(1);
  }
  execve(argv[0], argv, environment);
  Tell(kept, {.error = errno});
  _exit(1);
}

// nullopt at the end of the pipe.
std::optional<Report> NextReport(const UniqueFd& pipe) {
  Report report;
  ssize_t size;
  do {
    size = read(pipe.get(), &report, sizeof report);
  } while (size < 0 && errno == EINTR);
  if (size != sizeof report) return std::nullopt;
  return report;
}

}  // namespace

absl::StatusOr<UniqueFd> StartDetached(std::vector<std::string> argv,
                                       std::vector<std::string> environment) {
  const std::string what = fmt::format("start {}", argv[0]);
  const std::vector<char*> arguments = Pointers(argv);
  const std::vector<char*> variables = Pointers(environment);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return ErrnoStatus(errno, what);
  UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  const pid_t child = fork();
  if (child < 0) return ErrnoStatus(errno, what);
  if (child == 0) {
    RunDetached(write_end.get(), arguments.data(), variables.data());
  }
  write_end.reset();
  while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_t pid = 0;
  while (const std::optional<Report> report = NextReport(read_end)) {
    if (report->error != 0) return ErrnoStatus(report->error, what);
    pid = report->pid;
  }
  // glibc 2.36 declares pidfd_open() without C linkage.
  UniqueFd process(pid > 0 ? static_cast<int>(syscall(SYS_pidfd_open, pid, 0))
                           : -1);
  if (!process) return Unavailable("{}: it ended at once", what);
  return process;
}

}  // namespace edged::wireguard
