#!/usr/bin/env bash
# Several real hosts on one machine: bookworm with systemd, sshd and apt or dnf, each in its own namespaces.
#
#   hosts.sh up N[+M] DIR        starts deb-1 … deb-N and rpm-1 … rpm-M (at most 200) and waits until each is up
#   hosts.sh down DIR            ends them and leaves nothing, also after an `up` that failed half-way
#   hosts.sh status DIR          one line a host: name, address, power, pid
#   hosts.sh off|on DIR NAME     pulls the plug of a host, or starts one that is off
#
# DIR gets inventory.yaml, ssh_config, known_hosts, id_ed25519 and password (of the user `ops`, for sudo).
# Exits with 77, the skip of most test runners, where the machine cannot do this; the last line says why.
set -euo pipefail
shopt -s inherit_errexit                      # a base that cannot be built ends `base=$(base)`, too
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
here=$(dirname "$(realpath "$0")")
seconds_to_build=600 seconds_to_boot=60

usage() { sed -n '4,7s/^# *//p' "$0" >&2; exit 64; }
skip() { echo "hosts: skipped: $1" >&2; exit 77; }
fail() { echo "hosts: $1" >&2; exit 1; }

# Says in one line why this machine cannot run hosts, before anything is made.
require() {
    local tool
    [ "$(id -u)" = 0 ] || skip "needs root"
    for tool in unshare ip pivot_root setpriv flock ssh-keygen dpkg-deb; do
        command -v $tool > /dev/null || skip "needs the program $tool"
    done
    unshare --mount --pid --fork --net --uts --ipc --cgroup true 2> /dev/null || skip "may not make namespaces"
    grep -qw overlay /proc/filesystems || modprobe overlay 2> /dev/null || skip "the kernel has no overlayfs"
    grep -qw cgroup2 /proc/filesystems || skip "the kernel has no cgroup2, which systemd needs"
}

# Prints the directory of the base, which is built first where it is missing.
#
# Named by the hash of its recipe: a changed recipe is another base, and old ones can be deleted when no host runs.
base() {
    local cache recipe base
    cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/nlrun-hosts
    recipe=$(cat "$here/base.sh" "$here/rpm.sh" | sha256sum | cut -c1-12)
    base=$cache/bookworm-$recipe
    mkdir -p "$cache"
    (
        flock -w $seconds_to_build 9 || fail "another process is building the base for too long"
        [ ! -d "$base" ] || exit 0
        command -v debootstrap > /dev/null ||
            apt-get -qq install -y --no-install-recommends debootstrap > "$cache/build.log" 2>&1 ||
            skip "needs debootstrap and could not install it, see $cache/build.log"
        echo "hosts: building the base, once, about two minutes" >&2
        rm -rf "$base.tmp"
        mkdir "$base.tmp"
        timeout --signal=KILL $seconds_to_build unshare --mount --pid --fork --kill-child \
            "$here/base.sh" "$base.tmp" > "$cache/build.log" 2>&1 ||
            skip "could not build the base, see $cache/build.log: $(tail -n 1 "$cache/build.log")"
        mv "$base.tmp" "$base"
    ) 9> "$cache/lock"
    echo "$base"
}

# Takes the first free 10.213.X.0/24: making a bridge of that name is the lock.
claim_network() {
    local net
    for ((net = 7; net < 250; net++)); do
        ! ip -4 address show | grep -q " 10\.213\.$net\." || continue
        ip link add "nlrun$net" type bridge 2> /dev/null || continue
        echo $net > "$1/lab"
        ip address add "10.213.$net.1/24" dev "nlrun$net"
        ip link set "nlrun$net" up
        return
    done
    skip "cannot make a network bridge, or all 10.213.x.0/24 are taken"
}

# A process is one of ours only if its start time is the noted one too: numbers come again.
started_at() { awk '{ sub(/.*\) /, "") } $1 != "Z" { print $20 }' "/proc/$1/stat" 2> /dev/null; }
is_running() {
    local pid start
    read -r pid start 2> /dev/null < "$1/pid" && [ -n "$start" ] && [ "$(started_at "$pid")" = "$start" ]
}

