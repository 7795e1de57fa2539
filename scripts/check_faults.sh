#!/usr/bin/env bash
# The long form of the fault tests, which run shorter in CTest: 200 SIGKILLs while a run saves after every step and 50
# stops by signal, nothing lost and the end bit for bit that of an undisturbed run (about 3 minutes).
#   scripts/check_faults.sh [KILLS [STOPS]]
set -euo pipefail
cd "$(dirname "$0")/.."
[[ -x build/cpu/nll ]] || { echo "check_faults: build/cpu/nll is missing; build it first: cmake --preset cpu && cmake --build build/cpu" >&2; exit 2; }
bash tests/program/interruptions.sh "$PWD/build/cpu/nll" "${1:-200}" "${2:-50}"
