//! One call of `git`: with nothing of the caller's environment, a time-out, and limits for what it says.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::{Fault, Login, Remote, Scheme};

/// How long a call may take that needs no network.
pub(super) const LOCAL: Duration = Duration::from_secs(60);
/// The most of an answer that is read whole.
const MOST: u64 = 64 << 20;
/// Characters of an error that are repeated.
const SHOWN: usize = 600;
/// What Git may not do, whatever the configuration of a repository says.
const SAFE: &[&str] = &[
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "core.alternateRefsCommand=",
    "core.pager=cat",
    "credential.helper=",
    "protocol.ext.allow=never",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "gc.autoDetach=false",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=30",
    "advice.detachedHead=false",
    "user.useConfigOnly=true",
    "commit.gpgSign=false",
];

/// Words of Git that are always the same, whatever is wrong.
const EMPTY: &[&str] = &[
    "Could not read from remote repository",
    "Please make sure you have the correct access",
    "and the repository exists",
];

/// Calls Git for one repository.
pub(super) struct Git<'a> {
    repository: &'a Path,
    /// A lock that each call holds, too, for as long as it goes on.
    lock: Option<&'a File>,
    settings: Vec<OsString>,
    variables: Vec<(&'static str, OsString)>,
    patience: Duration,
}

impl<'a> Git<'a> {
    /// Takes the repository, and a lock that calls hold as long as they go on.
    pub(super) fn of(repository: &'a Path, lock: Option<&'a File>) -> Self {
        Self { repository, lock, settings: Vec::new(), variables: Vec::new(), patience: LOCAL }
    }

    /// Adds a setting.
    pub(super) fn with(mut self, setting: impl Into<OsString>) -> Self {
        self.settings.push(setting.into());
        self
    }

    /// Adds a variable of the environment.
    pub(super) fn variable(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// Lets the next call go to a remote repository, and to nothing else, for this long.
    ///
    /// `trusted` is a file with host keys for SSH, or with authorities for HTTPS.
    pub(super) fn remote(
        mut self,
        remote: &Remote,
        login: &Login,
        trusted: Option<&Path>,
        patience: Duration,
    ) -> Self {
        self.patience = patience;
        self = self.variable("GIT_ALLOW_PROTOCOL", remote.scheme().protocol());
        if let Login::Token(sealed) = login {
            // Only the path of the token is in the words, and only this user can follow it. Whoever the server sends Git on to gets none.
            let helper = format!("!f() {{ test \"$1\" = get && cat {}; }}; f", sealed.path().display());
            self = self.with(format!("credential.{}.helper={helper}", remote.origin()));
        }
        match remote.scheme() {
            Scheme::Ssh => {
                self.variable("GIT_SSH_VARIANT", "ssh").variable("GIT_SSH_COMMAND", ssh(login, trusted))
            }
            Scheme::Https => match trusted {
                Some(file) => {
                    let mut setting = OsString::from("http.sslCAInfo=");
                    setting.push(file);
                    self.with(setting)
                }
                None => self,
            },
            Scheme::Http | Scheme::File => self,
        }
    }

    fn command(&self, arguments: &[&OsStr]) -> Command {
        #[expect(clippy::disallowed_methods, reason = "one of the true homes of processes")]
        let mut command = Command::new("git");
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C")
            .env("HOME", "/nonexistent")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "/bin/false")
            .env("SSH_ASKPASS", "/bin/false")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_ALLOW_PROTOCOL", "")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .arg("--git-dir")
            .arg(self.repository);
        for setting in SAFE.iter().map(OsStr::new).chain(self.settings.iter().map(OsString::as_os_str)) {
            command.arg("-c").arg(setting);
        }
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.args(arguments).current_dir("/");
        command
    }

    /// Calls Git and returns all that it says.
    pub(super) fn ask<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<Vec<u8>, Fault> {
        // It is empty, and Git reads nothing here. Whoever has it open, even after this process, has the lock.
        let input = self.lock.and_then(|lock| lock.try_clone().ok()).map_or_else(Stdio::null, Stdio::from);
        self.ask_with(arguments, input)
    }

    /// Calls Git with something on its standard input, and returns all that it says.
    pub(super) fn ask_with<S: AsRef<OsStr>>(&self, arguments: &[S], input: Stdio) -> Result<Vec<u8>, Fault> {
        self.stream(arguments, input, |what, out| {
            let mut bytes = Vec::new();
            let read = out.take(MOST + 1).read_to_end(&mut bytes);
            read.map_err(|error| Fault::Odd { what: what.to_owned(), words: error.to_string() })?;
            if bytes.len() as u64 > MOST {
                return Err(Fault::TooLong { what: what.to_owned(), most: MOST });
            }
            Ok(bytes)
        })
    }

    /// Calls Git and returns its only line.
    pub(super) fn line<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<String, Fault> {
        Ok(String::from_utf8_lossy(&self.ask(arguments)?).trim_end_matches('\n').to_owned())
    }

