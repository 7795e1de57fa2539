# The checks of gpu_check.sh that need several processes, or NCCL. Sourced by it.

# both FOLDER PRECISION OPTION...: a run of two processes on one device, that torchrun's variables hold together. With
# $separate NCCL takes them for processes of two hosts.
separate=false
both() {
  local folder=$1 precision=$2 port=$((20000 + RANDOM % 12000)) rank code=0 processes=()
  shift 2
  for rank in 0 1; do
    (
      export RANK=$rank WORLD_SIZE=2 LOCAL_RANK=$rank LOCAL_WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=$port
      if $separate; then export NCCL_HOSTID=rank$rank; fi
      train "$folder" "$device" "$precision" --set dist.share_gpu=true --set dist.timeout_seconds=30 \
        --set model.dropout=0 "$@"
    ) &
    processes+=($!)
  done
  for rank in 0 1; do wait "${processes[rank]}" || code=$?; done
  return $code
}
one_rank() { once "one_$1" "$device" "$1" --set model.dropout=0; }
# NCCL may be that of a Python package.
find_nccl() {
  local folder
  folder=$("${PYTHON:-python3}" -c 'import nvidia.nccl as n; print(list(n.__path__)[0] + "/lib")' 2> /dev/null) || return 0
  export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder
}
nccl() {
  local program
  program=$(first_that_exists "$(dirname "$tests")"{,/../cuda_dist}/test_cuda_dist)
  [[ -x $program ]] && ! $rehearse || skip "no test_cuda_dist in this build"
  find_nccl
  timed "$program" --gtest_brief=1 || { grep -E '^\[  FAILED' "$out/nccl.log" | tail -n 20; return 1; }
  ! grep -m 1 'cannot open' "$out/nccl.log" || return 77
  grep -E '^\[  (PASSED|SKIPPED)' "$out/nccl.log" | tr '\n' ' '; echo
}
# NCCL in a whole run, as far as one rank goes: opened, connected and left; nothing travels, so nothing changes.
nccl_one_rank() {
  $rehearse && skip "needs a GPU"
  find_nccl
  one_rank "${half[0]}"
  NCCL_DEBUG=INFO train nccl_one "$device" "${half[0]}" --set model.dropout=0 --set dist.transport=nccl || {
    ! grep -m 1 -E 'nccl: .*cannot open|has no NCCL' "$out/nccl_one_rank.log" || return 77
    return 1
  }
  grep -m 1 'Init COMPLETE' "$out/nccl_one_rank.log"
  same_bits "one_${half[0]}" nccl_one
  echo "a communicator of one rank was made and left; the run has the same bits without it"
}
# Gradients are added in another order, nothing else: in FP32 the bounds of curve_fp32; in 16 bits a weight that is
# rounded the other way is off by 2^-9 of itself, and so may a loss of about 6 be.
ranks_fp32() {
  one_rank fp32
  both two_fp32 fp32 --set dist.transport=host
  same_curve one_fp32 two_fp32 3e-5 3e-4
}
ranks_half() {
  one_rank "${half[0]}"
  local folder
  for folder in two_half again_half; do both $folder "${half[0]}" --set dist.transport=host; done
  same_bits two_half again_half
  same_curve "one_${half[0]}" two_half 1.2e-2 1.2e-2
}
# NCCL does not support two ranks on one GPU, and refuses unless it is made to believe in two hosts. What comes of it is
# worth knowing, whatever it is.
ranks_nccl_trial() {
  $rehearse && skip "needs a GPU"
  find_nccl
  one_rank "${half[0]}"
  export NCCL_NET=Socket NCCL_SOCKET_IFNAME=lo NCCL_IB_DISABLE=1 NCCL_NVLS_ENABLE=0 NCCL_MNNVL_ENABLE=0 NCCL_MAX_CTAS=4
  separate=true
  local code=0
  both two_nccl "${half[0]}" --set dist.transport=nccl || code=$?
  [[ $code -eq 0 ]] || skip "not required, and it did not work: exit code $code: $(grep -m 1 '^error: ' "$out/ranks_nccl_trial.log")"
  same_curve "one_${half[0]}" two_nccl 1.2e-2 1.2e-2
}
