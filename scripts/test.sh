#!/usr/bin/env bash
# Sets up, builds and runs every test: the rooms' tests and the house checks, the rooms again under AddressSanitizer and
# UndefinedBehaviorSanitizer, the threaded rooms under ThreadSanitizer, and each fuzz target for 25 seconds. The CUDA
# kernels run on the host in all of them; where nvcc is, the CUDA build is made too. One ctest runs all tests and its
# summary is the end of the output. Exit code: 0 when everything passed.
#   scripts/test.sh            everything (about 30 minutes from a clean clone on 2 cores, 13 with a compiler cache)
#   scripts/test.sh quick      without sanitizers and fuzzing
set -euo pipefail
cd "$(dirname "$0")/.."

case ${1:-all} in
  all) presets=(cpu asan tsan fuzz) groups=(build test) ;;
  quick) presets=(cpu) groups=(build) ;;
  *) echo "usage: scripts/test.sh [quick]" >&2; exit 2 ;;
esac

# The CUDA toolkit is no package of Debian's: what it compiles is checked where it is.
if [[ ${1:-all} == all ]]; then
  if command -v nvcc > /dev/null; then presets+=(cuda); else echo "no nvcc here: the CUDA build is left out"; fi
fi

jobs=$(nproc)
stage() { printf '\n== %3d:%02d  %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$1"; }
# Runs a command; off a terminal its output goes to a file and is shown only when it fails.
quietly() {
  local log=$1
  shift
  if [[ -t 1 ]]; then
    "$@"
  elif ! "$@" > "$log" 2>&1; then
    tail -n 100 "$log"
    echo "failed: $*" >&2
    exit 1
  fi
}

stage "what the build needs"
scripts/setup.sh "${groups[@]}"

mkdir -p build/together
subfolders=()
for preset in "${presets[@]}"; do
  stage "build $preset"
  quietly "build/together/$preset-configure.log" cmake --preset "$preset"
  # A preset whose tests are a part of all builds only what these need.
  case $preset in
    tsan) target=room_tests ;;
    fuzz) target=fuzzers ;;
    *) target=all ;;
  esac
  quietly "build/together/$preset-build.log" cmake --build "build/$preset" --target "$target" --parallel "$jobs"
  subfolders+=("\"$PWD/build/$preset\"")
done

# A folder for ctest that is all the builds' test folders together.
echo "subdirs(${subfolders[*]})" > build/together/CTestTestfile.cmake
stage "tests"
# One more than there are cores: some tests mostly wait.
exec ctest --test-dir build/together --parallel $((jobs + 1)) --output-on-failure --no-tests=error
