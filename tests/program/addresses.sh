#!/usr/bin/env bash
# addresses.sh NLL: two processes that only torchrun's variables hold together, without MPI, train what one trains, go on
# with its run, answer a wrong start as one, and refuse a third that says it is one of them.
. "$(dirname "$0")/setup_corpus.sh"
. "$HERE/curves.sh"
common="--set model.dropout=0 --set batch.sequences=2 --set dist.timeout_seconds=20"

# A port that nobody listens at, below those that the system gives to connections.
free_port() {
  local port
  while true; do
    port=$((20000 + RANDOM % 12000))
    (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null || { echo $port; return; }
  done
}
# rank R OF ARGUMENT...: one process of a job of OF, at $port.
rank() {
  local rank=$1 ranks=$2
  shift 2
  RANK=$rank WORLD_SIZE=$ranks LOCAL_RANK=$rank LOCAL_WORLD_SIZE=$ranks MASTER_ADDR=127.0.0.1 MASTER_PORT=$port \
    timeout -k 5 60 "$NLL" train tiny.json $common "$@"
}
# both NAME CODE ARGUMENT...: two processes, the second one first; both leave with CODE.
both() {
  local name=$1 expected=$2 other code=0 other_code=0
  shift 2
  port=$(free_port)
  rank 1 2 "$@" > "$name.1.out" 2> "$name.1.log" &
  other=$!
  rank 0 2 "$@" > "$name.0.out" 2> "$name.0.log" || code=$?
  wait $other || other_code=$?
  [[ $code == "$expected" && $other_code == "$expected" ]] ||
    fail "$name: exit codes $code and $other_code, expected $expected" "$name.0.log" "$name.1.log"
}

"$NLL" train tiny.json $common --set run.directory=one 2> one.log
both two 0 --set run.directory=two
same_curve one two
grep -q '2 ranks over tcp, 2 on this host' two.0.log || fail "no word of the ranks" two.0.log
[[ ! -s two.1.log ]] || fail "the second rank speaks too" two.1.log
"$NLL" verify two > /dev/null || fail "the checkpoint is not intact"
echo "two processes by addresses: the curve of one"

both parts 0 --set run.directory=parts --steps 15
rank 0 1 --set run.directory=parts --resume auto --steps 10 2> parts.log || fail "no resume on one process" parts.log
both parts 0 --set run.directory=parts --resume auto
same_curve one parts
echo "resumed on 2, 1 and 2: the same curve"

both held 2 --set run.directory=one
[[ $(cat held.0.log held.1.log | grep -c 'already holds a run') == 1 ]] || fail "a folder that holds a run: not said once" held.0.log held.1.log

both unsuited 2 --set run.directory=unsuited --set dist.transport=nccl
message="error: dist.transport: nccl carries the memory of GPUs, and this run is on a CPU"
[[ $(cat unsuited.0.log unsuited.1.log | grep -c "^$message") == 1 && ! -e unsuited ]] || fail "NCCL on a CPU: not refused once" unsuited.*.log
echo "bad input: said once, exit code 2"

# A third process with a rank that is taken, while rank 0 still waits for rank 2.
third="--set batch.tokens_per_step=192"
port=$(free_port)
rank 0 3 --set run.directory=three $third 2> three.0.log &
zero=$!
rank 1 3 --set run.directory=three $third 2> three.1.log &
one=$!
# Which of the two comes first is rank 1, and the other is refused.
rank 1 3 --set run.directory=three $third 2> three.x.log &
intruder=$!
start=$SECONDS code=0
wait -n -p first $one $intruder || code=$?
[[ $code == 2 && $((SECONDS - start)) -le 10 ]] || fail "a second rank 1: exit code $code after $((SECONDS - start)) s" three.*.log
[[ $(cat three.1.log three.x.log | grep -c '^error: .*a second rank 1') == 1 ]] || fail "a second rank 1 is not named" three.*.log
rank 2 3 --set run.directory=three $third 2> three.2.log || fail "three ranks: exit code $?" three.*.log
wait $zero || fail "three ranks: rank 0 left with $?" three.0.log
[[ $first == "$one" ]] && rest=$intruder || rest=$one
wait $rest || fail "three ranks: rank 1 left with $?" three.*.log
echo "a second rank 1 was refused, and the job went on without it"
