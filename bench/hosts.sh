#!/usr/bin/env bash
# N loopback "hosts" for the bench: sshd on 127.0.1.1 … 127.0.1.N, one key, one unprivileged user. Needs root.
#
#   hosts.sh up [N]     N is 200 unless told otherwise
#   hosts.sh down       ends the sshds; the user and $BENCH_WORK stay
set -euo pipefail
. "$(dirname "$(realpath "$0")")/env.sh"
run=$BENCH_WORK/sshd
fail() { echo "hosts: $1" >&2; exit 1; }

down() {
    local conf pid tries
    for conf in "$run"/*.conf; do
        pid=$(cat "${conf%.conf}.pid" 2> /dev/null) || continue
        # The number may belong to another process by now; sshd keeps its arguments in its title.
        for ((tries = 0; tries < 100; tries++)); do
            grep -qsaF "$conf" "/proc/$pid/cmdline" || break
            kill "$pid" 2> /dev/null || break
            # Until it has ended its addresses are taken.
            sleep 0.02
        done
    done
    rm -rf "$run"
}

up() {
    local count=$1 first number host_key
    [[ $count =~ ^[0-9]+$ ]] && ((count >= 1 && count <= 250)) || fail "from 1 to 250 hosts, not \`$count\`"
    [ "$(id -u)" = 0 ] || fail "needs root, for the user and its sshd"
    [ -x /usr/sbin/sshd ] && [ -x /usr/bin/time ] || fail "needs the Debian packages openssh-server and time"
    mkdir -p "$run" "$BENCH_WORK/home/dest" "$BENCH_WORK/client/.ssh" /run/sshd
    id "$BENCH_USER" > /dev/null 2>&1 ||
        useradd --no-create-home --home-dir "$BENCH_WORK/home" --shell /bin/sh --password '*' "$BENCH_USER"
    chmod 755 "$BENCH_WORK"
    chown "$BENCH_USER:" "$BENCH_WORK/home" "$BENCH_WORK/home/dest"
    [ -e "$BENCH_WORK/id_ed25519" ] || ssh-keygen -q -t ed25519 -N '' -C nlrun-bench -f "$BENCH_WORK/id_ed25519"
    ssh-keygen -q -t ed25519 -N '' -C nlrun-bench-host -f "$run/host_key"
    host_key=$(cut -d' ' -f1,2 "$run/host_key.pub")
    : > "$BENCH_WORK/client/.ssh/known_hosts"
    for ((number = 1; number <= count; number++)); do
        echo "127.0.1.$number"
        echo "[127.0.1.$number]:$BENCH_PORT $host_key" >> "$BENCH_WORK/client/.ssh/known_hosts"
    done > "$BENCH_WORK/hosts"
    # One sshd listens on 16 addresses at most. Lean: nothing is looked up or printed at a login.
    for ((first = 1; first <= count; first += 16)); do
        {
            for ((number = first; number < first + 16 && number <= count; number++)); do
                echo "ListenAddress 127.0.1.$number:$BENCH_PORT"
            done
            cat <<EOF
PidFile $run/$first.pid
HostKey $run/host_key
AuthorizedKeysFile $BENCH_WORK/id_ed25519.pub
AllowUsers $BENCH_USER
AuthenticationMethods publickey
StrictModes no
UsePAM no
UseDNS no
PermitUserRC no
PrintMotd no
PrintLastLog no
MaxStartups 1000
MaxSessions 100
LogLevel ERROR
Subsystem sftp internal-sftp
EOF
        } > "$run/$first.conf"
        /usr/sbin/sshd -f "$run/$first.conf" -E "$run/$first.log"
    done
    echo "$count hosts up, listed in $BENCH_WORK/hosts"
}

case ${1:-} in
    up) down; up "${2:-200}" ;;
    down) down ;;
    *) sed -n '4,5s/^# *//p' "$0" >&2; exit 64 ;;
esac
