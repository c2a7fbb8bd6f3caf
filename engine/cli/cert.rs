//! `cert show|check`: looks at certificates, in files and at servers.

mod server;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::json;
use zeroize::Zeroizing;

use self::server::ServerOptions;
use crate::cli::Context;
use crate::cli::check::count;
use crate::cli::diagnostic::safe;
use crate::cli::problem::Problem;
use crate::cli::table::{Cell, Table};
use crate::model::duration;
use crate::world::clock;
use crate::x509::{self, Bundle, Certificate, Error, Expected, Finding, Pair, PrivateKey, Severity};

/// Bytes that are read of a file: enough to see that it is too long.
const MOST: u64 = x509::MOST as u64 + 1;

/// Look at certificates in files and at servers
#[derive(Debug, Args)]
pub(crate) struct CertOptions {
    #[command(subcommand)]
    verb: CertVerb,
}

#[derive(Debug, Subcommand)]
enum CertVerb {
    /// Show the certificates of a file or a server, in their order
    ///
    /// PEM or DER; private keys are named, never shown. A server is looked at, whether it is trusted or not, and no data is sent to
    /// it. With --json, one object for each certificate: `subject issuer serial not_before not_after days_left names fingerprint
    /// spki key is_ca algorithm`; hashes are SHA-256 in hexadecimal. Of a server, one more: `address protocol cipher
    /// client_certificate handshake_error verified verify_error`.
    #[command(
        after_help = "Examples:\n  nlrun cert show /etc/ssl/certs/site.pem\n  nlrun cert show www.example.com:443\n  \
        nlrun cert show mail.example.com:25 --starttls smtp\n  \
        kubectl get secret site -o 'jsonpath={.data.tls\\.crt}' | base64 -d | nlrun cert show -"
    )]
    Show {
        /// A file, `-` for standard input, or a server: `HOST:PORT`, `[ADDRESS]:PORT`, `https://HOST/`
        #[arg(value_name = "FILE|HOST:PORT")]
        from: PathBuf,
        #[command(flatten)]
        server: ServerOptions,
    },
    /// Say what is wrong with a certificate, its chain and its key
    ///
    /// Ends with code 1 when a client or a server would refuse it, and when a server does not show it. Of a server, the host's name
    /// is expected unless others are named, and its chain has to lead to an authority. With --json, one object for each finding:
    /// `severity kind text`, where `severity` is `error`, `warning` or `note`.
    #[command(
        after_help = "Examples:\n  nlrun cert check site.pem --key site.key --name www.example.com\n  \
        nlrun cert check haproxy.pem --warn 30d --json\n  nlrun cert check www.example.com:443\n  \
        nlrun cert check 10.0.0.7:636 --sni ldap.example.com --ca ca.pem"
    )]
    Check {
        /// A file, `-` for standard input, or a server: `HOST:PORT`, `[ADDRESS]:PORT`, `https://HOST/`; a private key in a file is
        /// checked, too
        #[arg(value_name = "FILE|HOST:PORT")]
        from: PathBuf,
        /// The private key
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        /// A host that it must cover, a name or an address; may be given several times
        #[arg(long = "name", value_name = "HOST")]
        names: Vec<String>,
        /// How long before its end it is warned of
        #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "21d")]
        warn: Duration,
        #[command(flatten)]
        server: ServerOptions,
    },
}

pub(crate) fn cert(context: &Context, options: &CertOptions) -> Result<u8, Problem> {
    match &options.verb {
        CertVerb::Show { from, server } => match server.ask(context, from)? {
            Some(asked) => {
                show_all(context, &asked.bundle()?);
                asked.show(context);
                Ok(0)
            }
            None => {
                show_all(context, &read(context, from)?);
                Ok(0)
            }
        },
        CertVerb::Check { from, key, names, warn, server } => {
            let asked = server.ask(context, from)?;
            let bundle = match &asked {
                Some(asked) => asked.bundle()?,
                None => read(context, from)?,
            };
            let key = key.as_deref().map(|path| private_key(context, path)).transpose()?;
            let pair = Pair::of(bundle, key).map_err(|error| unusable(from, &error))?;
            let own: Vec<String> = asked.iter().map(|asked| asked.name().to_owned()).collect();
            let names = if names.is_empty() { &own } else { names };
            let expected = Expected { names, at: clock::now(), warn: *warn };
            let mut findings = x509::check(&pair, &expected);
            if let Some(asked) = &asked {
                asked.judge(&mut findings);
            }
            Ok(tell(context, &pair, &expected, &findings))
        }
    }
}

