#!/usr/bin/env bash
# Builds the tree of the rpm hosts of hosts.sh on that of the Debian ones, once: base.sh calls it.
#
#   rpm.sh OUT DEBS  OUT/rpm   OUT/tree with dnf and rpm in place of apt, which says that it is Rocky
#                    OUT/rpms  a repository for dnf, mounted in each rpm host as /srv/repo
#
# The kernel's side of a host, systemd and sshd stay Debian's: what is tried here is dnf, rpm and their databases.
set -euo pipefail
out=$1 debs=$2
tree=$out/rpm repo=$out/rpms

in_tree() {
    env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive chroot "$tree" "$@"
}

# package NAME VERSION [LINE…]: packs a package without files; the lines are its spec's
package() {
    local name=$1 version=$2
    shift 2
    {
        printf 'Name: %s\nVersion: %s\nRelease: 1.el9\nSummary: %s of the test hosts\n' "$name" "$version" "$name"
        printf 'License: MIT\nBuildArch: noarch\n'
        [[ "$*" == *Provides:* ]] && printf '%s\n' "$1" && shift
        printf '%%description\nPackage %s of the test hosts.\n' "$name"
        printf '%s\n' "$@"
        [[ "$*" == *%files* ]] || echo %files
    } > "$tree/root/package.spec"
    in_tree rpmbuild --quiet -bb --define '_rpmdir /srv/repo' --define '_build_name_fmt %%{NAME}-%%{VERSION}.rpm' \
        /root/package.spec
}

# What base.sh has in debs: one with a configuration file, one that asks for a restart, one that is not installed, and
# one whose new version cannot be installed.
build_packages() {
    local version
    package rocky-release 9.4 'Provides: system-release = 9.4, system-release(releasever) = 9'
    for version in 1.0 1.1; do
        package nlrun-demo $version '%install' 'mkdir -p %{buildroot}/etc' \
            "echo version = $version > %{buildroot}/etc/nlrun-demo.conf" \
            '%files' '%config(noreplace) /etc/nlrun-demo.conf'
        # dnf needs-restarting goes by names: this is one of them.
        package linux-firmware $version
    done
    package nlrun-new 1.0
    package nlrun-broken 1.0
    # Without a shell, which no package provides here.
    package nlrun-broken 1.1 '%pre -p <lua>' 'error("nlrun-broken: this version never installs")'
}

cp -a "$out/tree" "$tree"
mkdir "$repo" "$tree/debs"
mount -t proc proc "$tree/proc"
mount --bind "$repo" "$tree/srv/repo"
mount --bind "$debs" "$tree/debs"
in_tree sh -c 'apt-get -qq -o Dpkg::Use-Pty=0 install -y --no-install-recommends /debs/*.deb' >&2
umount "$tree/debs"
cat > "$tree/usr/lib/os-release" <<'EOF2'
NAME="Rocky Linux"
VERSION="9.4 (Blue Onyx)"
ID="rocky"
ID_LIKE="rhel centos fedora"
VERSION_ID="9.4"
PLATFORM_ID="platform:el9"
PRETTY_NAME="Rocky Linux 9.4 (Blue Onyx)"
EOF2
mkdir -p "$tree/etc/yum.repos.d" "$tree/etc/rpm"
# Debian gives every user a database of his own.
echo '%_dbpath /var/lib/rpm' > "$tree/etc/rpm/macros"
# As Rocky has it, but for keys, which the packages here do not have.
printf '[main]\ngpgcheck=0\ninstallonly_limit=3\nclean_requirements_on_remove=True\nbest=True\nskip_if_unavailable=False\n' \
    > "$tree/etc/dnf/dnf.conf"
# What Debian adds to it.
rm "$tree"/etc/dnf/aliases.d/* "$tree/etc/dnf/plugins/local.conf" \
    "$tree/usr/lib/python3/dist-packages/dnf-plugins/show_leaves.py"
printf '[nlrun]\nname=nlrun\nbaseurl=file:///srv/repo\ngpgcheck=0\n' > "$tree/etc/yum.repos.d/nlrun.repo"
build_packages
in_tree createrepo_c --quiet /srv/repo
in_tree dnf -q -y install rocky-release nlrun-demo-1.0 linux-firmware-1.0 >&2
umount "$tree/srv/repo" "$tree/proc"
rm -rf "$tree/debs" "$tree/root/package.spec" "$tree/root/rpmbuild" "$tree"/usr/bin/apt* "$tree"/var/lib/apt \
    "$tree"/var/cache/{apt,dnf} "$tree"/usr/share/{doc,man,locale}
