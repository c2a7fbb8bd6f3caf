#!/usr/bin/env bash
# Installs the peers of the bench, each in a virtual environment of its own below $BENCH_WORK.
#
#   peers.sh          PYTHON=interpreter to use; the distribution's, built with optimisation, is the fair choice
set -euo pipefail
. "$(dirname "$(realpath "$0")")/env.sh"
python=${PYTHON:-/usr/bin/python3}
# Without the compiled files each start of a peer would be slower than it is for its users.
unset PYTHONDONTWRITEBYTECODE
for peer in ansible-core pyinfra parallel-ssh; do
    home=$BENCH_WORK/venv/$peer
    [ -x "$home/bin/pip" ] || "$python" -m venv "$home"
    "$home/bin/pip" install --quiet "$peer"
    "$home/bin/pip" list 2> /dev/null | grep -i "^$peer "
done
