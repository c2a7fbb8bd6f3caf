//! The script that ends a command with all it started.

use std::sync::Arc;

use crate::world::transport::{Command, Line, Sudo};

/// Builds the command that ends the process group of `shell`, its session and its descendants.
///
/// `has_ended` says that the shell itself is known to be gone: should its process id live again, it is another's
/// and nothing is touched. Where the command was tagged, what carries the `tag` counts too, unless it began a session of
/// its own. SIGTERM first, SIGKILL for what is left after two seconds. It exits with 0 when nothing is left. Where
/// `/proc` is not Linux's, the process group alone is ended. Asking sshd with a "signal" request is not enough:
/// it refuses for root, for forced commands, and cannot reach what sudo started.
pub fn sweeping(shell: u32, has_ended: bool, tag: Option<&str>, sudo: Option<&Sudo>) -> Command {
    let gone = if has_ended { "1" } else { "" };
    Command {
        line: Line::Shell(format!("p={shell} gone={gone} tag={}\n{SCRIPT}", tag.unwrap_or_default())),
        stdin: Arc::from([]),
        env: Vec::new(),
        cwd: None,
        sudo: sudo.cloned(),
        timeout: None,
        detach: false,
    }
}

const SCRIPT: &str = r#"find_left() {
  left=; tagged=; more=1
  if [ "$tag" ]; then set -- $(grep -l "$tag" /proc/[0-9]*/environ 2>/dev/null); tagged=" $* "; fi
  while [ "$more" ]; do
    more=
    for d in /proc/[0-9]*; do
      n=${d#/proc/}
      case " $left " in *" $n "*) continue;; esac
      { read -r s <"$d/stat"; } 2>/dev/null || continue
      set -- ${s##*) }
      case $1 in Z|X) continue;; esac
      case " $left " in *" $2 "*) left="$left $n"; more=1; continue;; esac
      if [ "$n" = "$p" ] || [ "$2" = "$p" ] || [ "$3" = "$p" ] || [ "$4" = "$p" ]; then
        left="$left $n"; more=1; continue
      fi
      case $tagged in *" $d/environ "*) [ "$4" != "$own" ] || { left="$left $n"; more=1; };; esac
    done
  done
}
if [ ! -r /proc/self/stat ]; then
  # Without a group of its own only the shell can be told.
  p=-$p
  kill -TERM -- "$p" 2>/dev/null || { p=${p#-}; [ -z "$gone" ] && kill -TERM "$p" 2>/dev/null; } || exit 0
  sleep 2
  kill -KILL -- "$p" 2>/dev/null
  exit 0
fi
# All of one connection share a session, if they share one.
read -r s </proc/$$/stat; set -- ${s##*) }; own=$4
[ "$gone" ] && [ -d "/proc/$p" ] && exit 0
# By the clock, for on a busy machine each look takes its time.
now() { read -r t s </proc/uptime; t=${t%%.*}; }
find_left
[ -z "$left" ] && exit 0
kill -TERM $left 2>/dev/null
told=" $left "
now; end=$((t + 3))
while [ $t -lt $end ]; do
  sleep 0.1 2>/dev/null || sleep 1
  find_left
  [ -z "$left" ] && exit 0
  # What was started just before its parent was told.
  for n in $left; do
    case $told in *" $n "*) ;; *) kill -TERM $n 2>/dev/null; told="$told$n ";; esac
  done
  now
done
for i in 1 2 3 4 5; do
  kill -KILL $left 2>/dev/null
  sleep 0.1 2>/dev/null || sleep 1
  find_left
  [ -z "$left" ] && exit 0
done
exit 1
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_names_the_process_once() {
        let Line::Shell(script) = sweeping(4711, false, None, None).line else {
            panic!("a line for the shell")
        };
        assert!(script.starts_with("p=4711 gone= tag=\n"));
    }

    /// Runs the script of a sweep to its end and returns whether it is content.
    #[expect(clippy::disallowed_methods, reason = "the script is tried alone, on a process of the test")]
    fn swept(shell: u32, has_ended: bool) -> bool {
        let Line::Shell(script) = sweeping(shell, has_ended, None, None).line else {
            panic!("a line for the shell")
        };
        std::process::Command::new("/bin/sh").args(["-c", &script]).status().unwrap().success()
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a process of the test stands for a command")]
    fn a_number_that_lives_again_is_anothers() {
        let mut process = std::process::Command::new("sleep").arg("300").spawn().unwrap();
        // Its shell is known to have ended, so this is not what it was.
        assert!(swept(process.id(), true));
        assert!(process.try_wait().unwrap().is_none());
        assert!(swept(process.id(), false));
        assert!(!process.wait().unwrap().success());
    }
}