fn show_all(context: &Context, bundle: &Bundle) {
    let (at, out) = (clock::now(), &context.out);
    for (index, certificate) in bundle.certificates.iter().enumerate() {
        if out.json {
            out.json(&json!({
                "subject": certificate.subject,
                "issuer": certificate.issuer,
                "serial": certificate.serial,
                "not_before": certificate.not_before.to_string(),
                "not_after": certificate.not_after.to_string(),
                "days_left": certificate.days_left(at),
                "names": certificate.names.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "fingerprint": certificate.fingerprint,
                "spki": certificate.spki,
                "key": certificate.key.words(),
                "is_ca": certificate.is_ca,
                "algorithm": certificate.algorithm,
            }));
            continue;
        }
        if index > 0 {
            out.line("");
        }
        lines(context, rows(certificate, at));
    }
    for key in &bundle.keys {
        let owner = bundle.certificates.iter().find(|certificate| certificate.has_key(key));
        let owner = match owner {
            Some(certificate) => format!("of `{}`", certificate.words()),
            None if bundle.certificates.is_empty() => "without a certificate".to_owned(),
            None => "of none of these certificates".to_owned(),
        };
        out.word(&safe(&format!("a private key ({}) is there, {owner}", key.public().words())));
    }
}

/// Prints rows of a name and a value.
fn lines(context: &Context, rows: Vec<(&'static str, String)>) {
    let out = &context.out;
    for (name, value) in rows {
        out.line(&format!("{}  {}", out.data.dim(&format!("{name:<11}")), safe(&value)));
    }
}

fn rows(certificate: &Certificate, at: Timestamp) -> Vec<(&'static str, String)> {
    let day = |instant: Timestamp| instant.strftime("%Y-%m-%d %H:%M UTC").to_string();
    let names: Vec<String> = certificate.names.iter().map(ToString::to_string).collect();
    let left = match certificate.days_left(at) {
        _ if at < certificate.not_before => "not valid yet".to_owned(),
        _ if at > certificate.not_after => "expired".to_owned(),
        days => format!("{} left", count(days as usize, "day")),
    };
    let authority = if certificate.is_ca { ", an authority" } else { "" };
    let mut rows = vec![("subject", format!("{}{authority}", certificate.subject))];
    if !names.is_empty() {
        rows.push(("names", names.join(" ")));
    }
    rows.extend([
        ("issuer", certificate.issuer.clone()),
        ("valid from", day(certificate.not_before)),
        ("until", format!("{} ({left})", day(certificate.not_after))),
        ("key", certificate.key.words()),
        ("signed with", certificate.algorithm.clone()),
        ("serial", certificate.serial.clone()),
        ("sha256", certificate.fingerprint.clone()),
        ("spki sha256", certificate.spki.clone()),
    ]);
    rows
}

fn tell(context: &Context, pair: &Pair, expected: &Expected<'_>, findings: &[Finding]) -> u8 {
    let out = &context.out;
    if out.json {
        for finding in findings {
            out.json(finding);
        }
    } else if !findings.is_empty() {
        let mut table = Table::new(out, &["severity", "finding"], &[]);
        for finding in findings {
            let severity = finding.severity.as_str();
            let severity = match finding.severity {
                Severity::Error => Cell::bad(severity),
                Severity::Warning => Cell::odd(severity),
                Severity::Note => Cell::new(severity),
            };
            table.row([severity, Cell::new(&finding.text)]);
        }
        out.raw(table.text().as_bytes());
    }
    let is_bad = findings.iter().any(|finding| finding.severity == Severity::Error);
    if !is_bad {
        let days = count(pair.leaf.days_left(expected.at).max(0) as usize, "day");
        out.word(&safe(&format!("the certificate of `{}` can be used, for {days}", pair.leaf.words())));
    }
    u8::from(is_bad)
}

fn private_key(context: &Context, file: &Path) -> Result<PrivateKey, Problem> {
    read(context, file)?.key().map_err(|error| unusable(file, &error))
}

fn read(context: &Context, file: &Path) -> Result<Bundle, Problem> {
    Bundle::read(&bytes(context, file)?).map_err(|error| unusable(file, &error))
}

fn bytes(context: &Context, file: &Path) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let cannot =
        |error: std::io::Error| Problem::usage(format!("cannot read `{}`: {error}", file.display()), None);
    let mut bytes = Zeroizing::new(Vec::new());
    if file == Path::new("-") {
        std::io::stdin().take(MOST).read_to_end(&mut bytes).map_err(cannot)?;
    } else {
        let path = context.place.cwd.join(file);
        let about = std::fs::metadata(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                let hint = "give a file with a certificate, PEM or DER, `-` for standard input, or a server as `HOST:PORT`";
                Problem::usage(format!("there is no file `{}`", file.display()), Some(hint.to_owned()))
            }
            _ => cannot(error),
        })?;
        if about.is_dir() {
            return Err(Problem::usage(format!("`{}` is a folder, not a file", file.display()), None));
        }
        // A private key may be in it, and a buffer that grows leaves pieces behind.
        bytes.reserve_exact(about.len().min(MOST) as usize + 1);
        let opened = std::fs::File::open(&path).map_err(cannot)?;
        opened.take(MOST).read_to_end(&mut bytes).map_err(cannot)?;
    }
    Ok(bytes)
}

fn unusable(file: &Path, error: &Error) -> Problem {
    Problem::Other(format!("`{}`: {error}", file.display()))
}
