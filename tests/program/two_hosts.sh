#!/usr/bin/env bash
# two_hosts.sh NLL: a job over two hosts, which scripts/two_hosts.sh makes of this machine, trains what one rank trains, goes
# on with other numbers of ranks, and ends cleanly when the cable between the hosts is pulled.
. "$(dirname "$0")/setup_corpus.sh"
. "$HERE/mpi.sh"
unset OMPI_MCA_btl OMPI_MCA_pml
hosts() { "$HERE/../../scripts/two_hosts.sh" --limit $LIMIT "$@"; }
common="--set model.dropout=0 --set batch.sequences=2"

"$NLL" train tiny.json $common --set run.directory=one 2> one.log
code=0
hosts --ranks 2 "$NLL" train tiny.json $common --set run.directory=two --steps 20 > two.out 2> two.log || code=$?
[[ $code != 77 ]] || { cat two.out; exit 77; }
[[ $code == 0 ]] || fail "two hosts: exit code $code" two.log
grep -q '4 ranks over mpi, 2 on this host' two.log || fail "not two ranks on each host" two.log
hosts --ranks 1 "$NLL" train tiny.json $common --set run.directory=two --resume auto 2> two.log || fail "two hosts, resumed: exit code $?" two.log
same_curve one two
echo "2 ranks on each of two hosts, then 1 on each: the curve of one rank"

# Long before the limit of the ranks mpirun's own keepalive sees that a host is gone.
code=0 start=$SECONDS
hosts --ranks 1 --cut-after 4 "$NLL" train tiny.json $common --set run.directory=pulled --set schedule.steps=1000000 --set dist.timeout_seconds=30 2> pulled.log || code=$?
[[ $code != 0 && $code != 1 && $code != 124 ]] || fail "the cable was pulled: exit code $code" pulled.log
[[ $((SECONDS - start)) -le 40 ]] || fail "the cable was pulled: the job went on for $((SECONDS - start - 4)) s" pulled.log
[[ -n $(newest pulled) ]] || fail "the cable was pulled before there was a checkpoint" pulled.log
"$NLL" verify pulled > /dev/null || fail "no intact checkpoint is left" pulled.log
echo "the cable was pulled: exit code $code, $((SECONDS - start - 4)) s later, and the newest checkpoint is intact"
