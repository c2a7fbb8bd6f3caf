# Settings that the scripts of the bench share; each can be set from outside.
export BENCH_WORK=${BENCH_WORK:-${TMPDIR:-/tmp}/nlrun-bench}
export BENCH_USER=${BENCH_USER:-nlbench}
export BENCH_PORT=${BENCH_PORT:-2222}
