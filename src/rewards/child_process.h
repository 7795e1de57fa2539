// ChildProcess: a program that is written lines to and read lines from, with a deadline.
#pragma once
#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace nll {

class ChildProcess {
 public:
  using Clock = std::chrono::steady_clock;
  // Starts program and arguments in a process group of their own, with pipes for input, output and error output. Throws
  // Error(io) where that cannot be done. `name` leads all errors.
  ChildProcess(const std::vector<std::string>& command, std::string name);
  // Ends the whole group.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // Writes `input` and reads `lines` lines, both at once, so that neither side waits for the other. Throws as fail()
  // where the program ends, does not finish in time, or writes a line too many or too long.
  std::vector<std::string> ask(std::string_view input, std::size_t lines, std::chrono::milliseconds limit);
  // Ends the program and throws Error(io): the name, `what`, and what it last wrote to its error output.
  [[noreturn]] void fail(const std::string& what, const std::string& hint = {});

  static constexpr std::size_t longest_line = std::size_t{1} << 20;
  static constexpr std::size_t error_tail = 400;  // bytes of its error output that an error shows

 private:
  // A descriptor of ours; -1: closed.
  struct Pipe {
    int descriptor = -1;
    ~Pipe() { close(); }
    void close() noexcept;
  };
  void end() noexcept;
  // How it ended: "exit code 3", "signal 9 (Killed)"; or that it is still there.
  std::string fate();
  void write_some(std::string_view& input);
  // What there is of it; false where the other side has closed it.
  static bool read_some(const Pipe& pipe, std::string& text);
  void read_errors();

  std::string name_, out_, errors_;
  int pid_ = -1;
  Pipe input_, output_, error_output_;
};

}  // namespace nll
