//! Secrets and keys from commands such as `sops -d`.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use zeroize::Zeroizing;

use super::place::Place;

/// How long a command may take. A person may have to touch a hardware key meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);

/// The most bytes of output that are a secret and no accident.
const MOST_OUTPUT: u64 = 1024 * 1024;

/// Why a command gave no secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command has no words.
    #[error("a command for secrets is empty")]
    Empty,
    /// The program cannot be started.
    #[error("`{program}` cannot be started")]
    Start {
        /// Which program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// The output cannot be read.
    #[error("the output of `{program}` cannot be read")]
    Output {
        /// Which program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// It took too long and was ended.
    #[error("`{program}` gave no answer within {seconds} s")]
    TimedOut {
        /// Which program.
        program: String,
        /// The limit, in seconds.
        seconds: u64,
    },
    /// It printed more than a secret.
    #[error("`{program}` printed more than {MOST_OUTPUT} bytes")]
    TooLong {
        /// Which program.
        program: String,
    },
    /// It ended with an error.
    #[error("`{program}` failed ({status}): {words}")]
    Failed {
        /// Which program.
        program: String,
        /// The exit status.
        status: String,
        /// What it wrote to standard error, without anything that it also wrote to standard output.
        words: String,
    },
}

/// Runs a command without a shell in the project's folder and returns what it prints.
pub async fn run(words: &[String], place: &Place) -> Result<Zeroizing<Vec<u8>>, Error> {
    run_within(words, place, PATIENCE).await
}

#[expect(clippy::disallowed_methods, reason = "this is where processes for secrets are started")]
async fn run_within(
    words: &[String],
    place: &Place,
    patience: Duration,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let (program, arguments) = words.split_first().ok_or(Error::Empty)?;
    let named = || program.clone();
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(place.variables())
        .current_dir(place.root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| Error::Start { program: named(), source })?;
    let group = child.id();
    let mut out = child.stdout.take().expect("standard output is a pipe").take(MOST_OUTPUT + 1);
    let mut err = child.stderr.take().expect("standard error is a pipe").take(MOST_OUTPUT);
    let (mut secret, mut words) = (Zeroizing::new(Vec::new()), Vec::new());
    let finished = async {
        let output = async {
            out.read_to_end(&mut secret).await.map_err(Some)?;
            // What is longer fills the pipe and is never read, so nobody must wait for the command's end.
            if secret.len() as u64 > MOST_OUTPUT { Err(None) } else { Ok(()) }
        };
        let errors = async { err.read_to_end(&mut words).await.map_err(Some) };
        tokio::try_join!(output, errors)?;
        child.wait().await.map_err(Some)
    };
    let ended = tokio::time::timeout(patience, finished).await;
    if !matches!(ended, Ok(Ok(_))) {
        end_group(group);
    }
    let status = match ended {
        Ok(Ok(status)) => status,
        Ok(Err(None)) => return Err(Error::TooLong { program: named() }),
        Ok(Err(Some(source))) => return Err(Error::Output { program: named(), source }),
        Err(_) => return Err(Error::TimedOut { program: named(), seconds: patience.as_secs() }),
    };
    if !status.success() {
        let words = without(&String::from_utf8_lossy(&words), &secret);
        return Err(Error::Failed { program: named(), status: status.to_string(), words });
    }
    Ok(secret)
}

/// Ends the command with everything that it started and that stayed in its group.
fn end_group(group: Option<u32>) {
    if let Some(group) = group.and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())) {
        // The group may have ended by itself meanwhile.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

/// Returns the last lines of an error text without any line of the output, which may hold half a secret.
fn without(text: &str, output: &[u8]) -> String {
    let mut text = text.trim().to_owned();
    for line in String::from_utf8_lossy(output).lines().map(str::trim).filter(|line| !line.is_empty()) {
        text = text.replace(line, "…");
    }
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(line: &str, patience: Duration) -> Result<Zeroizing<Vec<u8>>, Error> {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(folder.path(), [("PATH".into(), "/usr/bin:/bin".into())]);
        run_within(&["sh".to_owned(), "-c".to_owned(), line.to_owned()], &place, patience).await
    }

    #[tokio::test]
    async fn each_end_of_a_command_is_told_apart() {
        let long = Duration::from_secs(20);
        assert_eq!(
            shell("printf 's3cret\\n'; env | grep -c HOME", long).await.err().map(|error| error.to_string()),
            Some("`sh` failed (exit status: 1): ".to_owned())
        );
        assert_eq!(shell("cat; printf 's3cret\\n'", long).await.unwrap().as_slice(), b"s3cret\n");
        assert_eq!(
            shell("echo s3cret; echo 'no key for s3cret' >&2; exit 3", long).await.unwrap_err().to_string(),
            "`sh` failed (exit status: 3): no key for …"
        );
        assert!(matches!(shell("yes", long).await, Err(Error::TooLong { .. })));
        assert!(matches!(
            shell("sleep 60 & wait", Duration::from_millis(50)).await,
            Err(Error::TimedOut { .. })
        ));
        let place = Place::new(std::path::Path::new("/"), []);
        assert!(matches!(run(&["/nonexistent/sops".to_owned()], &place).await, Err(Error::Start { .. })));
    }
}
