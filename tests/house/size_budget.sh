#!/usr/bin/env bash
# The size budget: no source file over 500 lines, and half of them under 200.   size_budget.sh ROOT
set -euo pipefail
cd "$1"
find kernels src tests scripts -type f \
  \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' -o -name '*.sh' -o -name '*.py' -o -name '*.cmake' \) |
  LC_ALL=C sort | while read -r file; do echo "$(wc -l < "$file") $file"; done | sort -n |
  awk -v limit=500 -v median_limit=200 '
    { lines[NR] = $1 }
    $1 > limit { printf "%s: %d lines (at most %d)\n", $2, $1, limit; faults++ }
    END {
      median = lines[int((NR + 1) / 2)]
      if (median >= median_limit) { printf "median: %d lines a file (under %d)\n", median, median_limit; faults++ }
      if (faults) exit 1
      printf "size: %d files, median %d lines, largest %d\n", NR, median, lines[NR]
    }'
