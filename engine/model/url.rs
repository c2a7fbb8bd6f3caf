//! URLs as grants and people name them: without what may be secret, and always spelt the same.

use url::Url;

/// Why a text is no URL that can be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It does not parse.
    #[error("`{text}` is not a URL")]
    Syntax {
        /// The text before its query.
        text: String,
        /// What is wrong.
        source: url::ParseError,
    },
    /// Another scheme than HTTP and HTTPS.
    #[error("`{0}:` is not asked over HTTP; a URL begins with `http://` or `https://`")]
    Scheme(String),
    /// A user or a password before the host.
    #[error("a URL holds no user and no password: give them as `basic` or `bearer`")]
    Credentials,
}

/// Reads a URL; its fragment, which never leaves the client (RFC 9110, 4.2.5), is dropped.
pub fn parse(text: &str) -> Result<Url, UrlError> {
    let mut url = Url::parse(text).map_err(|source| {
        let shown = text.split(['?', '#']).next().unwrap_or_default();
        // What stands before an `@` may be a password.
        let shown = shown.rsplit('@').next().unwrap_or_default();
        UrlError::Syntax { text: shown.to_owned(), source }
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(UrlError::Scheme(url.scheme().to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlError::Credentials);
    }
    url.set_fragment(None);
    Ok(url)
}

/// Returns the name of a URL for grants: scheme, host, port where it is not the default, and path.
///
/// Scheme and host are in lower case and the path has no `.` and `..`, as the request will have it.
pub fn name_of(url: &Url) -> String {
    format!("{}{}", origin(url), url.path())
}

/// Returns scheme, host and port (RFC 6454), the default port left out.
pub fn origin(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

/// Returns the name of what may be a URL, if it is one.
pub fn name(text: &str) -> Option<String> {
    is_url(text).then(|| parse(text).ok().map(|url| name_of(&url))).flatten()
}

/// Whether a text looks like a URL.
pub fn is_url(text: &str) -> bool {
    text.contains("://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_spelling_and_nothing_secret() {
        for (text, expected) in [
            ("https://API.Example.com", "https://api.example.com/"),
            ("HTTPS://api.example.com:443/v1/?token=x#part", "https://api.example.com/v1/"),
            ("http://api.example.com:8080/a/../b/./c", "http://api.example.com:8080/b/c"),
            ("https://api.example.com/v1/%2e%2e/admin", "https://api.example.com/admin"),
            ("https://api.example.com\\@evil.org/", "https://api.example.com/@evil.org/"),
            ("http://[::1]:80/", "http://[::1]/"),
            ("http://127.1/", "http://127.0.0.1/"),
            ("https://bücher.example/ü", "https://xn--bcher-kva.example/%C3%BC"),
        ] {
            assert_eq!(name(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(name("files/notes.txt"), None);
        assert_eq!(name("ftp://a/b"), None);
    }

    #[test]
    fn errors_show_no_credentials() {
        for text in ["https://op:hunter2@a/", "https://hunter2@a/"] {
            assert_eq!(parse(text).unwrap_err(), UrlError::Credentials);
        }
        let told = parse("https://op:hunter2@/x?key=hunter2").unwrap_err().to_string();
        assert!(!told.contains("hunter2"), "{told}");
        assert!(parse("ftp://a/").unwrap_err().to_string().contains("ftp"));
    }
}
