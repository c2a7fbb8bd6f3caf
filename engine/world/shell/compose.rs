//! Composes the one line that a remote shell is given from a command.

use crate::world::transport::{Command, Line, Sudo};

use super::marks::Marks;
use super::quote::{quote, quote_all};

/// The variable that holds the tag.
const TAG: &str = "NLRUN_TAG";

/// Text for a shell, and the marks that it will write to standard error.
#[derive(Debug)]
pub struct Script {
    /// What the shell reads.
    pub text: String,
    /// What to look for in its standard error.
    pub marks: Marks,
}

/// Composes `command` for a POSIX shell.
///
/// Without sudo a line for the shell is run by that shell itself. Under sudo it is run by `sh`; exact words
/// without environment or directory are given to `sudo -n` as they are, so that narrow sudoers rules match.
pub fn compose(command: &Command) -> Script {
    with(command, Marks::new(is_asked(command)))
}

/// Composes the same for a server that starts commands in a process group which they share with others.
///
/// What such a command started cannot be told by its group, so all of it carries a tag in its environment. Exact
/// words under sudo do without: a narrow rule would not match any more.
pub fn compose_tagged(command: &Command) -> Script {
    with(command, Marks::tagged(is_asked(command)))
}

fn is_asked(command: &Command) -> bool {
    command.sudo.as_ref().is_some_and(|sudo| sudo.password.is_some())
}

fn with(command: &Command, marks: Marks) -> Script {
    let tell = marks.tell_shell();
    let text = match &command.sudo {
        None => format!("{tell}; {}", body(command, marks.tag(), "\"${SHELL:-sh}\"")),
        Some(sudo) => format!("{tell}; exec {}", under_sudo(command, sudo, &marks)),
    };
    Script { text, marks }
}

/// Composes `command` for a device that has no POSIX shell: the line and nothing else, or `None` when more is asked.
pub fn bare(command: &Command) -> Option<Script> {
    let asks_more =
        !command.env.is_empty() || command.cwd.is_some() || command.sudo.is_some() || command.detach;
    let text = match &command.line {
        Line::Words(words) => words.join(" "),
        Line::Shell(line) => line.clone(),
    };
    (!asks_more).then(|| Script { text, marks: Marks::none() })
}

fn under_sudo(command: &Command, sudo: &Sudo, marks: &Marks) -> String {
    let user = sudo.user.as_ref().map(|user| format!(" -u {}", quote(user))).unwrap_or_default();
    if sudo.password.is_some() {
        // `-k`: a cached login neither answers for us nor is left behind, so the prompt says all there is to know.
        let inner = format!("{}; {}", marks.tell_admitted(), body(command, marks.tag(), "sh"));
        return format!("sudo -k -S -H -p {}{user} -- sh -c {}", quote(&marks.prompt()), quote(&inner));
    }
    match &command.line {
        Line::Words(words) if command.env.is_empty() && command.cwd.is_none() && !command.detach => {
            format!("sudo -n -H{user} -- {}", quote_all(words))
        }
        _ => format!("sudo -n -H{user} -- sh -c {}", quote(&body(command, marks.tag(), "sh"))),
    }
}

