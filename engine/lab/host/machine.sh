# The first process of a host of the lab: makes its file system, and lives as long as its standard input.
#
#   machine.sh ROOT NAME PARTS PROGRAM     in user, mount, pid, uts and ipc namespaces of its own
#
# What the host sees is ROOT, which it may write, and this machine's programs, which it may not.
set -eu
root=$1 name=$2 parts=$3 program=$4
# The host may have put links in the places where mounts go; followed from out here, they would lead out.
plain() {
    [ ! -L "$root/$1" ] || { echo "the folder /$1 of the host $name is a link" >&2; exit 1; }
}
for part in etc opt proc dev run tmp; do
    plain "$part"
    mkdir -p "$root/$part"
done
for part in etc/alternatives etc/ld.so.cache opt/lab .old; do plain "$part"; done
mount --make-rprivate /
mount --bind "$root" "$root"
for part in usr bin sbin lib lib32 lib64 libx32 nix; do
    if [ -L "/$part" ]; then
        ln -sfn "$(readlink "/$part")" "$root/$part"
    elif [ -d "/$part" ]; then
        plain "$part"
        mkdir -p "$root/$part"
        mount --rbind "/$part" "$root/$part"
    fi
done
for part in alternatives ld.so.cache; do
    [ -e "/etc/$part" ] || continue
    if [ -d "/etc/$part" ]; then mkdir -p "$root/etc/$part"; else : >> "$root/etc/$part"; fi
    mount --bind "/etc/$part" "$root/etc/$part"
done
mkdir -p "$root/opt/lab"
mount --bind "$parts" "$root/opt/lab"
mount --bind "$program" "$root/opt/lab/nlrun"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
# Kernel switches are this machine's: where root starts the lab, the host's root could turn them.
for part in sys sysrq-trigger irq bus fs acpi scsi; do
    [ ! -e "$root/proc/$part" ] || mount --bind "$root/proc/$part" "$root/proc/$part"
done
mount -t tmpfs -o mode=755,nosuid,size=64k dev "$root/dev"
for node in null zero full random urandom; do
    : > "$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
done
mount -t tmpfs -o mode=755,nosuid,nodev,size=16m run "$root/run"
mount -t tmpfs -o mode=1777,nosuid,nodev,size=256m tmp "$root/tmp"
# This machine's kernel has not started again, the host has.
cat /proc/sys/kernel/random/uuid > "$root/run/boot_id"
mount --bind "$root/run/boot_id" "$root/proc/sys/kernel/random/boot_id"
hostname "$name"
cd "$root"
mkdir -p .old
pivot_root . .old
umount -l .old
rmdir .old
cd /
# All that came from this machine becomes read-only, mounts below others included. A bind may not lose flags of its source.
while read -r _ _ _ _ place flags _; do
    case $place in / | /proc | /dev | /run | /tmp) continue ;; esac
    flags=$(echo "$flags" | tr , '\n' | grep -E '^(nosuid|nodev|noexec|noatime|nodiratime|relatime)$' | tr '\n' ,) || true
    mount -o "remount,bind,ro,$flags" "$(printf '%b' "$place")"
done < /proc/self/mountinfo
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
mkdir -p run/systemd/system
exec 3<&0
# From here on nobody in here can mount, and so undo what is above.
# shellcheck disable=SC2016
exec env -i HOME=/root PATH=/opt/lab/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    setpriv --bounding-set="$DROPPED" --inh-caps=-all sh -c '
        [ -e /var/lib/lab/nginx.stopped ] || systemctl start nginx </dev/null || true
        echo ready
        exec >/dev/null 2>&1
        # `wait` also takes leave of whatever ends here without a parent; a `kill -9 -1` on the host ends `cat`, and not the host.
        until cat <&3 & wait $!; do :; done
    '
