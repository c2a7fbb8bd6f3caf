#!/usr/bin/env bash
# One host of hosts.sh: its disk, its boots and its power switch.
#
#   host.sh power DIR NAME ADDRESS BASE    first process of an outer pid, mount and network namespace: the machine
#   host.sh boot DIR NAME CGROUP           first process of an inner pid namespace: becomes systemd
#   host.sh sweep DIR NAME                 removes the control groups that a killed host left
#
# Two levels, because a reboot must end every process and keep the disk. The disk is a tmpfs in the outer mount
# namespace, so nothing of it can outlive the outer init, whatever kills that.
set -euo pipefail
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
self=$(realpath "$0")
verb=$1 dir=$2 name=$3
disk=$dir/disk root=$dir/disk/root            # mounted in this host's namespace only

# Makes the disk: the shared tree below, a tmpfs above, and what distinguishes this host.
make_disk() {
    local base=$1 password tree repo
    case $name in
        rpm-*) tree=$base/rpm repo=$base/rpms ;;
        *) tree=$base/tree repo=$base/repo ;;
    esac
    password=$(< "$dir/password")
    mount -t tmpfs -o size=2g,mode=755 disk "$disk"
    mkdir "$disk/upper" "$disk/work" "$root"
    mount -t overlay overlay -o "lowerdir=$tree,upperdir=$disk/upper,workdir=$disk/work" "$root"
    mount --bind -o ro "$repo" "$root/srv/repo"
    echo "$name" > "$root/etc/hostname"
    cp "$dir/etc_hosts" "$root/etc/hosts"
    : > "$root/etc/resolv.conf"               # names are in /etc/hosts; any other lookup fails at once
    tr -d - < /proc/sys/kernel/random/uuid > "$root/etc/machine-id"
    install -m 600 "$dir/hosts/$name/ssh_host_ed25519_key" "$root/etc/ssh/"
    install -m 644 "$dir/hosts/$name/ssh_host_ed25519_key.pub" "$root/etc/ssh/"
    local home owner
    for owner in root ops; do
        home=$root/root
        [ $owner = root ] || home=$root/home/$owner
        mkdir -p -m 700 "$home/.ssh"
        cp "$dir/id_ed25519.pub" "$home/.ssh/authorized_keys"
        chroot "$root" chown -R "$owner:" "${home#"$root"}/.ssh"
    done
    echo "ops:$password" | chroot "$root" chpasswd
}

# Waits for the wire that hosts.sh plugs in from outside.
make_network() {
    local address=$1 tries
    for ((tries = 0; tries < 100; tries++)); do
        ip link show eth0 > /dev/null 2>&1 && break
        sleep 0.05
    done
    ip link set lo up
    ip address add "$address/24" dev eth0
}

# Mounted for ourselves because not every machine has the second hierarchy, or has it in the same place.
mount_cgroups() {
    mount -t cgroup2 cgroup2 "$dir/cgroup"
    cgroup=$dir/cgroup/nlrun-$(< "$dir/lab")-$name
}

# A group can go when its last process has; killed ones take a moment.
sweep() {
    local tries
    [ -n "${cgroup:-}" ] || mount_cgroups
    for ((tries = 0; tries < 200; tries++)); do
        [ -d "$cgroup" ] || return 0
        find "$cgroup" -depth -type d -exec rmdir {} + 2> /dev/null || sleep 0.05
    done
    echo "processes of $name do not end" >&2
    return 1
}

power() {
    local address=$1 base=$2 code
    mkdir -p "$disk" "$dir/cgroup"
    make_disk "$base"
    make_network "$address"
    mount_cgroups
    while :; do
        echo on > "$dir/hosts/$name/power"
        cat /proc/sys/kernel/random/uuid > "$dir/hosts/$name/boot_id"
        mkdir -p "$cgroup"
        ip link set eth0 up
        code=0
        # The shell's own words about a child that ended by a signal say nothing: each ends so.
        { unshare --pid --fork --kill-child --mount --uts --ipc \
            "$self" boot "$dir" "$name" "$cgroup" 2>&3 || code=$?; } 3>&2 2> /dev/null
        # A machine without power does not answer, not even to refuse.
        ip link set eth0 down
        sweep
        # reboot(2) in a pid namespace kills its init, with SIGHUP to ask for another start: pid_namespaces(7).
        [ $code -ne 129 ] || continue
        echo off > "$dir/hosts/$name/power"
        until [ -e "$dir/hosts/$name/wake" ]; do sleep 0.1; done
        rm "$dir/hosts/$name/wake"
    done
}

boot() {
    local cgroup=$1 node
    echo $$ > "$cgroup/cgroup.procs"
    hostname "$name"
    mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
    # Kernel switches are the machine's, not the host's; those of its own network it may turn.
    mount --bind "$root/proc/sys" "$root/proc/sys"
    mount --bind "$root/proc/sys/net" "$root/proc/sys/net"
    mount -o remount,bind,ro "$root/proc/sys"
    [ ! -e /proc/sysrq-trigger ] || mount --bind -o ro "$root/proc/sysrq-trigger" "$root/proc/sysrq-trigger"
    mount --bind "$dir/hosts/$name/boot_id" "$root/proc/sys/kernel/random/boot_id"
    mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
    mount -t tmpfs -o mode=755,nosuid,size=64k dev "$root/dev"
    for node in null zero full random urandom tty; do
        cp -a "/dev/$node" "$root/dev/"
    done
    mkdir "$root/dev/pts" "$root/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"
    ln -s fd/0 "$root/dev/stdin"
    ln -s fd/1 "$root/dev/stdout"
    ln -s fd/2 "$root/dev/stderr"
    cd "$root"
    # After this process entered its cgroup, so that the host sees it as the top of the hierarchy. It can then
    # create and limit groups below, and reach none beside. No clock, no kernel modules, no raw devices.
    # shellcheck disable=SC2016
    exec unshare --cgroup sh -c '
        mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 sys/fs/cgroup
        pivot_root . .
        umount -l .
        exec env -i container=nlrun PATH=/usr/sbin:/usr/bin:/sbin:/bin \
            setpriv --bounding-set=-sys_module,-sys_time,-sys_rawio,-mknod /lib/systemd/systemd
    '
}

shift 3
"$verb" "$@"
