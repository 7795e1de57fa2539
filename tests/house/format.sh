#!/usr/bin/env bash
# Every C++ file is as clang-format leaves it.   format.sh ROOT
# Exit code 77 (skipped): another clang-format than version 14, whose output differs.
set -euo pipefail
cd "$1"
if ! clang-format --version 2> /dev/null | grep -q 'version 14\.'; then
  echo "format: skipped, this check needs clang-format 14 (found: $(clang-format --version 2> /dev/null || echo none))"
  exit 77
fi
mapfile -t files < <(find kernels src tests -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' | LC_ALL=C sort)
if ! findings=$(clang-format --dry-run --Werror "${files[@]}" 2>&1); then
  grep 'error:' <<< "$findings" | cut -d: -f1,2 | sort -t: -k1,1 -k2,2n | awk -F: '
    !seen[$1]++ { print $0 ": not as clang-format leaves it" } END { print "remedy: clang-format -i FILE" }'
  exit 1
fi
echo "format: ${#files[@]} files"
