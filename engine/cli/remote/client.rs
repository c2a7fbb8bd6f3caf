//! The command line as a client of a server: requests, and what their failures mean.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;
use zeroize::Zeroizing;

use crate::cli::Context;
use crate::cli::problem::{Problem, USAGE};
use crate::world::http::{Fault, Http, Reply, Request, Stream, TlsCause, Trust};

/// How long an answer may take, or the head of one that is a stream.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer that is read whole.
const MOST_BYTES: usize = 64 << 20;
/// The header by which a server of ours shows its version.
const VERSION: &str = "nlrun-version";

/// A server, and what shows who we are.
pub(crate) struct Remote {
    http: Http,
    base: Url,
    token: Option<Zeroizing<String>>,
    trust: Trust,
    runtime: Runtime,
    is_told: Cell<bool>,
}

/// Why there is no good answer.
pub(super) enum Failed {
    /// It may be there in a moment.
    Passing(Problem),
    /// It is final.
    For(Problem),
}

impl Failed {
    /// Returns what to tell.
    pub(super) fn problem(self) -> Problem {
        match self {
            Self::Passing(problem) | Self::For(problem) => problem,
        }
    }
}

impl Remote {
    /// Returns the server that is named by `--server` or `NLRUN_SERVER`, if one is.
    pub(crate) fn of(context: &Context) -> Result<Option<Self>, Problem> {
        let common = &context.common;
        let variable = |name: &str| context.place.variable(name).filter(|text| !text.is_empty());
        let Some(text) = common.server.clone().or_else(|| variable("NLRUN_SERVER")) else { return Ok(None) };
        let wrong = |why: &str| {
            let hint = "write it as `https://nlrun.example.net`".to_owned();
            Problem::usage(format!("`{text}` is no address of a server: {why}"), Some(hint))
        };
        let mut base = Url::parse(&text).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(wrong("it does not begin with `https://` or `http://` and a host"));
        }
        base.set_query(None);
        base.set_fragment(None);
        let token = match &common.token_file {
            Some(path) => {
                let text = std::fs::read_to_string(context.place.cwd.join(path)).map_err(|error| {
                    Problem::usage(format!("cannot read `{}`: {error}", path.display()), None)
                })?;
                Some(text)
            }
            None => variable("NLRUN_TOKEN"),
        };
        let token = token.map(|text| Zeroizing::new(text.trim().to_owned())).filter(|text| !text.is_empty());
        let trust = match &common.ca {
            None => Trust::System,
            Some(path) => {
                let pem = std::fs::read(context.place.cwd.join(path)).map_err(|error| {
                    Problem::usage(format!("cannot read `{}`: {error}", path.display()), None)
                })?;
                Trust::Roots(pem.into())
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Problem::Other(format!("the asynchronous runtime does not start: {error}")))?;
        Ok(Some(Self { http: Http::default(), base, token, trust, runtime, is_told: Cell::new(false) }))
    }

