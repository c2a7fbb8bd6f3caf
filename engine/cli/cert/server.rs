//! Certificates at servers: what is asked, and what the answer means.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::{bytes, lines};
use crate::cli::Context;
use crate::cli::problem::Problem;
use crate::model::duration;
use crate::model::port::{self, Port};
use crate::service;
use crate::world::tls::TlsCause;
use crate::world::tls::probe::{Request, Sight, StartTls, Verified};
use crate::x509::{Bundle, Certificate, Finding, Severity};

/// How long a look may take unless `--timeout` says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct ServerOptions {
    /// The name to ask a server for, where it is not the host's own
    #[arg(long, value_name = "NAME")]
    sni: Option<String>,
    /// What a server speaks in clear before TLS: smtp, imap, pop3, ldap or postgres
    #[arg(long, value_name = "PROTOCOL")]
    starttls: Option<StartTls>,
    /// How long a server may take; 10 s by default
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    timeout: Option<Duration>,
    /// The authorities that a server's chain may lead to, in place of this machine's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// A server that was looked at.
pub(super) struct Asked {
    request: Request,
    sight: Sight,
}

impl ServerOptions {
    /// Looks at the server that is meant; `None` for a file.
    pub(super) fn ask(&self, context: &Context, from: &Path) -> Result<Option<Asked>, Problem> {
        let is_file = from == Path::new("-") || context.place.cwd.join(from).exists();
        let Some(port) = from.to_str().and_then(Port::parse).filter(|_| !is_file) else {
            let given = [
                ("--sni", self.sni.is_some()),
                ("--starttls", self.starttls.is_some()),
                ("--timeout", self.timeout.is_some()),
                ("--ca", self.ca.is_some()),
            ];
            return match given.iter().find(|(_, is_given)| *is_given) {
                Some((option, _)) => {
                    let hint = "a server is written `HOST:PORT`";
                    let message = format!("`{option}` is for servers, and `{}` is none", from.display());
                    Err(Problem::usage(message, Some(hint.to_owned())))
                }
                None => Ok(None),
            };
        };
        let server_name = self.sni.as_deref().map(port::host).transpose();
        let server_name = server_name.map_err(|error| Problem::usage(error.to_string(), None))?;
        let ca = self.ca.as_deref().map(|path| bytes(context, path)).transpose()?;
        let request = Request {
            port,
            server_name,
            starttls: self.starttls,
            alpn: Vec::new(),
            ca: ca.map(|bytes| bytes.as_slice().into()),
            timeout: self.timeout.unwrap_or(TIMEOUT),
        };
        let sight = service::look(&request)?;
        Ok(Some(Asked { request, sight }))
    }
}

impl Asked {
    /// Returns the name that the certificate is expected to cover.
    pub(super) fn name(&self) -> &str {
        self.request.server_name.as_deref().unwrap_or(&self.request.port.host)
    }

    /// Returns the certificates as they were sent.
    pub(super) fn bundle(&self) -> Result<Bundle, Problem> {
        let certificates =
            self.sight.chain.iter().map(|der| Certificate::read(der)).collect::<Result<_, _>>();
        let certificates = certificates
            .map_err(|error| Problem::Other(format!("`{}`: {error}", self.request.port.name())))?;
        Ok(Bundle { certificates, keys: Vec::new() })
    }

    /// Prints how the connection went.
    pub(super) fn show(&self, context: &Context) {
        let Sight { address, protocol, cipher, wants_client, handshake_error, trust, .. } = &self.sight;
        let (verified, reason) = match trust {
            Verified::Yes => (Some(true), None),
            Verified::No(_, reason) => (Some(false), Some(reason)),
            Verified::Unknown(reason) => (None, Some(reason)),
        };
        if context.out.json {
            context.out.json(&json!({
                "address": address.to_string(),
                "protocol": protocol,
                "cipher": cipher,
                "client_certificate": wants_client,
                "handshake_error": handshake_error,
                "verified": verified,
                "verify_error": reason,
            }));
            return;
        }
        let spoken: Vec<&str> = [protocol, cipher].into_iter().flatten().map(String::as_str).collect();
        let mut rows = vec![("server", address.to_string()), ("connection", spoken.join(" "))];
        if *wants_client {
            rows.push(("client", "the server asks for a client's certificate".to_owned()));
        }
        rows.push((
            "handshake",
            handshake_error.as_ref().map_or("done".to_owned(), |why| format!("failed: {why}")),
        ));
        rows.push((
            "trusted",
            match (verified, reason) {
                (Some(true), _) => "yes".to_owned(),
                (Some(false), reason) => format!("no: {}", reason.map_or("", String::as_str)),
                (None, reason) => format!("unknown: {}", reason.map_or("", String::as_str)),
            },
        ));
        context.out.line("");
        lines(context, rows);
    }

    /// Adds what only the server itself shows: whether it is trusted, and whether it can be talked to.
    pub(super) fn judge(&self, findings: &mut Vec<Finding>) {
        let mut add = |severity, kind, text: String| findings.push(Finding { severity, kind, text });
        match &self.sight.trust {
            Verified::Yes => {}
            // Dates and names were looked at already, and the names that are expected may be others.
            Verified::No(TlsCause::Expired | TlsCause::NotYetValid | TlsCause::NameMismatch, _) => {}
            Verified::No(_, reason) => add(Severity::Error, "untrusted", reason.clone()),
            Verified::Unknown(reason) => {
                let text = format!("nobody can tell whether the chain is trusted: {reason}");
                add(Severity::Error, "trust_unknown", text);
            }
        }
        match (&self.sight.handshake_error, self.sight.wants_client) {
            (Some(why), true) if self.sight.is_refusal => add(
                Severity::Note,
                "client_certificate",
                format!("the server refuses clients without a certificate: {why}"),
            ),
            (Some(why), _) => {
                add(
                    Severity::Error,
                    "handshake",
                    format!("there is no connection in spite of the certificate: {why}"),
                );
            }
            (None, true) => add(
                Severity::Note,
                "client_certificate",
                "the server asks clients for a certificate".to_owned(),
            ),
            (None, false) => {}
        }
        // What leads to an authority is complete for those who trust it.
        if self.sight.trust == Verified::Yes {
            findings.retain(|finding| finding.kind != "incomplete");
        }
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    }
}
