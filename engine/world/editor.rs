//! A person's editor: it gets the terminal, and this process waits for it.

use std::io;
use std::path::Path;

/// Opens a file in an editor, named as in `$EDITOR`: a program and its arguments, read by the shell.
#[expect(clippy::disallowed_methods, reason = "one of the true homes of processes")]
pub fn open(editor: &str, file: &Path) -> io::Result<()> {
    // As Git does it: the variable may hold arguments (`code --wait`), the path may hold spaces.
    let status = std::process::Command::new("/bin/sh")
        .arg("-c")
        .arg(format!("{editor} \"$1\""))
        .arg(editor)
        .arg(file)
        .status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("`{editor}` ended with {status}"))) }
}
