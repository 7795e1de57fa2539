#!/usr/bin/env bash
# The long form of the fault tests, which run shorter in CTest: 200 SIGKILLs while a run saves after every step and 50
# stops by signal, nothing lost and the end bit for bit that of an undisturbed run (about 3 minutes); then, where mpirun is,
# 100 SIGKILLs of a random rank of a job that saves after every step (about 5 minutes).
#   scripts/check_faults.sh [KILLS [STOPS [KILLS_OF_RANKS]]]
set -euo pipefail
cd "$(dirname "$0")/.."
[[ -x build/cpu/nll ]] || { echo "check_faults: build/cpu/nll is missing; build it first: cmake --preset cpu && cmake --build build/cpu" >&2; exit 2; }
bash tests/program/interruptions.sh "$PWD/build/cpu/nll" "${1:-200}" "${2:-50}"
half=$((${3:-100} / 2))
for ranks in 2 4; do
  code=0
  bash tests/program/lost_rank.sh "$PWD/build/cpu/nll" "$half" "$ranks" || code=$?
  [[ $code == 0 || $code == 77 ]] || exit $code
done
