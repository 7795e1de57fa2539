#!/usr/bin/env bash
# under_mpi.sh PROGRAM CASE [RANKS [HOSTS]]: starts a case of dist_under_mpi as its users would and checks how the job
# ends: exit code, messages, and that nothing is left running. HOSTS 2: on two hosts, RANKS on each. Exit code 77: there is
# no mpirun here, or no way to have two hosts.
set -euo pipefail
program=$1 case=$2 ranks=${3:-1} hosts=${4:-1}
here=$(dirname "$0")
command -v mpirun > /dev/null || { echo "no mpirun here"; exit 77; }

work=$(mktemp -d "${TMPDIR:-/tmp}/nll-mpi-XXXXXX")
trap 'rm -rf "$work"' EXIT
# More ranks than cores, perhaps as root; and no copying between address spaces, which containers may forbid.
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_btl_vader_single_copy_mechanism=none TMPDIR=$work
unset RANK WORLD_SIZE TORCHELASTIC_RUN_ID "${!SLURM_@}" "${!PMI@}" "${!OMPI_COMM_@}"
host=$(hostname)

fail() {
  echo "FAILED: $1"
  cat "$work/log"
  exit 1
}
run() { timeout -k 5 60 "$@" > "$work/log" 2>&1 < /dev/null || code=$?; }
code=0 begin=$SECONDS
two_hosts() { run bash "$here/../../scripts/two_hosts.sh" --limit 50 --ranks "$ranks" "$@" "$program" "$case" "$work"; }
case $hosts:$case in
  ?:messages_alone | ?:plugin_missing | ?:singletons) ;;
  2:endless) two_hosts --cut-after 2 ;;
  2:*) two_hosts ;;
  *) run mpirun -n "$ranks" "$program" "$case" "$work" ;;
esac

expect() {  # exit code, then the one error that is reported: by one rank, or by more where mpirun is slow to end them
  [[ $code -eq $1 ]] || fail "exit code $code (expected $1)"
  [[ $# -eq 1 ]] || [[ $(grep '^error: ' "$work/log" | sort -u) == "$2" ]] || fail "expected this error and no other: $2"
}

[[ $hosts -eq 1 || $code -ne 77 ]] || { cat "$work/log"; exit 77; }
last=$((hosts * ranks - 1))
[[ $hosts -eq 1 ]] || host=node1
case $case in
  messages_alone)
    # Alone, and where a plugin that cannot be opened would be noticed.
    cp "$program" "$work/program"
    echo 'no library' > "$work/libnll_mpi.so"
    run "$work/program" messages_alone "$work"
    expect 0
    ;;
  messages | pieces | in_flight | sums) expect 0 ;;
  killed)
    expect 137
    ((SECONDS - begin <= 20)) || fail "took $((SECONDS - begin)) s"
    ;;
  stopped) expect 75 "error: rank $last ($host): has not taken part in reduce-scatter of bucket 3 in step 17 for 1 s" ;;
  stopped_zero) expect 75 "error: rank 0 ($host): has not taken part in reduce-scatter of bucket 3 in step 17 for 1 s" ;;
  skipped)
    expect 75 "error: rank $last ($host): is at reduce-scatter of bucket 3 in step 18, rank 0 ($host) at reduce-scatter of bucket 3 in step 17 (an operation was skipped or repeated)"
    ;;
  disagrees)
    expect 75 "error: rank $last ($host): is at reduce-scatter of bucket 3 in step 17 with 4000 bytes instead of 4, rank 0 ($host) at reduce-scatter of bucket 3 in step 17 (an operation was skipped or repeated)"
    ;;
  leaves)
    expect 75 "error: rank $last ($host): is at the end of the job, rank 0 ($host) at reduce-scatter of bucket 3 in step 17 (an operation was skipped or repeated)"
    ;;
  fails | throws) expect 4 "error: shard.bin: token 70000 at 12 (expected less than 50257)" ;;
  endless) expect 205 ;;  # the cable was pulled
  lingers) expect 1 ;;
  late) expect 75 "error: MPI: not all ranks have come to the start of the job for 2 s" ;;
  singletons)
    # As by a launcher of another MPI: the variables of one of four, and nothing that MPI knows how to use.
    run env OMPI_COMM_WORLD_RANK=2 OMPI_COMM_WORLD_SIZE=4 "$program" messages
    expect 2 "error: mpirun started several processes (this is rank 2), but MPI sees one: each would train alone"
    ;;
  plugin_missing)
    cp "$program" "$work/program"
    run mpirun -n 2 "$work/program" messages
    [[ $code -eq 2 ]] || fail "exit code $code (expected 2)"
    grep -qxF "error: mpirun started this as one of several processes: this build has no MPI: $work/libnll_mpi.so does not exist (expected beside the program)" "$work/log" ||
      fail "the message is not there"
    ;;
  *) fail "no case $case" ;;
esac
# Nothing that was started is left; the last of it may take a moment to go.
for _ in $(seq 50); do
  left=$(pgrep -f -- "$work") || break
  sleep 0.1
done
[[ -z $left ]] || fail "still running: $left"
echo "$case, $ranks ranks on each of $hosts: as expected"
