//! What runs on the host: short scripts for a POSIX shell with coreutils or busybox, and what they answer.
//!
//! Contents go through standard input and never stand in an argument. A script that fails says `error WORD` on standard
//! output, and its tools say the rest on standard error.

use std::sync::LazyLock;

use serde_json::json;

use crate::bindings::sudo::Become;
use crate::gate::Permit;
use crate::model::event::Failure;
use crate::world::clerk::Question;
use crate::world::transport::{Command, Line};

/// Where something is: a path on a host, and who touches it.
#[derive(Clone)]
pub(super) struct Place {
    /// The capability's verb.
    pub(super) effect: &'static str,
    pub(super) host: std::sync::Arc<crate::model::inventory::Host>,
    pub(super) path: String,
    pub(super) sudo: Become,
}

/// Functions of every script: `die WORD`, `hex FILE` (its SHA-256 into `$h`), `real` (`$p` without links among its
/// folders), `follow` (links of `$p` until one is none), `tell_real ASKED`, `login` (who a new file belongs to), `facts
/// FORMAT FORMAT FILE` (what GNU's or BSD's `stat` knows, into `$f`), `clean_at_end` (of `$tmp` and `$bak`, however it ends),
/// `make_parent`, `pin`.
///
/// `real` and `pin` are made of what a shell does itself: a process costs more than all the rest.
pub(in crate::bindings) const PRELUDE: &str = r#"LC_ALL=C; export LC_ALL; umask 077
die() { printf 'error %s\n' "$1"; exit 70; }
has() { command -v "$1" >/dev/null 2>&1; }
hex() {
  if has sha256sum; then h=$(sha256sum <"$1") || return
  elif has openssl; then h=$(openssl dgst -sha256 <"$1") || return; h=${h##* }
  elif has shasum; then h=$(shasum -a 256 <"$1") || return
  elif has busybox; then h=$(busybox sha256sum <"$1") || return
  else h=none; fi
  h=${h%% *}
}
real() {
  d=${p%/*}
  case ${p##*/} in .|..) d=$p;; esac
  # Of what is not there, the part that is.
  until cd -P "${d:-/}" 2>/dev/null; do d=${d%/*}; done
  [ "$PWD" = "${d:-/}" ] || p=${PWD%/}${p#"$d"}
  # What bash makes of a link to `/`.
  case $p in //*) p=${p#/};; esac
  p=${p:-/}
}
follow() {
  n=0
  while [ -L "$p" ]; do
    n=$((n+1)); [ $n -le 40 ] || die loop
    t=$(readlink "$p" && echo .) || die readlink
    t=${t%??}
    case $t in ?*/) t=${t%/};; esac
    case $t in /*) p=$t;; *) p=${p%/*}/$t;; esac
  done
  [ $n = 0 ] || real
}
login() {
  # `uid=0(root) gid=0(root) …`, read in one go: a process costs more than all the rest of this.
  i=$(id); u=${i#uid=} u=${u%% *} g=${i#*gid=} g=${g%% *}
  case $u in *'('*) n=${u#*'('} n=${n%')'};; *) n=$u;; esac
  case $g in *'('*) m=${g#*'('} m=${m%')'};; *) m=$g;; esac
  printf 'uid %s\ngid %s\nowner %s\ngroup %s\n' "${u%%'('*}" "${g%%'('*}" "$n" "$m"
}
tell_real() {
  [ "$p" = "$1" ] || printf 'real %s\n%s\n' ${#p} "$p"
}
facts() {
  f=$(stat -c "$1" "$3" 2>/dev/null) || f=$(stat -f "$2" "$3") || die stat
}
clean() {
  trap '' HUP INT TERM PIPE
  [ -z "$job" ] || kill "$job" 2>/dev/null
  [ -z "$tmp$bak" ] || rm -rf ${tmp:+"$tmp"} ${bak:+"$bak"}
}
clean_at_end() {
  bak= job=
  trap clean EXIT
  # A shell that gets the signal while it is on its way out leaves the rest of the first trap undone.
  trap 'clean; exit 129' HUP INT TERM PIPE
}
make_parent() {
  d=${p%/*}; d=${d:-/}
  if ! [ -d "$d" ]; then
    [ -n "$1" ] || { ls -d "$d/" >/dev/null; die parent; }
    (umask 022; mkdir -p "$d") || die mkdir
  fi
  pin
}
# Goes into the folder of `$p`, and from there on nobody can put a link in between.
pin() {
  d=${p%/*}
  cd -P "${d:-/}" || die denied
  [ "$PWD" = "${d:-/}" ] || die meanwhile
  p=./${p##*/} d=.
}
"#;

