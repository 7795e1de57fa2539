#!/usr/bin/env bash
# Builds llm.c's CUDA trainer with cuDNN, for scripts/peers/gpu_llmc.py.   build_gpu_llmc.sh LLMC_FOLDER CUDNN_FRONTEND OUT
#   LLMC_FOLDER     git clone https://github.com/karpathy/llm.c
#   CUDNN_FRONTEND  the headers: pip download --no-deps nvidia-cudnn-frontend==1.15.0, unpacked; its folder include/
#   OUT             the program
# Needs nvcc and cuDNN, no GPU; ARCHITECTURE=90 names the GPU. Two lines of a copy are changed: one that CUDA 13 no longer
# compiles, and what runs out of memory says so instead of going on in the host's.
set -euo pipefail
[[ $# -eq 3 ]] || { sed -n 2,5p "$0" >&2; exit 2; }
frontend=$(realpath "$2") out=$(realpath "$3")
for needed in "$1/train_gpt2.cu" "$frontend/cudnn_frontend.h"; do
  [[ -e $needed ]] || { echo "build_gpu_llmc: $needed: does not exist" >&2; exit 2; }
done
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r "$1/train_gpt2.cu" "$1/llmc" "$copy"
cd "$copy"
sed -i 's/err == cudaErrorMemoryAllocation/false/; s/, cudaCpuDeviceId)/, cudaMemLocation{cudaMemLocationTypeHost, 0})/' llmc/cuda_utils.cuh
architecture=${ARCHITECTURE:-90}
nvcc -O3 --use_fast_math -std=c++17 -gencode "arch=compute_$architecture,code=sm_$architecture" -DENABLE_CUDNN -DENABLE_BF16 \
  -I"$frontend" train_gpt2.cu llmc/cudnn_att.cpp -lcublas -lcublasLt -lcudnn \
  $(echo '#include <nvml.h>' | cpp -x c - > /dev/null 2>&1 && echo -lnvidia-ml) -o "$out"
echo "$out"
