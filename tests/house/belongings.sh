#!/usr/bin/env bash
# What belongs in one place is found in no other.   belongings.sh ROOT
#   assembly        only in kernels/cuda/ptx.cuh
#   environment     read only by src/main.cpp, the one that sees argv too; handed on to a program that is started
#   printing        only in src/cli, src/report and src/main.cpp
#   ending          nothing below src/main.cpp ends the process, but for the watchdog of src/dist/nccl.cpp
set -euo pipefail
cd "$1"
find kernels src -name '*.h' -o -name '*.cuh' -o -name '*.cpp' -o -name '*.cu' | LC_ALL=C sort | xargs awk '
# The line without comments and without the inside of texts, so that words about a thing are not the thing.
function code(line,   open, close_at) {
  gsub(/\\./, "", line); gsub(/"[^"]*"/, "\"\"", line)
  sub(/\/\/.*/, "", line)
  while ((open = index(line, "/*")) > 0) {
    close_at = index(substr(line, open + 2), "*/")
    if (close_at == 0) return substr(line, 1, open - 1)
    line = substr(line, 1, open - 1) " " substr(line, open + 3 + close_at)
  }
  return line
}
function fault(text) { printf "%s:%d: %s\n", FILENAME, FNR, text; faults++ }
FNR == 1 { files++ }
{
  line = " " code($0) " "
  word = "[^A-Za-z0-9_]"
  if (line ~ word "(asm|__asm|__asm__)" word && FILENAME != "kernels/cuda/ptx.cuh")
    fault("assembly belongs in kernels/cuda/ptx.cuh")
  if (FILENAME != "src/main.cpp") {
    # Not this: the program of reward.command has the environment of its parent.
    if (FILENAME == "src/rewards/child_process.cpp") sub(/arguments[.]data\(\), environ\);/, " ", line)
    if (line ~ word "(getenv|secure_getenv|setenv|putenv|environ)" word) fault("the environment is read by src/main.cpp only")
    if (line ~ word "argv" word) fault("the command line is read by src/main.cpp only")
    # Not these: the abort of a transport and of what carries on its call, and the watchdog of NCCL, which has no other way.
    ending = line
    gsub(/(->|[.])abort\(|void (Collective::)?abort\(Exit/, " ", ending)
    if (FILENAME == "src/dist/nccl.cpp") sub(/ _exit\(static_cast<int>\(Exit::peer_lost\)\)/, " ", ending)
    if (ending ~ word "(exit|_exit|quick_exit|abort)[ ]*\\(" && ending !~ /[.>]exit\(\)| exit\(\) const|: exit\(/)
      fault("nothing below src/main.cpp ends the process (throw Error, or CHECK)")
    if (FILENAME !~ /^src\/(cli|report)\// && line ~ word "(cout|cerr|clog|printf|fprintf|puts|fputs|putchar|perror|spdlog|fmt::print)" word)
      fault("printing belongs in src/cli and src/report")
  }
}
END {
  if (faults) exit 1
  printf "belongings: %d files\n", files
}'
