#!/usr/bin/env bash
# Every header compiles on its own, with nothing included before it.   headers.sh ROOT COMPILER [FLAG...]
# COMPILER may be two words, "ccache g++": what is compiled lies in ./headers, where ccache finds it again.
set -euo pipefail
export compiler=$2 stubs=$PWD/headers
mkdir -p "$stubs"
trap 'rm -rf "$stubs"' EXIT
cd "$1"
shift 2
export flags="-std=c++20 -Wall -Wextra -Wpedantic -I. $*"
check() {
  local here=$flags stub=$stubs/${1//\//-}.cpp
  # The CUDA backend's against the stand-ins of CUDA's headers.
  [[ $1 == kernels/cuda/* ]] && here="-Itests/cuda_on_host/include $here"
  printf '#include "%s"\n#include "%s"\n' "$1" "$1" > "$stub"
  # shellcheck disable=SC2086
  if ! said=$($compiler $here -c "$stub" -o "$stub.o" 2>&1); then
    printf '%s: does not compile on its own\n%s\n' "$1" "$(grep -m 3 'error:' <<< "$said")"
    exit 1
  fi
}
export -f check
# cuDNN has no stand-ins.
headers() { find kernels src -name '*.h' -not -path 'kernels/cuda/cudnn/*' | LC_ALL=C sort; }
headers | xargs -P 2 -I{} bash -c 'check {}'
echo "headers: $(headers | wc -l) compile on their own"
