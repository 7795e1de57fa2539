#!/usr/bin/env bash
# Every house check finds a fault that is planted for it, at its line, and passes without.   planted.sh ROOT
set -euo pipefail
root=$(cd "$1" && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree"/{kernels/cpu,kernels/cuda,src/model,src/text,src/checkpoint,src/cli,src/report,src/train,tests,scripts,docs}
printf '#pragma once\n' | tee "$tree/kernels/tensor.h" "$tree/src/model/gpt.h" "$tree/src/text/batch.h" > "$tree/src/cli/train.h"
printf 'int main() { return 0; }\n' > "$tree/src/main.cpp"

status=0
run() { bash "$@" 2>&1; }
# expect CHECK FILE FAULT-TEXT EXPECTED...: with that content the check fails and says EXPECTED; without it passes.
expect() {
  local check=$1 file=$2 content=$3 expected=$4
  shift 4
  local command=("$root/$check" "$tree" "$@") said
  said=$(run "${command[@]}") && rc=0 || rc=$?
  [[ $rc -eq 77 ]] && { echo "$said"; return; }
  [[ $rc -eq 0 ]] || { echo "$check: fails on a clean tree: $said"; status=1; }
  mkdir -p "$(dirname "$tree/$file")"
  printf "$content" > "$tree/$file"
  if said=$(run "${command[@]}"); then
    echo "$check: did not find what was planted in $file"; status=1
  elif [[ $said != *"$expected"* ]]; then
    printf '%s: expected  %s\n  but it said  %s\n' "$check" "$expected" "$said"; status=1
  fi
  rm "$tree/$file"
}

layers=scripts/check_layers.sh
expect $layers src/model/a.cpp '\n#include "src/text/batch.h"\n' 'src/model/a.cpp:2: room "model" may not include "src/text/batch.h"'
expect $layers src/checkpoint/a.cpp '#include "src/model/gpt.h"\n' 'src/checkpoint/a.cpp:1: room "checkpoint" may not include'
expect $layers src/train/a.cpp '#include "src/cli/train.h"\n' 'src/train/a.cpp:1: room "train" may not include'
expect $layers src/cli/a.cpp '#include "kernels/cpu/cpu_ops.h"\n' 'src/cli/a.cpp:1: room "cli" may not include'
expect $layers kernels/a.h '#include "src/model/gpt.h"\n' 'kernels/a.h:1: room "kernels" may not include'
expect $layers kernels/cpu/a.cpp '  #  include "kernels/cuda/cuda_ops.h"\n' 'kernels/cpu/a.cpp:1: room "kernels/cpu" may not include'
expect $layers src/text/a.cpp '#include "batch.h"\n' 'src/text/a.cpp:1: "batch.h" (expected the path from the root'
expect $layers src/text/a.cpp '#include <mpi.h>\n' 'src/text/a.cpp:1: <mpi.h> belongs in'
expect $layers src/train/a.cpp '#include <cuda_runtime.h>\n' 'src/train/a.cpp:1: <cuda_runtime.h> belongs in'
expect $layers src/util/a.cpp '\n' 'src/util/a.cpp:1: room "util" is not in the table'

expect tests/house/size_budget.sh src/model/a.cpp "$(printf '\\n%.0s' {1..501})" 'src/model/a.cpp: 501 lines'
types=tests/house/types.sh
printf 'namespace nll {\nstruct Batch {\n};\n}  // namespace nll\n' > "$tree/src/text/types.h"
expect $types src/model/a.cpp 'namespace nll {\nclass Batch final : public A {\n};\n}  // namespace nll\n' 'src/text/types.h:2: nll::Batch is defined in src/model/a.cpp:2 too'
expect $types src/train/a.h 'namespace nll {\n\nstruct Batch {\n};\n}  // namespace nll\n' 'nll::Batch is defined in'
rm "$tree/src/text/types.h"
expect tests/house/format.sh src/model/a.cpp 'int  a;\n' 'src/model/a.cpp:1: not as clang-format leaves it'
belongings=tests/house/belongings.sh
expect $belongings src/model/a.cpp 'void f() { asm("nop"); }\n' 'src/model/a.cpp:1: assembly belongs'
expect $belongings kernels/cpu/a.cpp 'const char* a = getenv("A");\n' 'kernels/cpu/a.cpp:1: the environment'
expect $belongings src/rewards/child_process.cpp 'char** f() { return environ; }\n' 'src/rewards/child_process.cpp:1: the environment'
expect $belongings src/cli/a.cpp '\nint f(char** argv);\n' 'src/cli/a.cpp:2: the command line'
expect $belongings src/train/a.cpp 'void f() { std::exit(1); }\n' 'src/train/a.cpp:1: nothing below src/main.cpp ends'
expect $belongings src/train/a.cpp 'void f() { transport->abort(Exit::usage), std::abort(); }\n' 'src/train/a.cpp:1: nothing below'
expect $belongings src/dist/a.cpp '\nvoid f() { _exit(75); }\n' 'src/dist/a.cpp:2: nothing below'
expect $belongings src/dist/nccl.cpp 'void f() { _exit(1); }\n' 'src/dist/nccl.cpp:1: nothing below'
expect $belongings src/train/a.cpp 'void f() { std::cout << 1; }\n' 'src/train/a.cpp:1: printing belongs'
expect $belongings src/model/a.cpp 'void f() { printf("1"); }\n' 'src/model/a.cpp:1: printing belongs'
expect tests/house/words.sh src/model/a.cpp '// TODO later\n' 'src/model/a.cpp:1: unfinished work'
expect tests/house/words.sh docs/a.md 'see /home/me/notes\n' 'docs/a.md:1: a path of'
documents=tests/house/documents.sh
expect $documents docs/a.md '[here](b.md)\n' 'docs/a.md:1: link to b.md'
expect $documents docs/a.md 'run `scripts/none.sh`\n' 'docs/a.md:1: names scripts/none.sh'
expect $documents docs/a.md '`nll fly`\n' 'docs/a.md:1: `nll fly`'
expect tests/house/headers.sh src/model/a.h 'std::string a();\n' 'src/model/a.h: does not compile on its own' "${2:-c++}"

# What only looks like a fault is let through.
printf '// asm, getenv and printf in words\nint snprintf_count = 0;  /* exit(1) */\nconst char* a = "argv printf(";\nvoid abort(Exit exit) { host->abort(exit); }\n' > "$tree/src/model/a.cpp"
said=$(run "$root/$belongings" "$tree") || { echo "belongings.sh: $said"; status=1; }
printf 'namespace nll {\nnamespace {\nstruct Batch {\n};\n}  // namespace\nstruct Batch;\nstruct Text::Batch {\n};\n}  // namespace nll\n' > "$tree/src/model/a.cpp"
said=$(run "$root/$types" "$tree") || { echo "types.sh: $said"; status=1; }
[[ $status -eq 0 ]] && echo "planted: every fault was found"
exit $status
