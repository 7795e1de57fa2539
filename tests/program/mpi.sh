# Sourced by the program tests of several ranks, after setup_corpus.sh: `ranks N ARGUMENT...` runs the program on N ranks.
if ! command -v mpirun > /dev/null || [[ ! -e $(dirname "$NLL")/libnll_mpi.so ]]; then
  echo "skipped: no mpirun, or a build without MPI"
  exit 77
fi
# More ranks than cores, by whoever runs the tests.
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
# One host and no network: only shared memory is asked for.
export OMPI_MCA_btl=self,vader OMPI_MCA_pml=ob1 OMPI_MCA_btl_vader_single_copy_mechanism=none
LIMIT=60
ranks() {
  local n=$1
  shift
  timeout -k 5 $LIMIT mpirun -np "$n" "$NLL" "$@"
}
. "$HERE/curves.sh"
