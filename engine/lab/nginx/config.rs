//! What the web server of a host understands of `nginx.conf`, and how it says what is wrong.

use std::path::Path;

use crate::lab::tls::{Face, FaceError};

/// A server that listens on one port.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) port: u16,
    pub(super) face: Face,
}

/// Directives that hold others.
const BLOCKS: [&str; 3] = ["events", "http", "server"];
/// Directives that are known and change nothing here.
const IDLE: [&str; 10] = [
    "user",
    "worker_processes",
    "worker_connections",
    "pid",
    "error_log",
    "access_log",
    "server_name",
    "ssl_protocols",
    "ssl_ciphers",
    "server_tokens",
];

/// Reads a configuration and all files that it names.
pub(super) fn read(path: &Path) -> Result<Vec<Server>, String> {
    let name = path.display().to_string();
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("open() \"{name}\" failed ({error})"))?;
    parse(&text, &name)?.into_iter().map(|draft| draft.server(&name)).collect()
}

/// A `server` as it is written.
#[derive(Debug, Default, PartialEq, Eq)]
struct Draft {
    line: usize,
    port: Option<u16>,
    certificate: Option<String>,
    key: Option<String>,
    clients: Option<String>,
    page: String,
}

impl Draft {
    fn server(self, name: &str) -> Result<Server, String> {
        let missing = |what: &str| format!("no \"{what}\" is defined for the server in {name}:{}", self.line);
        let port = self.port.ok_or_else(|| missing("listen"))?;
        let certificate = self.certificate.as_deref().ok_or_else(|| missing("ssl_certificate"))?;
        let key = self.key.as_deref().ok_or_else(|| missing("ssl_certificate_key"))?;
        let read = |what: &str, path: &str| {
            std::fs::read(path)
                .map_err(|error| format!("cannot load {what} \"{path}\": BIO_new_file() failed ({error})"))
        };
        let chain = read("certificate", certificate)?;
        let secret = read("certificate key", key)?;
        let clients = self.clients.as_deref().map(|path| read("certificate", path)).transpose()?;
        let face = Face::new(&chain, &secret, clients.as_deref(), &self.page).map_err(|error| match error {
            FaceError::Certificate => {
                format!("cannot load certificate \"{certificate}\": PEM_read_bio_X509_AUX() failed (SSL: no start line)")
            }
            FaceError::Key => {
                format!("cannot load certificate key \"{key}\": PEM_read_bio_PrivateKey() failed (SSL: no start line)")
            }
            FaceError::Pair(rustls::Error::InconsistentKeys(_)) => {
                format!("SSL_CTX_use_PrivateKey(\"{key}\") failed (SSL: x509 certificate routines::key values mismatch)")
            }
            FaceError::Pair(error) => format!("cannot load certificate \"{certificate}\": {error}"),
        })?;
        Ok(Server { port, face })
    }
}

fn parse(text: &str, name: &str) -> Result<Vec<Draft>, String> {
    let mut servers: Vec<Draft> = Vec::new();
    let mut blocks: Vec<&str> = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut last = 0;
    for (line, token) in tokens(text) {
        last = line;
        let fail = |what: String| format!("{what} in {name}:{line}");
        match token.as_str() {
            ";" => {
                if words.is_empty() {
                    return Err(fail("unexpected \";\"".to_owned()));
                }
                directive(&words, blocks.last().copied(), servers.last_mut()).map_err(fail)?;
                words.clear();
            }
            "{" => {
                let [word] = words.as_slice() else { return Err(fail("unexpected \"{\"".to_owned())) };
                let block = BLOCKS.into_iter().find(|block| block == word);
                let block = block.ok_or_else(|| fail(format!("unknown directive \"{word}\"")))?;
                let is_allowed = (block == "server") == (blocks == ["http"]) && blocks.len() < 2;
                if !is_allowed {
                    return Err(fail(format!("\"{block}\" directive is not allowed here")));
                }
                if block == "server" {
                    servers.push(Draft {
                        line,
                        page: "a web server of the lab\n".to_owned(),
                        ..Draft::default()
                    });
                }
                blocks.push(block);
                words.clear();
            }
            "}" => {
                if !words.is_empty() || blocks.pop().is_none() {
                    return Err(fail("unexpected \"}\"".to_owned()));
                }
            }
            _ => words.push(token),
        }
    }
    if !words.is_empty() || !blocks.is_empty() {
        return Err(format!("unexpected end of file, expecting \";\" or \"}}\" in {name}:{last}"));
    }
    Ok(servers)
}