/// Tells what is at a path, compares a file with a hash, and sends its content where that is wanted.
///
/// Arguments: path, `follow` or `gone` (as if nothing were there), what to send (`h` hash, `s` whether it is the expected
/// one, `d` content if it differs, `a` content always), most bytes to send, expected SHA-256 and size, whether to tell
/// who would own what is not there, and the expected BLAKE2b, which says as much as the SHA-256 where both are equal.
const PROBE: &str = r#"probe() {
p=$1 type=; real
[ "$2" != follow ] || follow
tell_real "$1"
if [ "$2" = gone ]; then type=absent
elif [ -L "$p" ]; then type=link
elif [ -f "$p" ]; then type=file
elif [ -d "$p" ]; then type=directory
elif [ -e "$p" ]; then type=special
else type=absent; fi
if [ $type = absent ]; then
  d=${p%/*}; d=${d:-/}
  [ -z "$7" ] || login
  [ -d "$d" ] || printf 'parent no\n'
  while ! [ -e "$d" ]; do d=${d%/*}; d=${d:-/}; done
  if ! [ -d "$d" ]; then printf 'parent file\n'; elif ! [ -x "$d" ]; then type=denied; fi
fi
case $type in absent|denied) printf 'type %s\n' $type; exit 0;; esac
facts 'mode %a
uid %u
gid %g
size %s
mtime %Y
owner %U
group %G' 'mode %Mp%Lp
uid %u
gid %g
size %z
mtime %m
owner %Su
group %Sg' "$p"
f="type $type
$f
"
if [ $type = link ]; then
  t=$(readlink "$p" && echo .) || die readlink
  t=${t%??}; printf '%starget %s\n%s\n' "$f" ${#t} "$t"
fi
[ $type = file ] && [ -n "$3" ] || { [ $type = link ] || answer "$f"; exit 0; }
sum=$5 size=$6
if [ -n "$8" ] && has b2sum; then
  case $f in *"
size $size
"*) h=$(b2sum <"$p" 2>/dev/null); [ "${h%% *}" != "$8" ] || answer "${f}sha256 $sum
";; esac
fi
hex "$p" 2>/dev/null || h=unreadable
[ "$h" = unreadable ] && answer "${f}sha256 unreadable
"
most=$4
size_now() { s=$(wc -c <"$p"); s=$((s)); }
if [ "$h" = none ]; then
  size_now
  [ -z "$sum" ] || [ $s = "$size" ] || f="${f}same no
"
  [ -z "$sum" ] || [ $s != "$size" ] || most=$s
else
  if [ $3 = s ]; then
    if [ "$h" = "$sum" ]; then f="${f}same yes
"; else f="${f}same no
"; fi
  else f="${f}sha256 $h
"; fi
  [ $3 = a ] || { [ $3 = d ] && [ "$h" != "$sum" ]; } || answer "$f"
  size_now
fi
case $3 in h|s) [ "$most" = "$s" ] || answer "$f";; esac
[ $s -le $most ] || answer "$f"
printf '%scontent %s\n' "$f" $s
cat "$p"
}
"#;

/// What a clerk has to know to look at paths.
static LOOKS: LazyLock<String> = LazyLock::new(|| format!("{PRELUDE}{PROBE}"));

/// Writes standard input beside a file and makes it live at once.
///
/// Arguments: path, parents, mode, owner:group, backup, validate, token, size (`-`: the first line of standard
/// input), and what the file must still be (`absent` or a SHA-256).
const PUT: &str = r#"p=$1 size=$8 tmp= bak=
clean_at_end
[ "$size" != - ] || IFS=' ' read -r size || die truncated
if [ -d "$p" ] && ! [ -L "$p" ]; then die directory; fi
if [ -e "$p" ] && ! [ -f "$p" ] && ! [ -L "$p" ]; then die special; fi
make_parent "$2"
b=${p##*/}; [ ${#b} -le 200 ] || b=long
tmp=${d%/}/.$b.nlrun-$7
mode=$3 late=1
if [ -f "$p" ] && ! [ -L "$p" ]; then is_there=1; else is_there= mode=${mode:-644}; fi
# A new file that nobody asked a mode for is made with it, which saves a process.
[ -n "$3$is_there" ] || { umask 022; late=; }
set -C; true >"$tmp" || die write; set +C
# Written and on disk in one go; where `dd` cannot do that nothing has been read yet.
if ! dd bs=65536 conv=fsync status=none of="$tmp"; then
  ! [ -s "$tmp" ] && cat >"$tmp" || die write
  sync "$tmp" 2>/dev/null || sync
fi
umask 077
# What comes over SSH is whole or cut short; a hash would only cost more.
[ "$(wc -c <"$tmp")" -eq "$size" ] || die truncated
if [ -n "$is_there" ]; then
  facts '%a %u:%g' '%Mp%Lp %u:%g' "$p"; old=$f
  facts '%a %u:%g' '%Mp%Lp %u:%g' "$tmp"; new=$f
  mode=${mode:-${old%% *}}
  case $4 in
    ?*:?*) ;;
    *) [ "${old#* }" = "${new#* }" ] || chown "${old#* }" "$tmp" || die owner;;
  esac
  if [ -e /sys/fs/selinux/enforce ] && has chcon; then chcon --reference="$p" "$tmp" 2>/dev/null; fi
