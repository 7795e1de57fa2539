#!/usr/bin/env bash
# Checks every #include of kernels/ and src/ against the table of who may include whom. Run as a test by CTest.
#   scripts/check_layers.sh [ROOT]       ROOT: the checkout to look at, default the one this script is in
# Prints file:line: what is wrong. Exit code: 0 clean, 1 violations. Why by script: docs/decisions/0001-house.md.
set -euo pipefail
root=${1:-$(dirname "$0")/..}
cd "$root"

find kernels src -name '*.h' -o -name '*.cuh' -o -name '*.cpp' -o -name '*.cu' | LC_ALL=C sort |
  xargs awk '
# The room a file is in: "kernels", "kernels/cpu", "kernels/cuda", "main", or the name of a folder of src/.
function room_of(path,   part) {
  if (path == "src/main.cpp") return "main"
  split(path, part, "/")
  if (part[1] == "src") return part[2]
  return part[2] ~ /^(cpu|cuda)$/ ? "kernels/" part[2] : part[1]
}
function allow(rooms, targets,   i, j, n, m, r, t) {
  n = split(rooms, r, " "); m = split(targets, t, " ")
  for (i = 1; i <= n; i++) { known[r[i]] = 1; may[r[i], r[i]] = 1; for (j = 1; j <= m; j++) may[r[i], t[j]] = 1 }
}
BEGIN {
  # THE TABLE: rooms, then what they may include besides themselves: rooms, or single headers.
  allow("kernels",                  "")
  allow("kernels/cpu kernels/cuda", "kernels")
  allow("config report dist",       "kernels")
  allow("text model",               "config kernels")
  allow("checkpoint",               "dist config kernels")
  allow("objectives",               "src/text/batch.h config kernels")
  allow("rewards",                  "config kernels")
  allow("optim",                    "src/model/parameters.h src/model/numerics.h dist config kernels")
  allow("infer eval",               "model text config kernels")
  allow("train",                    "eval infer optim rewards objectives checkpoint model text config report dist kernels")
  allow("cli",                      "train eval infer optim rewards objectives checkpoint model text config report dist kernels")
  allow("main",                     "cli train report config kernels")
  # The one place that names the backends.
  may_file["kernels/make.cpp", "kernels/cpu"] = 1
  may_file["kernels/make.cpp", "kernels/cuda"] = 1
  # Headers of outside libraries that belong to one place.
  outside["^cblas|^openblas"] = "^kernels/cpu/"
  outside["^cuda|^cublas|^cudnn|^cub/|^cute/|^cutlass/|^mma[.]h$"] = "^kernels/cuda/|^src/dist/nccl[.]cpp$"
  outside["^nccl"] = "^src/dist/nccl[.]cpp$"
  outside["^mpi"] = "^src/dist/"
}
function fault(text) { printf "%s:%d: %s\n", FILENAME, FNR, text; faults++ }
FNR == 1 {
  here = room_of(FILENAME); files++
  if (!(here in known)) fault("room \"" here "\" is not in the table of scripts/check_layers.sh")
}
/^[ \t]*#[ \t]*include[ \t]*"/ {
  split($0, quoted, "\""); header = quoted[2]
  if (header !~ /^(kernels|src)\//) {
    fault("\"" header "\" (expected the path from the root of the checkout)")
  } else {
    there = room_of(header)
    if (!((here, there) in may) && !((here, header) in may) && !((FILENAME, there) in may_file))
      fault("room \"" here "\" may not include \"" header "\"")
  }
}
/^[ \t]*#[ \t]*include[ \t]*</ {
  header = $0; sub(/^[^<]*</, "", header); sub(/>.*/, "", header)
  for (pattern in outside)
    if (header ~ pattern && FILENAME !~ outside[pattern]) fault("<" header "> belongs in " outside[pattern])
}
END {
  if (faults) exit 1
  printf "layers: %d files, every include goes one way\n", files
}'
