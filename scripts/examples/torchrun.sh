#!/usr/bin/env bash
# One rank a GPU by PyTorch's launcher. On every host, with HEAD the name of the first:
#   HEAD=node0 HOSTS=2 scripts/examples/torchrun.sh configs/gpt2-124m.json
# torchrun sets RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR and MASTER_PORT, which is all that nll reads,
# so anything else that sets these will do as well. It keeps MASTER_PORT itself; nll then takes another.
set -euo pipefail
: "${HEAD:=localhost}" "${HOSTS:=1}" "${GPUS:=$(nvidia-smi --list-gpus | wc -l)}"
exec torchrun --no-python --nnodes "$HOSTS" --nproc-per-node "$GPUS" --max-restarts 3 \
  --rdzv-backend c10d --rdzv-endpoint "$HEAD:29400" --rdzv-id "${RUN:-nll}" \
  build/cuda/nll train "$1" --resume auto
