#!/usr/bin/env bash
# Builds the trees and the package repositories that the hosts of hosts.sh share, once.
#
#   base.sh OUT      OUT/tree  a bookworm with systemd, sshd, sudo and apt that is never booted itself
#                    OUT/repo  a flat apt repository, mounted in each host as /srv/repo
#                    OUT/rpm, OUT/rpms  the same for rpm hosts, by rpm.sh
#
# hosts.sh runs it in mount and pid namespaces of its own, names OUT by the hash of both files, and keeps it only if
# this succeeds, so anything changed here makes a new base.
set -euo pipefail
out=$1
tree=$out/tree repo=$out/repo
work=$(mktemp -d "$out/work.XXXXXX")
suite=bookworm
# With the login manager, as on any server: without it a reboot cannot be scheduled and a session has no scope.
included=openssh-server,sudo,iproute2,procps,systemd,systemd-sysv,dbus,libpam-systemd
# Hosts have no route to a mirror: what runbooks install later comes along with what it depends on.
installable=(rsync cron snmpd)
# Servers with certificates, which every host has and none starts: to install them anew for each test takes too long.
servers=(apache2 docker.io haproxy nginx-light openssl postfix slapd socat stunnel4)
# For the tree of the rpm hosts, with what these depend on.
rpm_tools=(dnf dnf-plugins-core rpm createrepo-c)

# package NAME VERSION: packs $work/NAME (its DEBIAN/* scripts included) into the repository
package() {
    mkdir -p "$work/$1/DEBIAN"
    cat > "$work/$1/DEBIAN/control" <<EOF
Package: $1
Version: $2
Architecture: all
Maintainer: nlrun tests <root@localhost>
Description: package $1 $2 of the test hosts
EOF
    dpkg-deb --root-owner-group -Zgzip --build "$work/$1" "$repo" > /dev/null
}

# script NAME WHICH TEXT: gives a package a maintainer script
script() {
    mkdir -p "$work/$1/DEBIAN"
    printf '#!/bin/sh\nset -e\n%s\n' "$3" > "$work/$1/DEBIAN/$2"
    chmod 755 "$work/$1/DEBIAN/$2"
}

# A service with a configuration file, one package that is held, one that wants a reboot after its upgrade, one
# that is not installed, and one that cannot be.
build_packages() {
    local version
    mkdir -p "$work/nlrun-demo/lib/systemd/system" "$work/nlrun-demo/etc"
    cat > "$work/nlrun-demo/lib/systemd/system/nlrun-demo.service" <<'EOF'
[Unit]
Description=Service of the test hosts
[Service]
ExecStart=/bin/sleep infinity
[Install]
WantedBy=multi-user.target
EOF
    script nlrun-demo postinst \
        '[ ! -d /run/systemd/system ] || { systemctl daemon-reload; systemctl try-restart nlrun-demo; }'
    echo /etc/nlrun-demo.conf > "$work/nlrun-demo/DEBIAN/conffiles"
    for version in 1.0 1.1; do
        echo "version = $version" > "$work/nlrun-demo/etc/nlrun-demo.conf"
        package nlrun-demo $version
        package nlrun-held $version
        [ $version = 1.0 ] ||
            script nlrun-kernel postinst 'echo nlrun-kernel >> /run/reboot-required.pkgs; touch /run/reboot-required'
        package nlrun-kernel $version
    done
    package nlrun-new 1.0
    script nlrun-broken postinst 'echo "nlrun-broken: this package never configures" >&2; exit 1'
    package nlrun-broken 1.0
}

# Writes Packages and Release by hand: dpkg-dev, whose dpkg-scanpackages does it, is not on every machine.
index_packages() {
    local deb
    for deb in "$repo"/*.deb; do
        dpkg-deb --field "$deb"
        printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' \
            "${deb##*/}" "$(stat -c %s "$deb")" "$(sha256sum < "$deb" | cut -d' ' -f1)"
    done > "$repo/Packages"
    {
        printf 'Origin: nlrun\nLabel: nlrun\nSuite: hosts\nDate: %s\nSHA256:\n' "$(date -Ru)"
        printf ' %s %s Packages\n' "$(sha256sum < "$repo/Packages" | cut -d' ' -f1)" "$(stat -c %s "$repo/Packages")"
    } > "$repo/Release"
}

