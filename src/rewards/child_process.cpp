#include "src/rewards/child_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>

#include "kernels/check.h"

namespace nll {
namespace {

struct PipeEnds {
  int ours = -1, theirs = -1;
};

// While one lives, writing to a program that is gone is an error code and no signal, on this thread and whatever the
// process does with SIGPIPE.
class NoPipeSignal {
 public:
  NoPipeSignal() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGPIPE);
    sigset_t pending;
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &set_, &before_);
  }
  ~NoPipeSignal() {
    const timespec at_once{};
    if (!was_pending_) {
      while (sigtimedwait(&set_, nullptr, &at_once) < 0 && errno == EINTR) {
      }
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  NoPipeSignal(const NoPipeSignal&) = delete;
  NoPipeSignal& operator=(const NoPipeSignal&) = delete;

 private:
  sigset_t set_{}, before_{};
  bool was_pending_ = false;
};

}  // namespace

void ChildProcess::Pipe::close() noexcept {
  if (descriptor >= 0) ::close(descriptor);
  descriptor = -1;
}

ChildProcess::ChildProcess(const std::vector<std::string>& command, std::string name) : name_(std::move(name)) {
  CHECK(!command.empty());
  Pipe their_input, their_output, their_errors;
  // The last is whether we write to it.
  const auto connect = [&](Pipe& ours, Pipe& theirs, bool writing) {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) {
      throw Error(Exit::io, fmt::format("{}: no pipe to it: {}", name_, std::strerror(errno)));
    }
    ours.descriptor = ends[writing ? 1 : 0];
    theirs.descriptor = ends[writing ? 0 : 1];
    fcntl(ours.descriptor, F_SETFL, O_NONBLOCK);
  };
  connect(input_, their_input, true);
  connect(output_, their_output, false);
  connect(error_output_, their_errors, false);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, their_input.descriptor, 0);
  posix_spawn_file_actions_adddup2(&actions, their_output.descriptor, 1);
  posix_spawn_file_actions_adddup2(&actions, their_errors.descriptor, 2);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  posix_spawnattr_setpgroup(&attributes, 0);
  // What this process ignores or blocks is not the program's affair.
  sigset_t ordinary, none;
  sigemptyset(&ordinary);
  sigaddset(&ordinary, SIGPIPE);
  sigaddset(&ordinary, SIGXFSZ);
  sigemptyset(&none);
  posix_spawnattr_setsigdefault(&attributes, &ordinary);
  posix_spawnattr_setsigmask(&attributes, &none);

  std::vector<char*> arguments;
  for (const std::string& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  const int error = posix_spawnp(&pid_, arguments[0], &actions, &attributes, arguments.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    pid_ = -1;
    throw Error(Exit::io, fmt::format("{}: it cannot be started: {}", name_, std::strerror(error)),
                "reward.command is the program and its arguments, one text each");
  }
}

ChildProcess::~ChildProcess() { end(); }

void ChildProcess::end() noexcept {
  input_.close();
  output_.close();
  error_output_.close();
  if (pid_ < 0) return;
  kill(-pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
}

std::string ChildProcess::fate() {
  // Its output may end a moment before it does. WNOWAIT: the group keeps its number until end().
  for (int i = 0; i < 200; ++i) {
    siginfo_t info{};
    if (waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid_) {
      if (info.si_code == CLD_EXITED) return fmt::format("it ended with exit code {}", info.si_status);
      return fmt::format("it was ended by signal {} ({})", info.si_status, strsignal(info.si_status));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return "it closed its input or output";
}

void ChildProcess::fail(const std::string& what, const std::string& hint) {
  read_errors();
  end();
  std::string tail = errors_.substr(errors_.size() - std::min(errors_.size(), error_tail));
  while (!tail.empty() && static_cast<unsigned char>(tail.back()) <= ' ') tail.pop_back();
  std::string shown;
  for (char c : tail) {
    if (c == '\n') {
      shown += " | ";
    } else {
      shown.push_back(static_cast<unsigned char>(c) < ' ' ? ' ' : c);
    }
  }
  throw Error(Exit::io, fmt::format("{}: {}{}", name_, what, shown.empty() ? "" : "; it wrote: " + shown), hint);
}

void ChildProcess::write_some(std::string_view& input) {
  const NoPipeSignal quiet;
  const ssize_t n = ::write(input_.descriptor, input.data(), input.size());
  if (n >= 0) {
    input.remove_prefix(static_cast<std::size_t>(n));
  } else if (errno != EAGAIN && errno != EINTR) {
    fail(fate() + " before it had read all completions");
  }
}

bool ChildProcess::read_some(const Pipe& pipe, std::string& text) {
  std::array<char, 1 << 14> bytes{};
  while (true) {
    const ssize_t n = ::read(pipe.descriptor, bytes.data(), bytes.size());
    if (n == 0) return false;
    if (n < 0) {
      if (errno == EINTR) continue;
      return errno == EAGAIN;
    }
    text.append(bytes.data(), static_cast<std::size_t>(n));
    if (static_cast<std::size_t>(n) < bytes.size()) return true;
    if (text.size() > 2 * longest_line) return true;
  }
}

void ChildProcess::read_errors() {
  if (error_output_.descriptor < 0) return;
  if (!read_some(error_output_, errors_)) error_output_.close();
  if (errors_.size() > 4 * error_tail) errors_.erase(0, errors_.size() - 2 * error_tail);
}

std::vector<std::string> ChildProcess::ask(std::string_view input, std::size_t lines, std::chrono::milliseconds limit) {
  CHECK(pid_ >= 0);
  const Clock::time_point deadline = Clock::now() + limit;
  std::vector<std::string> answers;
  read_some(output_, out_);
  if (!out_.empty()) fail("it wrote more lines than it was asked for");
  while (!input.empty() || answers.size() < lines) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) {
      fail(fmt::format("{} of {} answers after {} seconds", answers.size(), lines,
                       static_cast<double>(limit.count()) / 1000),
           "reward.command_seconds is how long it may take; it must write out each line at once (flush)");
    }
    // poll() passes over descriptors below 0.
    std::array<pollfd, 3> ready{{{input.empty() ? -1 : input_.descriptor, POLLOUT, 0},
                                 {output_.descriptor, POLLIN, 0},
                                 {error_output_.descriptor, POLLIN, 0}}};
    if (poll(ready.data(), ready.size(), static_cast<int>(std::min<long>(left, 1000))) < 0 && errno != EINTR) {
      fail(fmt::format("waiting for it failed: {}", std::strerror(errno)));
    }
    if (ready[2].revents != 0) read_errors();
    if (ready[0].revents != 0) write_some(input);
    if (ready[1].revents == 0) continue;
    const bool open = read_some(output_, out_);
    std::size_t begin = 0;
    for (std::size_t end = out_.find('\n'); end != std::string::npos && answers.size() < lines;) {
      answers.push_back(out_.substr(begin, end - begin));
      begin = end + 1;
      end = out_.find('\n', begin);
    }
    out_.erase(0, begin);
    if (answers.size() == lines && !out_.empty()) fail("it wrote more lines than it was asked for");
    if (out_.size() > longest_line) fail(fmt::format("a line of more than {} bytes", longest_line));
    if (!open && (answers.size() < lines || !input.empty())) {
      fail(fmt::format("{} after {} of {} answers", fate(), answers.size(), lines));
    }
  }
  read_errors();
  return answers;
}

}  // namespace nll