/// Composes what runs in the end; `shell` reads a tagged line anew, for a shell's own environment is that of its start.
fn body(command: &Command, tag: Option<&str>, shell: &str) -> String {
    let mut text = String::new();
    if let Some(tag) = tag {
        text.extend(["export ", TAG, "=", tag, "; "]);
    }
    if let Some(cwd) = &command.cwd {
        text.extend(["cd -- ", &quote(cwd), " || exit 1; "]);
    }
    if !command.env.is_empty() {
        let pairs: Vec<_> =
            command.env.iter().map(|(name, value)| format!("{name}={}", quote(value))).collect();
        text.extend(["export ", &pairs.join(" "), " || exit 1; "]);
    }
    let line = match &command.line {
        Line::Words(words) => format!("exec {}", quote_all(words)),
        Line::Shell(line) => line.clone(),
    };
    if command.detach {
        let quiet = format!("sh -c {} </dev/null >/dev/null 2>&1 &", quote(&line));
        text.extend([
            "if command -v setsid >/dev/null 2>&1; then setsid ",
            &quiet,
            " else nohup ",
            &quiet,
            " fi",
        ]);
    } else if tag.is_some() && matches!(command.line, Line::Shell(_)) {
        text.extend(["exec ", shell, " -c ", &quote(&line)]);
    } else {
        text += &line;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn command(line: Line) -> Command {
        Command {
            line,
            stdin: Arc::from([]),
            env: Vec::new(),
            cwd: None,
            sudo: None,
            timeout: None,
            detach: false,
        }
    }

    fn words(list: &[&str]) -> Line {
        Line::Words(list.iter().map(|word| (*word).to_owned()).collect())
    }

    /// The text without the mark in front, and with the token replaced.
    fn tail(command: &Command) -> String {
        let script = compose(command);
        let at = script.text.find("; ").expect("a mark comes first");
        let token = &script.text[script.text.find('@').unwrap()..script.text.find("pid:").unwrap()];
        script.text[at + 2..].replace(token, "@T-")
    }

    #[test]
    fn every_part_has_its_place() {
        let sudo = |user: Option<&str>, password: Option<&str>| {
            Some(Sudo {
                user: user.map(str::to_owned),
                password: password.map(|text| zeroize::Zeroizing::new(text.to_owned())),
            })
        };
        let shell = || command(Line::Shell("a | b".to_owned()));
        let exact = || command(words(&["ls", "a b"]));
        let env = vec![("A".to_owned(), "1 2".to_owned())];
        let cwd = Some("/srv/x y".to_owned());
        let table = [
            (shell(), "a | b"),
            (exact(), "exec ls 'a b'"),
            (Command { cwd: cwd.clone(), ..exact() }, "cd -- '/srv/x y' || exit 1; exec ls 'a b'"),
            (Command { env: env.clone(), ..shell() }, "export A='1 2' || exit 1; a | b"),
            (Command { sudo: sudo(None, None), ..exact() }, "exec sudo -n -H -- ls 'a b'"),
            (Command { sudo: sudo(Some("app"), None), ..shell() }, "exec sudo -n -H -u app -- sh -c 'a | b'"),
            (
                Command { sudo: sudo(None, Some("pw")), ..shell() },
                "exec sudo -k -S -H -p @T-pw@ -- sh -c 'echo @T-in@ >&2; a | b'",
            ),
        ];
        for (command, expected) in table {
            assert_eq!(tail(&command), expected);
        }
    }

    #[test]
    fn a_tag_comes_before_everything_that_is_started() {
        let sudo = || Some(Sudo { user: None, password: None });
        let line = || command(Line::Shell("a | b".to_owned()));
        let table = [
            (command(words(&["ls", "a b"])), "export NLRUN_TAG=T; exec ls 'a b'"),
            (line(), r#"export NLRUN_TAG=T; exec "${SHELL:-sh}" -c 'a | b'"#),
            (
                Command { sudo: sudo(), ..line() },
                r"exec sudo -n -H -- sh -c 'export NLRUN_TAG=T; exec sh -c '\''a | b'\'''",
            ),
            (Command { sudo: sudo(), ..command(words(&["ls"])) }, "exec sudo -n -H -- ls"),
        ];
        for (command, expected) in table {
            let script = compose_tagged(&command);
            let tag = script.marks.tag().unwrap();
            let (_, tail) = script.text.split_once("; ").unwrap();
            assert_eq!(tail.replace(tag, "T"), expected);
        }
    }

    #[test]
    fn no_secret_is_in_the_text() {
        let sudo = Sudo { user: None, password: Some(zeroize::Zeroizing::new("hunter2".to_owned())) };
        let script = compose(&Command { sudo: Some(sudo), ..command(words(&["id"])) });
        assert!(!script.text.contains("hunter2"));
    }

    #[test]
    fn a_device_without_a_shell_is_given_the_line_alone() {
        let plain = bare(&command(Line::Shell("show version".to_owned()))).expect("nothing more is asked");
        assert_eq!(plain.text, "show version");
        assert!(plain.marks.is_quiet());
        assert!(bare(&Command { cwd: Some("/".to_owned()), ..command(words(&["x"])) }).is_none());
    }
}
