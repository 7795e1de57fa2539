#!/usr/bin/env bash
# A type of a namespace is defined once: two that share a name link without a word into a program that runs the wrong
# one's code (the one-definition rule). Types of a .cpp belong into its unnamed namespace.   types.sh ROOT
set -euo pipefail
cd "$1"
find kernels src -name '*.h' -o -name '*.cuh' -o -name '*.cpp' -o -name '*.cu' | LC_ALL=C sort | xargs awk '
FNR == 1 { files++; depth = 0 }
/^(inline )?namespace .*\{$/ { sub(/^inline /, ""); sub(/^namespace */, ""); sub(/ *\{$/, ""); space[++depth] = $0; next }
/^\}  \/\/ namespace/ { depth--; next }
/^(struct|class|enum|union) / && !/;$/ {
  name = $2 == "class" ? $3 : $2
  sub(/[{].*/, "", name)
  if (name ~ /::|</) next  # a part of a class, a specialization
  sub(/:.*/, "", name)
  for (i = depth; i > 0; i--) {
    if (space[i] == "") next
    name = space[i] "::" name
  }
  if (name in place) { printf "%s:%d: %s is defined in %s too\n", FILENAME, FNR, name, place[name]; faults++ }
  else place[name] = FILENAME ":" FNR
  types++
}
END {
  if (faults) exit 1
  printf "types: %d in %d files, each defined once\n", types, files
}'
