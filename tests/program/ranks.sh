#!/usr/bin/env bash
# ranks.sh NLL: the program under mpirun trains what it trains alone, goes on with any number of ranks, and answers a
# signal, a wrong config and a folder in use as one program.
. "$(dirname "$0")/setup_corpus.sh"
. "$HERE/mpi.sh"
# Without dropout's noise in the way: one curve for any number of ranks.
common="--set model.dropout=0 --set batch.sequences=2"

"$NLL" train tiny.json $common --set run.directory=one 2> one.log
for n in 2 4; do
  ranks $n train tiny.json $common --set run.directory=ranks$n > ranks$n.out 2> ranks$n.log || fail "$n ranks: exit code $?" ranks$n.log
  same_curve one ranks$n
  "$NLL" verify ranks$n > /dev/null || fail "the checkpoint of $n ranks is not intact"
  "$NLL" sample ranks$n "the" --max-tokens 8 > /dev/null 2>&1 || fail "no sample from the checkpoint of $n ranks"
done
# What is shown to people is shown once.
[[ $(grep -c ' done: 40 steps' ranks4.log) == 1 ]] || fail "four ranks say done not once" ranks4.log
grep -q '4 ranks over mpi' ranks4.log || fail "no word of the ranks" ranks4.log
echo "1, 2 and 4 ranks: one loss curve"

for n in 1 2 4; do
  ranks $n train tiny.json --set batch.sequences=1 --set dist.reduce=tree --set run.directory=tree$n 2> tree$n.log || fail "tree of $n" tree$n.log
  cmp "tree1/checkpoints/$(newest tree1)/model.safetensors" "tree$n/checkpoints/$(newest tree$n)/model.safetensors" || fail "a tree of $n ranks has other bits"
done
echo "a tree: the same bits on 1, 2 and 4 ranks"

# 4 -> 2 -> 1 -> 4 ranks.
for n in 4 2 1 4; do
  ranks $n train tiny.json $common --set run.directory=parts --resume auto --steps 10 2> parts.log || fail "no resume on $n ranks" parts.log
done
same_curve one parts
echo "resumed on 4, 2, 1 and 4 ranks: the same curve"

# SIGUSR1 to mpirun reaches all ranks; they save at one step.
ranks 2 train tiny.json $common --set run.directory=asked --set schedule.steps=100000 2> asked.log &
launcher=$!
for _ in $(seq 200); do [[ -n $(newest asked) ]] && break; sleep 0.05; done
pkill -USR1 -f "^mpirun .*run.directory=asked"
code=0
wait $launcher || code=$?
[[ $code == 85 ]] || fail "asked to stop: exit code $code, expected 85" asked.log
"$NLL" verify asked > /dev/null || fail "asked to stop: no intact checkpoint" asked.log
echo "SIGUSR1: saved, exit code 85"

code=0
ranks 2 train tiny.json --set optimizer.beta1=7 2> bad.log || code=$?
[[ $code == 2 && $(grep -c '^error: ' bad.log) == 1 ]] || fail "a wrong config: exit code $code" bad.log
code=0
ranks 2 train tiny.json --set run.directory=one 2> held.log || code=$?
[[ $code == 2 && $(grep -c 'already holds a run' held.log) == 1 ]] || fail "a folder that holds a run: exit code $code" held.log
code=0
ranks 3 train tiny.json --set run.directory=uneven 2> uneven.log || code=$?
[[ $code == 2 && ! -e uneven ]] || fail "a batch that 3 ranks cannot share: exit code $code" uneven.log
echo "bad input: one line, exit code 2"
