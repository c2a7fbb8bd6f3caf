//! This machine, as far as somebody who looks for trouble cares.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Returns the bytes that an ordinary user may still write on the file system of a path.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Whether files can be made in a folder; of a folder that is not there, whether it can be made.
pub fn can_write(folder: &Path) -> bool {
    let nearest = folder.ancestors().find(|folder| folder.exists());
    nearest.is_some_and(|nearest| {
        rustix::fs::access(nearest, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok()
    })
}

/// Whether something answers at the socket of an SSH agent.
pub fn agent_answers(socket: &Path) -> io::Result<()> {
    UnixStream::connect(socket).map(drop)
}