start_host() {
    local dir=$1 number=$2 name=$3 net=$4 base=$5 host=$1/hosts/$3 pid
    # Own session, no open files of ours: a pipe to the caller must not stay open as long as the host runs.
    setsid unshare --pid --fork --kill-child --mount --net \
        "$here/host.sh" power "$dir" "$name" "10.213.$net.$((10 + number))" "$base" \
        < /dev/null > "$host/log" 2>&1 9>&- &
    pid=$!
    disown $pid                               # no "Killed" on the terminal when `down` ends it
    echo "$pid $(started_at $pid)" > "$host/pid"
    until [ "$(readlink "/proc/$pid/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do
        is_running "$host" || fail "$name did not start: $(tail -n 1 "$host/log")"
        sleep 0.01
    done
    ip link add "nlrun$net-$number" type veth peer name eth0 netns $pid
    ip link set "nlrun$net-$number" master "nlrun$net" up
}

# Waits until systemd has started everything; sshd is among the first, and a test would meet a moving host.
wait_host() {
    local dir=$1 name=$2 deadline=$3 state
    while ((SECONDS < deadline)); do
        is_running "$dir/hosts/$name" && [ "$(< "$dir/hosts/$name/power")" = on ] || break
        state=$(timeout 10 ssh -n -F "$dir/ssh_config" "$name" systemctl is-system-running 2> /dev/null) || true
        case $state in
            running) return ;;
            degraded) fail "$name: failed units: $(ssh -n -F "$dir/ssh_config" "$name" systemctl --failed --plain -q)" ;;
        esac
        sleep 0.1
    done
    fail "$name did not come up: $(tail -n 3 "$dir/hosts/$name/log")"
}

# The names that begin so, with commas between.
among() {
    local prefix=$1 name list=
    shift
    for name in "$@"; do [[ $name != "$prefix"* ]] || list+=${list:+, }$name; done
    echo "$list"
}

write_access() {
    local dir=$1 net=$2 number=0 address name
    shift 2
    [ -e "$dir/id_ed25519" ] || ssh-keygen -q -t ed25519 -N '' -C nlrun-hosts -f "$dir/id_ed25519"
    tr -d - < /proc/sys/kernel/random/uuid > "$dir/password"
    chmod 600 "$dir/password"
    echo "127.0.0.1 localhost" > "$dir/etc_hosts"
    : > "$dir/known_hosts"
    cat > "$dir/ssh_config" <<EOF
Host *
  User root
  IdentityFile "$dir/id_ed25519"
  IdentitiesOnly yes
  UserKnownHostsFile "$dir/known_hosts"
  StrictHostKeyChecking yes
  BatchMode yes
  ConnectTimeout 5
EOF
    echo "hosts:" > "$dir/inventory.yaml"
    for name in "$@"; do
        number=$((number + 1)) address=10.213.$net.$((10 + number))
        mkdir -p "$dir/hosts/$name"
        echo on > "$dir/hosts/$name/power"
        ssh-keygen -q -t ed25519 -N '' -C "$name" -f "$dir/hosts/$name/ssh_host_ed25519_key"
        echo "$address $name" >> "$dir/etc_hosts"
        echo "$name,$address $(cut -d' ' -f1,2 "$dir/hosts/$name/ssh_host_ed25519_key.pub")" >> "$dir/known_hosts"
        printf 'Host %s\n  HostName %s\n  HostKeyAlias %s\n' $name "$address" $name >> "$dir/ssh_config"
        echo "  $name: {address: $address, user: root, identity_files: [\"$dir/id_ed25519\"]}" >> "$dir/inventory.yaml"
    done
    echo "groups: {debian: {hosts: [$(among deb- "$@")]}, rpm: {hosts: [$(among rpm- "$@")]}}" >> "$dir/inventory.yaml"
}

