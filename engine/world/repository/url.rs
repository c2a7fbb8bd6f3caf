//! Where a repository is.

use std::fmt;

/// Why a text is not the address of a repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// Git has more ways to a repository, and most of them run something.
    #[error(
        "`{0}` is not the address of a repository: write `ssh://USER@HOST/PATH`, `USER@HOST:PATH`, `https://HOST/PATH` or an absolute path"
    )]
    Form(String),
    /// A password in the open.
    #[error("the address of a repository holds no password: give `token` the name of a secret")]
    Password,
}

/// How a repository is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// By SSH.
    Ssh,
    /// By HTTPS.
    Https,
    /// By HTTP, in clear.
    Http,
    /// In a folder of this machine.
    File,
}

impl Scheme {
    /// Returns Git's own word for it.
    pub(super) fn protocol(self) -> &'static str {
        match self {
            Self::Ssh => "ssh",
            Self::Https => "https",
            Self::Http => "http",
            Self::File => "file",
        }
    }
}

/// The address of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    text: String,
    scheme: Scheme,
}

impl Remote {
    /// Reads an address.
    pub fn parse(text: &str) -> Result<Self, RemoteError> {
        let wrong = || RemoteError::Form(shown(text));
        let text = text.trim();
        if text.starts_with('-') || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(wrong());
        }
        let scheme = match text.split_once("://") {
            Some(("ssh", _)) => Scheme::Ssh,
            Some(("https", _)) => Scheme::Https,
            Some(("http", _)) => Scheme::Http,
            Some(("file", _)) => Scheme::File,
            Some(_) => return Err(wrong()),
            None if text.starts_with('/') => Scheme::File,
            None => {
                let (host, path) = text.split_once(':').ok_or_else(wrong)?;
                // `ext::sh -c …` is a program, and so is everything that looks like it.
                if host.is_empty()
                    || host.contains('/')
                    || host.starts_with('-')
                    || path.is_empty()
                    || path.starts_with(':')
                {
                    return Err(wrong());
                }
                Scheme::Ssh
            }
        };
        if text.contains("://") {
            let url = ::url::Url::parse(text).map_err(|_| wrong())?;
            if url.password().is_some() {
                return Err(RemoteError::Password);
            }
            let host = url.host_str().unwrap_or_default();
            if host.starts_with('-')
                || (scheme != Scheme::File && host.is_empty())
                || url.username().starts_with('-')
            {
                return Err(wrong());
            }
        }
        Ok(Self { text: text.to_owned(), scheme })
    }

    /// Returns how it is reached.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Returns the server as the name of a setting has it: `https://HOST:PORT`; empty where it is no URL.
    pub(super) fn origin(&self) -> String {
        ::url::Url::parse(&self.text).map(|url| url.origin().ascii_serialization()).unwrap_or_default()
    }

    /// Returns the address as Git takes it.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// What stands before an `@` may be a password.
fn shown(text: &str) -> String {
    text.rsplit('@').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_runs_nothing_is_an_address() {
        for (text, scheme) in [
            ("git@gitlab.example.net:infra/nl.git", Some(Scheme::Ssh)),
            ("ssh://git@gitlab.example.net:2222/infra/nl.git", Some(Scheme::Ssh)),
            ("https://gitlab.example.net/infra/nl.git", Some(Scheme::Https)),
            ("https://oauth2@gitlab.example.net/infra/nl.git", Some(Scheme::Https)),
            ("/srv/git/nl.git", Some(Scheme::File)),
            ("file:///srv/git/nl.git", Some(Scheme::File)),
            ("ext::sh -c id", None),
            ("ext::id", None),
            ("fd::3", None),
            ("git://host/x", None),
            ("--upload-pack=id", None),
            ("-oProxyCommand=id:x", None),
            ("ssh://-oProxyCommand=id/x", None),
            ("relative/path", None),
            ("a b:c", None),
            ("", None),
        ] {
            assert_eq!(Remote::parse(text).ok().map(|remote| remote.scheme()), scheme, "{text}");
        }
        let error = Remote::parse("https://op:hunter2@host/x").unwrap_err();
        assert_eq!(error, RemoteError::Password);
        assert!(!Remote::parse("op:hunter2@/x y").unwrap_err().to_string().contains("hunter2"));
    }
}