# The mirror this machine itself uses, from whatever form its sources have; MIRROR overrides.
mirror() {
    apt-get indextargets --format '$(ORIGIN) $(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
        awk -v suite=$suite '$1 == "Debian" && $2 == suite { print $3; exit }'
}

in_tree() {
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive \
        ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} chroot "$tree" "$@"
}

url=${MIRROR:-$(mirror)}
[ -n "$url" ] || { echo "no Debian $suite mirror in this machine's apt sources (set MIRROR)" >&2; exit 1; }
mkdir -p "$repo"
debootstrap --variant=minbase --include=$included $suite "$tree" "$url" >&2

echo 'force-unsafe-io' > "$tree/etc/dpkg/dpkg.cfg.d/fast"
# Only the way to the mirror is this machine's: the rest of its apt configuration is for its own packages.
apt-config dump | grep -E '^Acquire::(https?|ftp)::Proxy ' > "$tree/etc/apt/apt.conf.d/10proxy" || true
cp /etc/hosts /etc/resolv.conf "$tree/etc/"
mount -t proc proc "$tree/proc"
in_tree apt-get clean
in_tree apt-get -qq update
in_tree apt-get -qq install -y --no-install-recommends --download-only "${installable[@]}" >&2
mv "$tree"/var/cache/apt/archives/*.deb "$repo/"
mkdir "$work/rpm"
in_tree apt-get -qq install -y --no-install-recommends --download-only "${rpm_tools[@]}" >&2
mv "$tree"/var/cache/apt/archives/*.deb "$work/rpm/"
printf '#!/bin/sh\nexit 101\n' > "$tree/usr/sbin/policy-rc.d"
chmod 755 "$tree/usr/sbin/policy-rc.d"
in_tree apt-get -qq -o Dpkg::Use-Pty=0 install -y --no-install-recommends "${servers[@]}" >&2
in_tree systemctl --quiet disable apache2 containerd docker.service docker.socket haproxy nginx postfix slapd stunnel4
build_packages
index_packages

rm -f "$tree/etc/apt/apt.conf.d/10proxy" "$tree"/etc/apt/sources.list "$tree"/etc/apt/sources.list.d/*
rm -rf "$tree"/var/lib/apt/lists/* "$tree"/var/cache/apt/*.bin "$tree"/var/cache/apt/archives/*.deb
mkdir "$tree/srv/repo"
mount --bind "$repo" "$tree/srv/repo"
echo 'deb [trusted=yes] file:/srv/repo ./' > "$tree/etc/apt/sources.list"
in_tree apt-get -qq update
in_tree apt-get -qq -o Dpkg::Use-Pty=0 install -y nlrun-demo=1.0 nlrun-held=1.0 nlrun-kernel=1.0 >&2
in_tree apt-mark hold nlrun-held > /dev/null
in_tree systemctl --quiet enable nlrun-demo
rm "$tree/usr/sbin/policy-rc.d"

# Each host makes its own identity.
rm -f "$tree"/etc/ssh/ssh_host_* "$tree/etc/machine-id" "$tree/etc/hostname"
# A lock of dpkg taken by a timer would make tests fail by the clock.
in_tree systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer
in_tree systemctl --quiet mask getty@tty1.service console-getty.service
mkdir -p "$tree/etc/systemd/system.conf.d" "$tree/etc/systemd/journald.conf.d"
printf '[Manager]\nDefaultTimeoutStopSec=5s\nShowStatus=no\n' > "$tree/etc/systemd/system.conf.d/hosts.conf"
printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=16M\n' > "$tree/etc/systemd/journald.conf.d/hosts.conf"
in_tree useradd --create-home --shell /bin/bash --groups sudo ops
umount "$tree/srv/repo" "$tree/proc"
"$(dirname "$0")/rpm.sh" "$out" "$work/rpm"
rm -rf "$work"
