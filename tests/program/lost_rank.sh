#!/usr/bin/env bash
# lost_rank.sh NLL KILLS [RANKS]: a rank that is killed or stands still ends the whole job in time, says who it was, and loses
# nothing. KILLS: SIGKILLs of a random rank of a run that saves after every step.
. "$(dirname "$0")/setup_corpus.sh"
. "$HERE/mpi.sh"
KILLS=$2
RANKS=${3:-2}
steps=$((20 * KILLS + 60))
common="--set evaluation.every_steps=0 --set sample.every_steps=0 --set batch.sequences=2"

# The process of rank $1 of the job that trains in $2.
rank_of() {
  local pid
  for pid in $(pgrep -f -- "--set run.directory=$2( |\$)" || true); do
    tr '\0' '\n' < "/proc/$pid/environ" 2> /dev/null | grep -qx "OMPI_COMM_WORLD_RANK=$1" && echo "$pid" && return
  done
  return 1
}

"$NLL" train tiny.json $common --set schedule.steps=$steps --set run.directory=whole 2> whole.log
killed=0
finished=0
while [[ $killed -lt $KILLS && $finished == 0 ]]; do
  before=$(newest killed)
  ranks $RANKS train tiny.json $common --set schedule.steps=$steps --set run.directory=killed --resume auto 2> killed.log &
  job=$!
  for _ in $(seq 200); do [[ $(newest killed) > "$before" ]] && break; kill -0 $job 2> /dev/null || break; sleep 0.02; done
  sleep "0.0$((RANDOM % 90))"
  victim=$(rank_of $((RANDOM % RANKS)) killed) && kill -KILL "$victim" 2> /dev/null && killed=$((killed + 1))
  start=$SECONDS code=0
  wait $job || code=$?
  [[ $code == 0 ]] && finished=1
  [[ $code == 0 || $code == 137 ]] || fail "a rank was killed: exit code $code, expected 137" killed.log
  [[ $((SECONDS - start)) -le 5 ]] || fail "a rank was killed: the job went on for $((SECONDS - start)) s" killed.log
  after=$(newest killed)
  [[ -z $before || ! $after < $before ]] || fail "$before was lost"
done
ranks $RANKS train tiny.json $common --set schedule.steps=$steps --set run.directory=killed --resume auto 2> killed.log || fail "no resume after $killed kills" killed.log
same_curve whole killed
ls killed/checkpoints | grep -E 'tmp|trash' && fail "leftovers"
echo "$killed ranks killed: nothing lost, the job ended at once"

# A rank that stands still is named, and the job ends with 75.
ranks 2 train tiny.json $common --set run.directory=stuck --set schedule.steps=1000000 --set dist.timeout_seconds=2 2> stuck.log &
job=$!
for _ in $(seq 200); do [[ -n $(newest stuck) ]] && break; sleep 0.05; done
victim=$(rank_of 1 stuck) || fail "no rank 1 to stop" stuck.log
start=$SECONDS
kill -STOP "$victim"
code=0
wait $job || code=$?
kill -KILL "$victim" 2> /dev/null || true
[[ $code == 75 ]] || fail "a rank stood still: exit code $code, expected 75" stuck.log
# Six times the limit where it was stopped in a save, and three seconds in which others hold back.
[[ $((SECONDS - start)) -le 18 ]] || fail "a rank stood still: the job went on for $((SECONDS - start)) s" stuck.log
grep -qE 'error: .*rank 1' stuck.log || fail "nobody named rank 1" stuck.log
"$NLL" verify stuck > /dev/null || fail "no intact checkpoint is left" stuck.log
echo "a rank that stood still was named: $(grep -m 1 'error: ' stuck.log)"