fi
[ -z "$4" ] || chown "$4" "$tmp" || die owner
[ -z "$late" ] || chmod "$mode" "$tmp" || die mode
if [ -n "$6" ]; then
  # A shell heeds no signal while it waits for a command, but it does in `wait`.
  { cd "$OLDPWD" 2>/dev/null; exec sh -c "$6" sh "${1%/*}/${tmp#./}" </dev/null >&2; } & job=$!
  wait "$job" || die validate
  job=
fi
case $9 in
  '') ;;
  absent) if [ -e "$p" ]; then die meanwhile; fi;;
  *) hex "$p" && { [ "$h" = none ] || [ "$h" = "$9" ]; } || die meanwhile;;
esac
if [ -n "$5" ] && [ -f "$p" ]; then
  bak=$p.$(date -u +%Y%m%dT%H%M%SZ)~
  if [ -e "$bak" ]; then bak=${bak%~}-$7~; fi
  cp -p "$p" "$bak" || die backup
fi
if ! mv -fT "$tmp" "$p" 2>/dev/null; then
  if [ -L "$p" ] && [ -d "$p" ]; then rm -f "$p"; fi
  mv -f "$tmp" "$p" || die rename
fi
kept=${bak:+${1%/*}/${bak#./}}; tmp= bak=
printf 'ok\n%s' "$kept"
"#;

/// Sets owner and mode. Arguments: path, mode, owner:group.
const ADJUST: &str = r#"p=$1
pin
if [ -L "$p" ]; then die meanwhile; fi
[ -z "$3" ] || chown "$3" "$p" || die owner
[ -z "$2" ] || chmod "$2" "$p" || die mode
echo ok
"#;

/// Makes a folder, or sets its owner and mode. Arguments: path, mode, owner:group, parents.
const MAKE: &str = r#"p=$1
if [ -d "$p" ]; then pin; else
  if [ -e "$p" ] || [ -L "$p" ]; then die not_directory; fi
  make_parent "$4"
  mkdir -m "${2:-755}" "$p" || die mkdir
fi
if [ -L "$p" ]; then die meanwhile; fi
[ -z "$3" ] || chown "$3" "$p" || die owner
[ -z "$2" ] || chmod "$2" "$p" || die mode
echo ok
"#;

/// Makes a symbolic link, replacing another one at once. Arguments: path, target, force, token, parents.
const LINK: &str = r#"p=$1 tmp=
clean_at_end
if [ -d "$p" ] && ! [ -L "$p" ]; then die directory; fi
if [ -e "$p" ] && ! [ -L "$p" ] && [ -z "$3" ]; then die exists; fi
make_parent "$5"
tmp=${d%/}/.nlrun-$4
ln -s -- "$2" "$tmp" || die write
if ! mv -fT "$tmp" "$p" 2>/dev/null; then
  if [ -L "$p" ]; then rm -f "$p"; fi
  mv -f "$tmp" "$p" || die rename
fi
tmp=
echo ok
"#;

/// Removes something. Arguments: path, recursive.
const REMOVE: &str = r#"p=$1
pin
if [ -d "$p" ] && ! [ -L "$p" ]; then
  [ -n "$2" ] || die directory
  rm -rf "$p" || die remove
else
  rm -f "$p" || die remove
fi
if [ -e "$p" ] || [ -L "$p" ]; then die remove; fi
echo ok
"#;

/// A script for the host; what writes wants the path that the probe found behind all links, and refuses any other.
#[derive(Clone, Copy)]
pub(super) enum Script {
    Put,
    Adjust,
    Make,
    Link,
    Remove,
    List,
    Unpack,
}

impl Script {
    fn text(self) -> &'static str {
        match self {
            Self::Put => PUT,
            Self::Adjust => ADJUST,
            Self::Make => MAKE,
            Self::Link => LINK,
            Self::Remove => REMOVE,
            Self::List => super::tree::LIST,
            Self::Unpack => super::tree::UNPACK,
        }
    }
}

impl Place {
    /// Runs a script with these arguments and this standard input; returns its standard output.
    pub(super) async fn run(
        &self,
        permit: &Permit<'_>,
        script: Script,
        arguments: &[&str],
        stdin: std::sync::Arc<[u8]>,
        limit: usize,
    ) -> Result<Vec<u8>, Failure> {
        let text = format!("{PRELUDE}{}", script.text());
        let words = ["sh", "-c", &text, "nlrun"].into_iter().chain(arguments.iter().copied());
        let command = Command {
            line: Line::Words(words.map(str::to_owned).collect()),
            stdin,
            env: Vec::new(),
            cwd: None,
            sudo: self.sudo.sudo()?,
            timeout: None,
            detach: false,
        };
        let finished = permit.ask(command, limit).await?;
        match finished.exit.code {
            Some(0) => Ok(finished.out.data),
            Some(_) | None => Err(self.refusal(&finished.out.data, &finished.err.data)),
        }
    }

    /// Has the host look at the path with these arguments beside it; returns what it says.
    pub(super) async fn look(&self, permit: &Permit<'_>, arguments: &[&str]) -> Result<Vec<u8>, Failure> {
        let arguments = &[&[self.path.as_str()], arguments].concat();
        let sudo = self.sudo.sudo()?;
        let reply =
            permit.question(Question { functions: &LOOKS, function: "probe", arguments, sudo }).await?;
        match reply.code {
            Some(0) => Ok(reply.out),
            Some(_) | None => Err(self.refusal(&reply.out, &reply.err)),
        }
    }

    /// Makes the failure of this place, with a word for scripts in `.details`.
    pub(super) fn failure(&self, reason: &str, message: String) -> Failure {
        Failure {
            kind: "file".to_owned(),
            message,
            host: Some(self.host.name.clone()),
            site: None,
            details: json!({ "reason": reason, "path": self.path }),
        }
    }

    /// Makes the failure for what may not be touched.
    pub(super) fn denied(&self) -> Failure {
        let path = &self.path;
        let message = match self.sudo.user() {
            None => format!("`{path}`: permission denied; `sudo: true` does it as root"),
            Some(user) => format!("`{path}`: permission denied, even as `{user}`"),
        };
        self.failure("denied", message)
    }

    /// Turns what a script said before it gave up into a sentence.
    fn refusal(&self, out: &[u8], err: &[u8]) -> Failure {
        let path = &self.path;
        let err = String::from_utf8_lossy(&err[err.len().saturating_sub(600)..]).trim().to_owned();
        let out = String::from_utf8_lossy(out);
        let word = out.lines().rev().find_map(|line| line.strip_prefix("error ")).unwrap_or_default();
        let said =
            |words: &str| if err.is_empty() { words.to_owned() } else { format!("{words}: {}", last(&err)) };
        let named = |reason: &str, words: String| {
            let mut failure = self.failure(reason, words);
            failure.details["err"] = json!(err);
            failure
        };
        let heard = |text: &str| err.contains(text);
        match word {
            "validate" => {
                named("validate", said(&format!("`{path}` did not pass its validation and stays as it was")))
            }
            "meanwhile" => named(word, format!("`{path}` was changed by somebody else in this moment")),
            "loop" => named(word, format!("`{path}` is a link that leads to itself")),
            "directory" => named(word, format!("`{path}` is a directory")),
            "special" => named(word, format!("`{path}` is neither a file nor a directory")),
            "not_directory" => named(word, format!("`{path}` is there and is no directory")),
            "exists" => {
                named(word, format!("`{path}` is there and is no link; `force: true` replaces a file"))
            }
            "truncated" => {
                named(word, format!("the content of `{path}` did not arrive whole; the file stays as it was"))
            }
            _ if heard("Unexpected EOF in archive") || heard("short read") => named(
                "truncated",
                format!("the files for `{path}` did not arrive whole; nothing was changed"),
            ),
            _ if heard("Read-only file system") => {
                named("read_only", format!("`{path}` is on a file system that is mounted read-only"))
            }
            _ if heard("No space left") || heard("Disk quota exceeded") || heard("File too large") => {
                named("full", format!("there is no space for `{path}`; nothing was changed"))
            }
            _ if heard("Permission denied") || heard("Operation not permitted") => {
                let mut failure = self.denied();
                failure.details["err"] = json!(err);
                failure
            }
            "parent" => named(
                word,
                format!("the folder of `{path}` does not exist; `dir_ensure` makes it, or `parents: true`"),
            ),
            "denied" => self.denied(),
            "line_break" => named(
                word,
                format!("`{path}` holds a name with a line break; `delete: true` cannot be used there"),
            ),
            "no_hash" => named(word, "the host has neither sha256sum nor openssl nor shasum".to_owned()),
            "no_tar" => named(word, "the host has no tar".to_owned()),
            "" => named("shell", said(&format!("`{path}`: the host could not be asked"))),
            _ => named(word, said(&format!("`{path}` cannot be changed ({word})"))),
        }
    }
}

fn last(text: &str) -> &str {
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim()
}

/// Returns random characters for the name of a temporary file.
pub(super) fn token() -> Result<String, Failure> {
    use ring::rand::SecureRandom as _;
    let mut bytes = [0u8; 8];
    ring::rand::SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| crate::gate::permit::invalid("the system gives no random numbers".to_owned()))?;
    Ok(crate::store::hex(&bytes))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::Path;
    use std::process::{Command as Program, Stdio};

    use super::*;

    /// Puts a content of announced size into `folder/a` with only these tools, and returns what the script says.
    #[expect(
        clippy::disallowed_methods,
        reason = "the script is tried alone, with the tools of another host"
    )]
    fn put(folder: &Path, tools: &[&str], content: &str, size: &str) -> String {
        let bin = folder.join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        for tool in tools {
            let _ = std::os::unix::fs::symlink(Path::new("/usr/bin").join(tool), bin.join(tool));
        }
        let path = folder.join("a").display().to_string();
        let mut shell = Program::new("/bin/sh")
            .args(["-c", &format!("{PRELUDE}{PUT}"), "nlrun", &path, "", "", "", "", "", "token", size, ""])
            .env_clear()
            .env("PATH", &bin)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // A script that refuses at once does not read it.
        let _ = shell.stdin.take().unwrap().write_all(content.as_bytes());
        String::from_utf8(shell.wait_with_output().unwrap().stdout).unwrap()
    }

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "the script is tried alone, with the tools of another host"
    )]
    fn an_equal_blake2b_says_as_much_as_an_equal_sha256() {
        use blake2::Digest as _;
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        // Without `sha256sum`: what is told comes from the other digest, or is not told.
        for tool in ["stat", "b2sum", "wc", "cat"] {
            std::os::unix::fs::symlink(Path::new("/usr/bin").join(tool), bin.join(tool)).unwrap();
        }
        let path = folder.path().join("a");
        std::fs::File::create(&path).unwrap().write_all(b"0123456789").unwrap();
        let text = format!("{}answer() {{ printf %s \"$1\"; exit 0; }}\nprobe \"$@\"", &*LOOKS);
        let look = |size: &str, content: &str| {
            let quick = crate::store::hex(&blake2::Blake2b512::digest(content));
            let arguments = [path.to_str().unwrap(), "", "d", "0", "the-sum", size, "", &quick];
            let shell = Program::new("/bin/sh")
                .args(["-c", &text, "nlrun"])
                .args(arguments)
                .env_clear()
                .env("PATH", &bin)
                .output()
                .unwrap();
            String::from_utf8(shell.stdout).unwrap()
        };
        assert!(look("10", "0123456789").ends_with("sha256 the-sum\n"));
        for (size, content) in [("10", "012345678X"), ("11", "0123456789")] {
            assert!(!look(size, content).contains("sha256"), "{size} {content}");
        }
    }

    #[test]
    fn the_size_tells_whether_all_has_come() {
        const TOOLS: &[&str] = &["cat", "chmod", "mv", "rm", "stat", "sync", "wc"];
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(put(folder.path(), TOOLS, "01234", "10"), "error truncated\n");
        assert!(!folder.path().join("a").exists());
        assert_eq!(put(folder.path(), TOOLS, "0123456789", "10"), "ok\n");
        assert_eq!(std::fs::read_to_string(folder.path().join("a")).unwrap(), "0123456789");
    }

    #[test]
    fn what_stands_in_the_way_is_not_written_to() {
        const TOOLS: &[&str] = &["cat", "chmod", "mv", "rm", "sha256sum", "stat", "sync", "wc"];
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        std::fs::File::create(&victim).unwrap().write_all(b"precious").unwrap();
        std::os::unix::fs::symlink(&victim, folder.path().join(".a.nlrun-token")).unwrap();
        assert_eq!(put(folder.path(), TOOLS, "0123456789", "10"), "error write\n");
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
        assert!(!folder.path().join("a").exists());
        // A folder that came since the host was asked: a file is not put into it.
        std::fs::create_dir(folder.path().join("a")).unwrap();
        assert_eq!(put(folder.path(), TOOLS, "0123456789", "10"), "error directory\n");
    }
}