    /// Returns the server's address as a person writes it.
    pub(crate) fn address(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Waits for something that goes on with this server.
    pub(super) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Gets something.
    pub(crate) fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<T, Problem> {
        self.wait(self.ask("GET", path, query, &[], None)).map_err(Failed::problem)
    }

    /// Sends something and reads the answer; an empty one is null.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &[&str],
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<Value, Problem> {
        self.wait(self.ask(method, path, &[], headers, Some(body))).map_err(Failed::problem)
    }

    /// Gets bytes, piece by piece.
    pub(crate) fn pour(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        mut sink: impl FnMut(&[u8]),
    ) -> Result<(), Problem> {
        self.wait(async {
            let mut stream = self.open(path, query, &[]).await.map_err(Failed::problem)?;
            loop {
                match stream.part(TIMEOUT).await {
                    Ok(Some(part)) => sink(&part),
                    Ok(None) => return Ok(()),
                    Err(fault) => return Err(self.fault(&fault).problem()),
                }
            }
        })
    }

    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &[&str],
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<T, Failed> {
        let request = self.request(method, path, query, headers, body);
        let reply = self.http.exchange(&request, &CancellationToken::new()).await;
        let reply = reply.map_err(|fault| self.fault(&fault))?;
        self.look_at(reply.header(VERSION));
        if !(200..300).contains(&reply.status) {
            return Err(self.refused(&reply));
        }
        let bytes: &[u8] = if reply.body.is_empty() { b"null" } else { &reply.body };
        serde_json::from_slice(bytes).map_err(|error| match reply.header(VERSION) {
            None => Failed::For(self.stranger()),
            Some(_) => Failed::For(self.other_words(&error.to_string())),
        })
    }

    pub(super) async fn open(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Result<Stream, Failed> {
        let request = self.request("GET", path, query, headers, None);
        let mut stream = self.http.open(&request).await.map_err(|fault| self.fault(&fault))?;
        self.look_at(stream.header(VERSION));
        if stream.status() == 200 {
            return Ok(stream);
        }
        let header = |name: &str| stream.header(name).map(|value| (name.to_owned(), value.to_owned()));
        let headers = [VERSION, "content-type"].into_iter().filter_map(header).collect();
        let status = stream.status();
        let body = stream.rest(MOST_BYTES, TIMEOUT).await.unwrap_or_default();
        Err(self.refused(&Reply { status, reason: None, headers, body }))
    }

    fn request(
        &self,
        method: &str,
        path: &[&str],
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Request {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let plain = |name: &str, value: &str| (name.to_owned(), Zeroizing::new(value.as_bytes().to_vec()));
        let mut all: Vec<_> = headers.iter().map(|(name, value)| plain(name, value)).collect();
        if let Some(token) = &self.token {
            all.push(plain("authorization", &Zeroizing::new(format!("Bearer {}", token.as_str()))));
        }
        if body.is_some() {
            all.push(plain("content-type", "application/json"));
        }
        Request {
            method: method.to_owned(),
            url,
            headers: all,
            body: body.map(|body| Arc::new(Zeroizing::new(body.to_string().into_bytes()))),
            trust: self.trust.clone(),
            server_name: None,
            max_bytes: MOST_BYTES,
            deadline: Instant::now() + TIMEOUT,
            timeout: TIMEOUT,
        }
    }

    /// Says once where both versions may misunderstand each other.
    fn look_at(&self, version: Option<&str>) {
        let own = env!("CARGO_PKG_VERSION");
        let minor = |version: &str| version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
        if let Some(version) = version
            && minor(version) != minor(own)
            && !self.is_told.replace(true)
        {
            crate::cli::out::tell(&format!("warning: the server is nlrun {version}, this is nlrun {own}"));
        }
    }

    /// Says why there is no answer, and what to do.
    pub(super) fn fault(&self, fault: &Fault) -> Failed {
        let message = format!("{}: {fault}", self.address());
        let other =
            |hint: &str| Problem::Remote { message: message.clone(), hint: Some(hint.to_owned()), code: 1 };
        match fault {
            Fault::Unreachable { .. } | Fault::Refused { .. } => Failed::Passing(other(
                "is the server running (`nlrun serve`), and is this its address and port?",
            )),
            Fault::Tls { cause: TlsCause::Setup, .. } => {
                Failed::For(other("this machine's certificates cannot be used"))
            }
            Fault::Tls { reason, .. } if reason.contains("InvalidContentType") => {
                Failed::For(other("does the server speak `http`?"))
            }
            Fault::Tls { .. } => Failed::For(other(
                "`--ca FILE` names the authority that signed the server's certificate; the name in the address must be one of the certificate's",
            )),
            Fault::TimedOut { .. } | Fault::Lost { .. } => {
                Failed::Passing(other("the connection may be bad, or the server overloaded"))
            }
            Fault::Protocol { .. } => {
                let hint = if self.base.scheme() == "http" {
                    "does the server speak `https`?"
                } else {
                    "does the server speak `http`?"
                };
                Failed::For(other(hint))
            }
            Fault::TooLarge { .. } | Fault::Invalid { .. } | Fault::Cancelled => {
                Failed::For(Problem::Other(message))
            }
        }
    }

    /// Says why an answer is a refusal.
    fn refused(&self, reply: &Reply) -> Failed {
        let problem: Option<Value> = serde_json::from_slice(&reply.body).ok();
        let is_ours =
            reply.header("content-type").is_some_and(|media| media.starts_with("application/problem+json"));
        let Some(problem) = problem.filter(|_| is_ours) else {
            let problem = match reply.status {
                502..=504 => Problem::Other(format!("{} answers {}", self.address(), reply.status)),
                _ => self.stranger(),
            };
            // A proxy while the server behind it starts again.
            return if (502..=504).contains(&reply.status) {
                Failed::Passing(problem)
            } else {
                Failed::For(problem)
            };
        };
        let detail = problem["detail"].as_str().unwrap_or_default().to_owned();
        let errors: Vec<&Value> = problem["errors"].as_array().into_iter().flatten().collect();
        let lines = errors.iter().map(|error| match error {
            Value::String(text) => text.clone(),
            other => format!(
                "{}:{}: {}",
                other["file"].as_str().unwrap_or_default(),
                other["line"],
                other["message"].as_str().unwrap_or_default()
            ),
        });
        let message = std::iter::once(detail).chain(lines).collect::<Vec<_>>().join("\nerror: ");
        let remote = |hint: Option<&str>, code: u8| Problem::Remote {
            message: message.clone(),
            hint: hint.map(str::to_owned),
            code,
        };
        match reply.status {
            401 if self.token.is_none() => Failed::For(Problem::usage(
                format!("{} asks who you are, and no token is given", self.address()),
                Some(
                    "set NLRUN_TOKEN, or give `--token-file FILE`; `nlrun token add` on the server makes one"
                        .to_owned(),
                ),
            )),
            401 => Failed::For(Problem::usage(
                format!("{} does not know this token: it is wrong, has ended or was removed", self.address()),
                Some("`nlrun token list` on the server shows which there are".to_owned()),
            )),
            403 => Failed::For(remote(
                Some("`nlrun token add --role … --runbook …` on the server makes a token that may"),
                3,
            )),
            409 => Failed::For(remote(None, 3)),
            429 | 502..=504 => Failed::Passing(remote(None, 1)),
            400..=499 => Failed::For(remote(None, USAGE)),
            _ => Failed::For(remote(Some("the log of the server says more"), 1)),
        }
    }

    fn stranger(&self) -> Problem {
        Problem::usage(
            format!("what answers at {} is no nlrun server", self.address()),
            Some("give the address that the server says when it starts, or its `server.url`".to_owned()),
        )
    }

    /// Says that an answer cannot be understood.
    pub(super) fn other_words(&self, why: &str) -> Problem {
        Problem::Remote {
            message: format!(
                "the server says something that this nlrun {} does not know: {why}",
                env!("CARGO_PKG_VERSION")
            ),
            hint: Some("use the version of nlrun that the server has".to_owned()),
            code: 1,
        }
    }
}
