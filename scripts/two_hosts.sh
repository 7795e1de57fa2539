#!/usr/bin/env bash
# Runs a command by mpirun on two hosts that are made on this machine: network namespaces with host names node0 and node1
# and a cable between them. Needs root and iproute2; nothing of it is left afterwards.
#   scripts/two_hosts.sh [--ranks N] [--rate RATE] [--cut-after SECONDS] [--limit SECONDS] COMMAND...
#     --ranks N             ranks on each host, default 2
#     --rate RATE           speed of the cable as tc names it (1gbit, 100mbit); default: as fast as it goes
#     --cut-after SECONDS   pull the cable then
#     --limit SECONDS       end everything then, default 300
# Exit code: mpirun's; 124 after the limit; 77: this system allows no namespaces, or has no mpirun or ip; 1: a process was
# left running.
set -euo pipefail

ranks=2 rate='' cut_after='' limit=300
while [[ ${1:-} == --* ]]; do
  case $1 in
    --ranks) ranks=$2 ;;
    --rate) rate=$2 ;;
    --cut-after) cut_after=$2 ;;
    --limit) limit=$2 ;;
    *) echo "two_hosts: unknown option $1" >&2; exit 2 ;;
  esac
  shift 2
done
[[ $# -gt 0 ]] || { echo "two_hosts: no command" >&2; exit 2; }

skip() { echo "two_hosts: skipped: $1"; exit 77; }
for needed in mpirun ip unshare; do
  command -v "$needed" > /dev/null || skip "no $needed here"
done
[[ $(id -u) -eq 0 ]] || skip "needs root for network namespaces"

name=nll$$
work=$(mktemp -d "${TMPDIR:-/tmp}/nll-hosts-XXXXXX")
cutter=''
inside() { for n in 0 1; do ip netns pids "${name}n$n" 2> /dev/null || true; done; }
clean_up() {
  [[ -z $cutter ]] || kill "$cutter" 2> /dev/null || true
  # Only what was started in these namespaces.
  inside | xargs -r kill -9 2> /dev/null || true
  for n in 0 1; do ip netns del "${name}n$n" 2> /dev/null || true; done
  rm -rf "$work"
}
trap clean_up EXIT

for n in 0 1; do
  ip netns add "${name}n$n" 2> /dev/null || skip "no network namespaces here"
done
ip link add "${name}v0" type veth peer name "${name}v1" 2> /dev/null || skip "no virtual network interfaces here"
for n in 0 1; do
  ip link set "${name}v$n" netns "${name}n$n"
  ip -n "${name}n$n" addr add "10.77.0.$((n + 1))/24" dev "${name}v$n"
  ip -n "${name}n$n" link set "${name}v$n" up
  ip -n "${name}n$n" link set lo up
  [[ -z $rate ]] || ip netns exec "${name}n$n" tc qdisc add dev "${name}v$n" root tbf rate "$rate" burst 256kb latency 50ms
done

# A command on host N: its own name and shared memory, so that MPI sees another machine.
cat > "$work/on_host" << ON_HOST
#!/usr/bin/env bash
n=\$1
shift
exec ip netns exec ${name}n\$n unshare -u -i -m --propagation private \
  bash -c 'hostname node'\$n'; mount -t tmpfs tmpfs /dev/shm; exec "\$@"' _ "\$@"
ON_HOST
# What mpirun calls in the place of ssh: options, address, command.
cat > "$work/remote_shell" << REMOTE_SHELL
#!/usr/bin/env bash
while [[ \$1 == -* ]]; do shift; done
address=\$1
shift
exec $work/on_host \$((\${address##*.} - 1)) bash -c "\$*"
REMOTE_SHELL
chmod +x "$work/on_host" "$work/remote_shell"
"$work/on_host" 0 true 2> /dev/null || skip "no host names or mounts of one's own here"

if [[ -n $cut_after ]]; then
  (sleep "$cut_after"; ip -n "${name}n1" link set "${name}v1" down) &
  cutter=$!
fi

export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
code=0
timeout -k 5 "$limit" "$work/on_host" 0 mpirun -mca plm_rsh_agent "$work/remote_shell" \
  -mca btl_tcp_if_include 10.77.0.0/24 -mca oob_tcp_if_include 10.77.0.0/24 -mca pml ob1 -mca btl self,vader,tcp \
  -mca oob_tcp_keepalive_time 5 -mca oob_tcp_keepalive_intvl 1 -mca oob_tcp_keepalive_probes 3 \
  -host "10.77.0.1:$ranks,10.77.0.2:$ranks" -n $((2 * ranks)) "$@" < /dev/null || code=$?

# A host that was cut off notices by itself, a little later.
for _ in $(seq 150); do
  left=$(inside)
  [[ -n $left ]] || break
  sleep 0.1
done
if [[ -n $left ]]; then
  echo "two_hosts: still running: $(xargs -r ps -o pid=,args= -p <<< "$left")" >&2
  exit 1
fi
exit "$code"