fn directive(words: &[String], block: Option<&str>, server: Option<&mut Draft>) -> Result<(), String> {
    let (name, values) = (words[0].as_str(), &words[1..]);
    if IDLE.contains(&name) {
        return Ok(());
    }
    let is_known = matches!(
        name,
        "listen"
            | "ssl_certificate"
            | "ssl_certificate_key"
            | "ssl_client_certificate"
            | "ssl_verify_client"
            | "return"
    );
    let (true, Some("server"), Some(server)) = (is_known, block, server) else {
        return Err(if is_known {
            format!("\"{name}\" directive is not allowed here")
        } else {
            format!("unknown directive \"{name}\"")
        });
    };
    let [value, rest @ ..] = values else {
        return Err(format!("invalid number of arguments in \"{name}\" directive"));
    };
    match name {
        "listen" => {
            let port = value.rsplit_once(':').map_or(value.as_str(), |(_, port)| port).parse().ok();
            let is_tls = rest.iter().any(|word| word == "ssl");
            server.port = port.filter(|port| *port > 0 && is_tls);
            if server.port.is_none() {
                return Err(format!(
                    "the lab's servers listen as in \"listen 127.0.0.1:8443 ssl\", not \"{value}\""
                ));
            }
        }
        "ssl_certificate" => server.certificate = Some(value.clone()),
        "ssl_certificate_key" => server.key = Some(value.clone()),
        "ssl_client_certificate" => server.clients = Some(value.clone()),
        "return" => server.page = rest.first().map(|text| format!("{text}\n")).unwrap_or_default(),
        _ => {}
    }
    Ok(())
}

/// Cuts a text into words and signs, each with its line; comments are left out.
fn tokens(text: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let (mut word, mut quote) = (String::new(), None);
        for c in line.chars() {
            match (quote, c) {
                (Some(open), c) if c == open => {
                    quote = None;
                    found.push((number + 1, std::mem::take(&mut word)));
                }
                (None, '"' | '\'') if word.is_empty() => quote = Some(c),
                (None, '#') if word.is_empty() => break,
                (None, ';' | '{' | '}' | ' ' | '\t') => {
                    if !word.is_empty() {
                        found.push((number + 1, std::mem::take(&mut word)));
                    }
                    if !c.is_whitespace() {
                        found.push((number + 1, c.to_string()));
                    }
                }
                (_, c) => word.push(c),
            }
        }
        if !word.is_empty() {
            found.push((number + 1, word));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_understood_or_refused_with_its_line() {
        let good = "events {}\nhttp {\n  server { # one\n    listen 127.0.0.1:8443 ssl;\n    ssl_certificate /a.pem;\n    \
                    ssl_certificate_key /a.key;\n    return 200 \"hello there\";\n  }\n}\n";
        let found = parse(good, "n").unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].port, found[0].certificate.as_deref(), found[0].page.as_str()),
            (Some(8443), Some("/a.pem"), "hello there\n")
        );
        let cases = [
            ("events {}\nhtp {}", "unknown directive \"htp\" in n:2"),
            ("http { server { lisen 1; } }", "unknown directive \"lisen\" in n:1"),
            ("server {}", "\"server\" directive is not allowed here in n:1"),
            ("http {\n listen 1 ssl;\n}", "\"listen\" directive is not allowed here in n:2"),
            ("http { server { listen 80; } }", "listen 127.0.0.1:8443 ssl"),
            ("http {", "unexpected end of file"),
            ("}", "unexpected \"}\" in n:1"),
            (";", "unexpected \";\" in n:1"),
            ("http { server { return; } }", "invalid number of arguments in \"return\" directive"),
        ];
        for (text, reason) in cases {
            let found = parse(text, "n").unwrap_err();
            assert!(found.contains(reason), "{text}: {found}");
        }
    }

    #[test]
    fn files_that_are_missing_or_do_not_fit_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let authority = crate::lab::authority::found("a", crate::world::clock::now()).unwrap();
        let other = crate::lab::authority::found("b", crate::world::clock::now()).unwrap();
        let config = format!(
            "http {{ server {{ listen 1 ssl; ssl_certificate {}; ssl_certificate_key {}; }} }}",
            at("pem").display(),
            at("key").display()
        );
        let put =
            |name: &str, text: &str| crate::world::files::replace(&at(name), text.as_bytes(), 0o600).unwrap();
        put("conf", &config);
        let said = || read(&at("conf")).map(|servers| servers.len());
        assert!(said().unwrap_err().contains("cannot load certificate \""), "{:?}", said());
        put("pem", &authority.certificate);
        assert!(said().unwrap_err().contains("cannot load certificate key \""), "{:?}", said());
        put("key", "nothing");
        assert!(said().unwrap_err().contains("no start line"), "{:?}", said());
        put("key", &other.key);
        assert!(said().unwrap_err().contains("key values mismatch"), "{:?}", said());
        put("key", &authority.key);
        assert_eq!(said().unwrap(), 1);
    }
}
