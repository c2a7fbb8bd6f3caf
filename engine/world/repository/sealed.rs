//! A secret for a program that reads files: it is in memory only, and named by the descriptor of this process.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use rustix::fs::{MemfdFlags, Mode, fchmod, memfd_create};

/// A file without a name on any disk; it is gone with this value.
#[derive(Debug)]
pub struct Sealed(File);

impl Sealed {
    /// Takes the content.
    pub fn new(bytes: &[u8]) -> io::Result<Self> {
        let descriptor = memfd_create("nlrun", MemfdFlags::CLOEXEC)?;
        // What others can read, SSH does not take for a key.
        fchmod(&descriptor, Mode::RUSR | Mode::WUSR)?;
        let mut file = File::from(descriptor);
        file.write_all(bytes)?;
        Ok(Self(file))
    }

    /// Takes a key for SSH; one without a line break at its end is none to SSH.
    pub fn key(bytes: &[u8]) -> io::Result<Self> {
        let mut whole = zeroize::Zeroizing::new(bytes.to_vec());
        if !whole.ends_with(b"\n") {
            whole.push(b'\n');
        }
        Self::new(&whole)
    }

    /// Takes a user and a password, as `git credential` reads them.
    pub fn login(user: &str, password: &str) -> io::Result<Self> {
        let breaks = |text: &str| text.contains(['\n', '\r', '\0']);
        if breaks(user) || breaks(password) {
            return Err(io::Error::other("a user or a token holds a line break"));
        }
        Self::new(zeroize::Zeroizing::new(format!("username={user}\npassword={password}\n")).as_bytes())
    }

    /// Returns the path by which programs of the same user read it, as long as this value lives.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_again_and_again_and_only_for_its_owner() {
        let sealed = Sealed::login("oauth2", "hunter2").unwrap();
        for _ in 0..2 {
            assert_eq!(
                std::fs::read_to_string(sealed.path()).unwrap(),
                "username=oauth2\npassword=hunter2\n"
            );
        }
        let mode = std::os::unix::fs::PermissionsExt::mode(&sealed.0.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        assert!(Sealed::login("a\npassword=x", "b").is_err());
        let path = sealed.path();
        drop(sealed);
        assert!(std::fs::read(path).is_err());
    }
}