    /// Whether Git says yes by its exit code; 1 is no.
    pub(super) fn is<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<bool, Fault> {
        match self.ask(arguments) {
            Ok(_) => Ok(true),
            Err(Fault::Failed { words, .. }) if words == code(1) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// Calls Git and reads what it says as it comes; a reader that fails ends the call.
    pub(super) fn stream<S: AsRef<OsStr>, T>(
        &self,
        arguments: &[S],
        input: Stdio,
        read: impl FnOnce(&str, BufReader<ChildStdout>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let arguments: Vec<&OsStr> = arguments.iter().map(AsRef::as_ref).collect();
        let what = arguments.first().map_or_else(String::new, |word| word.to_string_lossy().into_owned());
        let mut command = self.command(&arguments);
        let mut child = command
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Fault::Start)?;
        let out =
            BufReader::with_capacity(256 << 10, child.stdout.take().expect("standard output is a pipe"));
        let mut err = child.stderr.take().expect("standard error is a pipe");
        let (done, ended) = channel::<()>();
        let is_late = AtomicBool::new(false);
        let (id, patience) = (child.id(), self.patience);
        let (result, words, status) = std::thread::scope(|scope| {
            let words = scope.spawn(move || {
                let mut bytes = Vec::new();
                let _ = err.by_ref().take(1 << 20).read_to_end(&mut bytes);
                // What is longer is read, or Git would wait for ever.
                let _ = std::io::copy(&mut err, &mut std::io::sink());
                bytes
            });
            let is_late = &is_late;
            scope.spawn(move || {
                if ended.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                    is_late.store(true, Ordering::Relaxed);
                    end(id);
                }
            });
            let result = read(&what, out);
            if result.is_err() {
                end(id);
            }
            let words = words.join().unwrap_or_default();
            let status = Child::wait(&mut child);
            drop(done);
            (result, words, status)
        });
        if is_late.load(Ordering::Relaxed) {
            return Err(Fault::TimedOut { what, seconds: patience.as_secs() });
        }
        let status = status.map_err(Fault::Start)?;
        // What the reader found wrong says more than that the call was ended for it.
        let value = match result {
            Err(fault @ Fault::Odd { .. }) if status.success() => return Err(fault),
            Err(Fault::Odd { .. }) => None,
            Err(fault) => return Err(fault),
            Ok(value) => Some(value),
        };
        match value.filter(|_| status.success()) {
            Some(value) => Ok(value),
            None => Err(Fault::Failed { what, words: told(&words, status.code()) }),
        }
    }
}

fn code(code: i32) -> String {
    format!("exit code {code}")
}

/// Ends a call with everything that it started.
fn end(id: u32) {
    if let Some(group) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// Returns the end of an error's text, without what is only in the way.
fn told(words: &[u8], exit: Option<i32>) -> String {
    let text = String::from_utf8_lossy(words);
    let lines = text.lines().map(|line| line.trim().trim_start_matches("fatal: "));
    let lines: Vec<&str> =
        lines.filter(|line| !line.is_empty() && !EMPTY.iter().any(|words| line.starts_with(words))).collect();
    let text = lines[lines.len().saturating_sub(6)..].join("; ");
    if text.is_empty() {
        return exit.map_or_else(|| "it was killed".to_owned(), code);
    }
    let skipped = text.chars().count().saturating_sub(SHOWN);
    text.chars().skip(skipped).collect()
}

/// Returns the command by which Git calls SSH: nothing of the user's configuration, and nobody is asked.
fn ssh(login: &Login, known_hosts: Option<&Path>) -> OsString {
    let mut command = OsString::from(
        "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=yes -o GlobalKnownHostsFile=/dev/null \
         -o UpdateHostKeys=no -o ConnectTimeout=15 -o ServerAliveInterval=15 -o ServerAliveCountMax=3 \
         -o ForwardAgent=no -o ClearAllForwardings=yes -o PermitLocalCommand=no -o IdentitiesOnly=yes -o IdentityAgent=none",
    );
    let mut path = |option: &str, path: PathBuf| {
        command.push(" -o ");
        // Quoted for SSH, which would read several files otherwise.
        command.push(quoted(&format!("{option}=\"{}\"", path.display())));
    };
    match login {
        Login::KeyFile(file) => path("IdentityFile", file.clone()),
        Login::Key(sealed) => path("IdentityFile", sealed.path()),
        Login::None | Login::Token(_) => path("IdentityFile", "none".into()),
    }
    path("UserKnownHostsFile", known_hosts.map_or_else(|| "/dev/null".into(), Path::to_owned));
    command
}

/// Quotes a word for the shell that Git calls SSH by; SSH itself reads `"` and `%`.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('%', "%%").replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_too_long_or_fails_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let git = Git::of(folder.path(), None);
        let error = git.ask(&["rev-parse", "--verify", "HEAD"]).unwrap_err();
        assert!(error.to_string().contains("not a git repository"), "{error}");
        // It reads its standard input for as long as that is open.
        let (input, writer) = std::io::pipe().unwrap();
        let slow = Git { patience: Duration::from_millis(100), ..Git::of(folder.path(), None) };
        let error = slow.ask_with(&["hash-object", "--no-filters", "--stdin"], input.into()).unwrap_err();
        assert!(matches!(error, Fault::TimedOut { .. }), "{error}");
        drop(writer);
    }

    #[test]
    fn paths_reach_ssh_as_one_word() {
        let command = ssh(&Login::KeyFile("/a b/it's 100%".into()), None);
        let command = command.to_str().unwrap();
        assert!(command.contains("'IdentityFile=\"/a b/it'\\''s 100%%\"'"), "{command}");
        assert!(command.contains("'UserKnownHostsFile=\"/dev/null\"'"), "{command}");
    }
}
