//! What runs on the host for files: short scripts for a POSIX shell with coreutils or busybox.
//!
//! Contents come through standard input. A script that fails says `error WORD` on standard output, as those for files do.

use std::sync::LazyLock;

use crate::bindings::file::PRELUDE;

/// Functions of both: `names` (the file `$p` behind all links, and what is kept beside it) and `beside` (what is kept once for all).
///
/// - `$new` is a content on its way, `$old` what was there before.
/// - `$mark` says that something was put there and the server was never told; `$old` counts only beside it.
const NAMES: &str = r#"
names() {
  p=$1; real; follow
  d=${p%/*}; d=${d:-/} b=${p##*/}
  [ ${#b} -le 200 ] || die name
  new=${d%/}/.$b.nlrun-new old=${d%/}/.$b.nlrun-old
}
beside() {
  names "$1"
  mark=${d%/}/.$b.nlrun-sync lock=${d%/}/.$b.nlrun-lock log=${d%/}/.$b.nlrun-log
}
"#;

/// Tells what is in files, one after another: state, mode, owner, whether it is the expected content, and if not, the
/// certificates in it and the hash of its key's public half. A key never leaves the host.
///
/// Arguments: path and expected SHA-256 of each.
const LOOK: &str = r#"
tell() {
  if [ -e "$p" ]; then
    if ! [ -f "$p" ]; then echo 'is other'; return; fi
    if ! [ -r "$p" ]; then echo 'is denied'; return; fi
  else
    until [ -e "$d" ]; do d=${d%/*}; d=${d:-/}; done
    if [ -x "$d" ]; then echo 'is absent'; else echo 'is denied'; fi
    return
  fi
  facts 'mode %a
uid %u
gid %g
owner %U
group %G' 'mode %Mp%Lp
uid %u
gid %g
owner %Su
group %Sg' "$p"
  printf 'is file\n%s\n' "$f"
  hex "$p" || h=none
  printf 'sha256 %s\n' "$h"
  [ "$h" != "$2" ] || return 0
  # What begins as something else than a certificate ends it, so that no key can hide behind a damaged one.
  awk '/-----BEGIN /{on=($0 ~ /-----BEGIN (X509 )?CERTIFICATE-----/)} on{print "|" $0} /-----END /{on=0}' <"$p" | head -n 2000
  if has openssl; then
    k=$(openssl pkey -in "$p" -passin pass: -pubout -outform DER 2>/dev/null </dev/null | openssl dgst -sha256 2>/dev/null)
    echo "spki ${k##* }"
  fi
}
look() {
  beside "$1"
  [ ! -e "$mark" ] || echo due
  while [ $# -gt 0 ]; do
    names "$1"
    echo file
    tell "$@"
    shift 2
  done
}
"#;

/// Functions of what writes: `files FUNCTION FILE…` calls it for each of the files, five arguments each.
const CHANGE: &str = r#"
files() {
  what=$1; shift
  while [ $# -gt 0 ]; do
    names "$1"
    mode=$2 fallback=$3 own=$4 size=$5
    "$what" || return
    shift 5
  done
}
# One at a time: what a run left behind when it was killed may still be at it.
take_lock() {
  n=0
  until ln -s $$ "$lock" 2>/dev/null; do
    [ -L "$lock" ] || die lock
    t=$(readlink "$lock")
    if kill -0 "$t" 2>/dev/null; then
      n=$((n+1)); [ $n -le 90 ] || die busy
      sleep 1
    else rm -f "$lock"; fi
  done
}
# With the caller's own settings, since a server may be started by it.
run() {
  [ -n "$1" ] || return 0
  rm -f "$log"; set -C; true >"$log" || die log; set +C
  (umask "$mask"; unset LC_ALL; cd "$home" || exit; exec sh -c "$1") </dev/null >>"$log" 2>&1
  code=$?
  [ $code = 0 ] || tail -c 1500 "$log" >&2
  rm -f "$log"
  return $code
}
unwrite() { rm -f "$new"; }
drop() { rm -f "$old"; }
restore() {
  if [ -e "$old" ]; then rm -f "$new"; cp -a "$old" "$new" && mv -f "$new" "$p"
  else rm -f "$p"; fi
}
undo() { files restore "$@" || die restore; sync; rm -f "$mark"; files drop "$@"; }
"#;

/// Puts contents beside their files, keeps the old ones, makes all live at once, and puts the old ones back when the test fails.
///
/// Arguments: the test, then path, mode, mode of a new one, owner, size of each; the contents are the standard input. Once the first
/// file is live it goes on to its end whatever becomes of the connection.
const PUT: &str = r#"
write() {
  if [ -d "$p" ]; then die directory; fi
  if [ -e "$p" ] && ! [ -f "$p" ]; then die special; fi
  [ -d "$d" ] || die parent
  rm -f "$new"; set -C; true >"$new" || die write; set +C
  if [ -f "$p" ]; then
    facts '%a %u:%g' '%Mp%Lp %u:%g' "$p"; was=$f
    facts '%a %u:%g' '%Mp%Lp %u:%g' "$new"; now=$f
    mode=${mode:-${was%% *}}
    case $own in
      ?*:?*) ;;
      *) [ "${was#* }" = "${now#* }" ] || chown "${was#* }" "$new" || die owner;;
    esac
    if [ -e /sys/fs/selinux/enforce ] && has chcon; then chcon --reference="$p" "$new" 2>/dev/null; fi
  fi
  # Byte by byte, since what stands behind is the next file's.
  dd bs=1 count="$size" 2>/dev/null >>"$new" || die write
  [ "$(wc -c <"$new")" -eq "$size" ] || die truncated
  [ -z "$own" ] || chown "$own" "$new" || die owner
  chmod "${mode:-$fallback}" "$new" || die mode
}
keep() {
  rm -f "$old"
  [ ! -e "$p" ] || cp -a "$p" "$old" || die backup
}
live() { mv -f "$new" "$p" || die rename; }
home=$PWD test=$1; shift
beside "$1"
[ -d "$d" ] || die parent
take_lock
trap 'files unwrite "$@"; rm -f "$lock"' EXIT
trap 'exit 129' HUP INT TERM PIPE
files write "$@"
sync
trap : HUP INT TERM PIPE
# Where a run was killed before, what it kept is what the server has; what is live may be half of what it brought.
if ! [ -e "$mark" ]; then
  files keep "$@"
  set -C; true >"$mark" || die write; set +C
  sync
fi
(files live "$@") || { undo "$@"; exit 70; }
sync
run "$test" || { undo "$@"; die test; }
echo ok
"#;

/// Tests and reloads. Arguments: the test if it was not run just now, what reloads, and the files as above.
const ACTIVATE: &str = r#"
home=$PWD test=$1 reload=$2; shift 2
beside "$1"
take_lock
trap 'rm -f "$lock"' EXIT
trap : HUP INT TERM PIPE
if ! run "$test"; then
  [ -e "$mark" ] || die test_alone
  undo "$@"; die test
fi
run "$reload" || die reload
rm -f "$mark"
files drop "$@"
echo ok
"#;

/// What a clerk has to know to look at files: `look`.
pub(super) static LOOKS: LazyLock<String> = LazyLock::new(|| format!("{PRELUDE}{NAMES}{LOOK}"));

/// What changes something.
#[derive(Debug, Clone, Copy)]
pub(super) enum Script {
    Put,
    Activate,
}

impl Script {
    /// Returns its text.
    pub(super) fn text(self) -> String {
        let text = match self {
            Self::Put => PUT,
            Self::Activate => ACTIVATE,
        };
        format!("mask=$(umask)\n{PRELUDE}{NAMES}{CHANGE}{text}")
    }
}
