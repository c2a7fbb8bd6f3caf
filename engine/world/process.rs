//! Processes of this same program: a server gives each run one of its own.

use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

/// Starts this program again, in a process group of its own: what ends the caller at a terminal does not end it.
///
/// It is the program that runs now, also where another one has been installed over it since. What it says goes where the
/// caller's words go.
#[expect(clippy::disallowed_methods, reason = "one of the true homes of processes")]
pub fn start_self<'a>(arguments: impl IntoIterator<Item = &'a OsStr>) -> io::Result<Child> {
    Command::new("/proc/self/exe")
        .arg0("nlrun")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()
}

/// Starts this program again and returns what it writes to its standard output, up to a number of bytes.
///
/// What takes longer than the given time is ended.
#[expect(clippy::disallowed_methods, reason = "one of the true homes of processes")]
pub fn ask_self<'a>(
    arguments: impl IntoIterator<Item = &'a OsStr>,
    most: u64,
    patience: Duration,
) -> io::Result<String> {
    let mut child = Command::new("/proc/self/exe")
        .arg0("nlrun")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    let output = child.stdout.take().expect("its output is piped");
    let (sender, receiver) = std::sync::mpsc::channel();
    let reading = std::thread::Builder::new().name("answer".to_owned()).spawn(move || {
        let mut bytes = Vec::new();
        let read = output.take(most).read_to_end(&mut bytes).map(|_| bytes);
        let _ = sender.send(read);
    })?;
    let answer = receiver.recv_timeout(patience);
    end(&mut child);
    let _ = reading.join();
    let bytes = answer.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Ends a process that [`start_self`] has started, with all that is in its group.
pub fn end(child: &mut Child) {
    if let Ok(Some(_)) = child.try_wait() {
        return;
    }
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
}
