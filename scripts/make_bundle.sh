#!/usr/bin/env bash
# Collects a CUDA build into one folder that runs on a machine with a GPU, its driver and CUDA's libraries, and nothing
# else of what the build needed.   scripts/make_bundle.sh [BUILD [BUNDLE]]     default: build/cuda build/bundle
# BUNDLE.tar.gz is the same as one file. In it: bin/nll, bin/libnll_mpi.so where the build has it, bin/test_cuda*, lib/,
# configs/, scripts/gpu_check.sh and the peers it runs; LLMC=PROGRAM takes llm.c's along (scripts/peers/build_gpu_llmc.sh).
# Then, on the other machine, unpacked: BUNDLE/scripts/gpu_check.sh, or by hand LD_LIBRARY_PATH=BUNDLE/lib BUNDLE/bin/nll.
# Left out: the C library, the GPU's driver, CUDA's own libraries (cuBLAS, cuDNN), NCCL and MPI.
set -euo pipefail
cd "$(dirname "$0")/.."
readonly build=${1:-build/cuda} bundle=${2:-build/bundle} most_megabytes=64
[[ -x $build/nll ]] || { echo "make_bundle: $build/nll: is not there (cmake --preset cuda && cmake --build --preset cuda)" >&2; exit 2; }

[[ ! -e $bundle || -x $bundle/bin/nll ]] || { echo "make_bundle: $bundle: is there and no bundle" >&2; exit 2; }
rm -rf "$bundle"
mkdir -p "$bundle"/{bin,lib,scripts,configs}
programs=("$build/nll")
while read -r program; do programs+=("$program"); done < <(find "$build/tests" -name 'test_cuda*' -type f -perm -u+x)
((${#programs[@]} > 1)) || echo "make_bundle: no test_cuda in $build: the ops will not be checked" >&2
for program in "${programs[@]}"; do
  cp "$program" "$bundle/bin/"
  strip "$bundle/bin/$(basename "$program")"
done

# MPI's plugin is looked for beside the program; MPI itself is that of the machine's mpirun.
plugin=$build/libnll_mpi.so
if [[ -e $plugin ]]; then
  cp "$plugin" "$bundle/bin/"
  strip "$bundle/bin/$(basename "$plugin")"
else
  echo "make_bundle: no $plugin: the bundle does not train under mpirun" >&2
fi

# What the programs load, by name and file, without what every such machine has.
ldd "${programs[@]}" | awk '$2 == "=>" && $3 ~ /^\// { print $1, $3 }' | sort -u |
  grep -vE '^(libc|libm|libdl|librt|libpthread|libresolv|ld-linux[^ ]*)\.so|^lib(cuda|cublas|cublasLt|cudnn[a-z_]*|nvidia[a-z-]*|nvrtc|nvJitLink)\.so' |
  while read -r name file; do cp -L "$file" "$bundle/lib/$name"; done
if ldd "${programs[@]}" | grep -q 'not found'; then
  echo "make_bundle: not found on this machine, so not in the bundle:" >&2
  ldd "${programs[@]}" | awk '/not found/ { print "  " $1 }' | sort -u >&2
fi

cp configs/*.json "$bundle/configs/"
cp -r scripts/gpu_check.sh scripts/gpu_check "$bundle/scripts/"
mkdir -p "$bundle/scripts/peers"
cp scripts/peers/{gpu_pytorch,gpu_llmc,check_curve}.py "$bundle/scripts/peers/"
[[ -z ${LLMC:-} ]] || cp "$LLMC" "$bundle/bin/train_gpt2cu"
find "$bundle" -type f -printf '%10s  %P\n' | LC_ALL=C sort -k 2
# One file to carry.
tar -C "$(dirname "$bundle")" -czf "$bundle.tar.gz" "$(basename "$bundle")"
bytes=$(stat -c %s "$bundle.tar.gz")
printf '%s.tar.gz: %d.%d MiB (unpacked %d MiB)\n' "$bundle" $((bytes >> 20)) $(((bytes >> 10) % 1024 * 10 / 1024)) \
  $(($(du -sm "$bundle" | cut -f 1)))
if ((bytes > most_megabytes << 20)); then
  echo "make_bundle: that is more than $most_megabytes MiB" >&2
  exit 1
fi