up() {
    local count=$1 dir net base number name deadline names=()
    [[ $count =~ ^([0-9]+)(\+([0-9]+))?$ ]] || usage
    for ((number = 1; number <= BASH_REMATCH[1]; number++)); do names+=("deb-$number"); done
    for ((number = 1; number <= ${BASH_REMATCH[3]:-0}; number++)); do names+=("rpm-$number"); done
    count=${#names[@]}
    ((count >= 1 && count <= 200)) || usage
    require
    base=$(base)
    mkdir -p "$2"
    dir=$(realpath "$2")
    [ ! -e "$dir/lab" ] || fail "$dir has hosts already; end them with: hosts.sh down $dir"
    trap 'code=$?; trap - EXIT; [ $code = 0 ] || down "$dir"; exit $code' EXIT
    trap 'exit 130' INT TERM
    claim_network "$dir"
    net=$(< "$dir/lab")
    write_access "$dir" "$net" "${names[@]}"
    deadline=$((SECONDS + seconds_to_boot + count))
    for ((number = 1; number <= count; number++)); do
        start_host "$dir" $number "${names[number - 1]}" "$net" "$base"
    done
    for name in "${names[@]}"; do
        wait_host "$dir" "$name" $deadline
    done
    trap - EXIT
    echo "$count hosts up, inventory in $dir/inventory.yaml"
}

# Kills the outer namespaces; disks, networks and inner processes are held by nothing else.
down() {
    local dir host pid tries net number=0 code=0
    [ -d "$1" ] || return 0
    dir=$(realpath "$1")
    for host in "$dir"/hosts/*; do
        ! is_running "$host" || { read -r pid _ < "$host/pid"; kill -KILL "$pid"; }
    done
    for host in "$dir"/hosts/*; do
        for ((tries = 0; tries < 200; tries++)); do
            is_running "$host" || break
            sleep 0.05
        done
    done
    if [ -e "$dir/lab" ]; then
        net=$(< "$dir/lab")
        for host in "$dir"/hosts/*; do
            number=$((number + 1))
            ip link delete "nlrun$net-$number" 2> /dev/null || true
            [ ! -d "$dir/cgroup" ] || unshare --mount "$here/host.sh" sweep "$dir" "${host##*/}" || code=1
        done
        ip link delete "nlrun$net" 2> /dev/null || true
    fi
    rm -rf "$dir/hosts"
    rmdir "$dir/disk" "$dir/cgroup" 2> /dev/null || true
    rm -f "$dir"/{lab,etc_hosts,password,ssh_config,known_hosts,inventory.yaml,id_ed25519,id_ed25519.pub}
    rmdir "$dir" 2> /dev/null || true
    return $code
}

status() {
    local dir host pid name address code=0
    dir=$(realpath "$1")
    [ -e "$dir/lab" ] || fail "no hosts in $dir"
    while read -r address name; do
        host=$dir/hosts/$name
        [ "$name" != localhost ] || continue
        is_running "$host" || { echo "$name $address dead"; code=1; continue; }
        read -r pid _ < "$host/pid"
        echo "$name $address $(< "$host/power") $pid"
    done < "$dir/etc_hosts"
    return $code
}

# The power switch is the bash below the outer unshare; what runs below that is the booted system.
switch() {
    local dir name pid tries switch inner
    dir=$(realpath "$2") name=$3
    is_running "$dir/hosts/$name" || fail "no running host $name in $dir"
    read -r pid _ < "$dir/hosts/$name/pid"
    switch=$(< "/proc/$pid/task/$pid/children")
    inner=$(< "/proc/${switch% }/task/${switch% }/children")
    case $1 in
        off) [ "$(< "$dir/hosts/$name/power")" = off ] || kill -KILL $inner ;;
        on) [ "$(< "$dir/hosts/$name/power")" = on ] || touch "$dir/hosts/$name/wake" ;;
    esac
    for ((tries = 0; tries < 100; tries++)); do
        [ "$(< "$dir/hosts/$name/power")" != "$1" ] || return 0
        sleep 0.05
    done
    fail "$name does not turn $1"
}

case ${1:-}/$# in
    up/3) up "$2" "$3" ;;
    down/2) down "$2" ;;
    status/2) status "$2" ;;
    off/3 | on/3) switch "$1" "$2" "$3" ;;
    *) usage ;;
esac
