#!/usr/bin/env bash
# Every header compiles on its own, with nothing included before it.   headers.sh ROOT COMPILER [FLAG...]
set -euo pipefail
cd "$1"
export compiler=$2
shift 2
export flags="-std=c++20 -fsyntax-only -Wall -Wextra -Wpedantic -I. $*"
check() {
  # shellcheck disable=SC2086
  if ! said=$(printf '#include "%s"\n#include "%s"\n' "$1" "$1" | $compiler $flags -x c++ - 2>&1); then
    printf '%s: does not compile on its own\n%s\n' "$1" "$(grep -m 3 'error:' <<< "$said")"
    exit 1
  fi
}
export -f check
# Those of the CUDA backend against the stand-ins of CUDA's headers; cuDNN has none.
headers() { find kernels src -name '*.h' -not -path 'kernels/cuda/cudnn/*' | LC_ALL=C sort; }
headers | grep -v '^kernels/cuda/' | xargs -P 2 -I{} bash -c 'check {}'
flags="-Itests/cuda_on_host/include $flags" && headers | grep '^kernels/cuda/' | xargs -P 2 -I{} bash -c 'check {}'
echo "headers: $(headers | wc -l) compile on their own"
