//! One call: exchanges, the redirects between them, and tries after failures.

use std::time::{Duration, Instant};

use ::url::Url;

use super::answer::Answer;
use super::request::Request;
use crate::bindings::retry::{Again, Tries};
use crate::gate::permit::invalid;
use crate::gate::{Permit, sentence};
use crate::model::effect::Kind;
use crate::model::event::Failure;
use crate::model::url;
use crate::world::http::{Reply, Request as Wire};

/// Redirects that one call follows.
const MOST_REDIRECTS: usize = 5;

/// Asks, and judges the answer; its secrets are known before anything of it is recorded.
pub(super) async fn fetch(
    request: &Request,
    permit: &Permit<'_>,
    effect: &str,
    kind: Kind,
) -> Result<Answer, Failure> {
    let wire = request.wire()?;
    let begun = Instant::now();
    let (times, delay) =
        request.retry.as_ref().map_or((1, Duration::ZERO), |retry| (retry.times, retry.delay));
    let mut tries = Tries::new(permit, times, delay, request.timeout);
    let (reply, url) = loop {
        let tried = follow(request, permit, effect, kind, wire.clone()).await;
        if !tries.wait(again(request, kind, &tried)).await? {
            break tried.map_err(|failure| tries.told(failure))?;
        }
    };
    let mut answer = Answer::keep(permit, request, reply, url::name_of(&url)).await?;
    answer.ms = begun.elapsed().as_millis() as u64;
    answer.again = tries.again;
    answer.judge(request, permit)
}

/// Returns why a call may be tried again.
fn again(request: &Request, kind: Kind, tried: &Result<(Reply, Url), Failure>) -> Option<Again> {
    let retry = request.retry.as_ref()?;
    match tried {
        Ok((reply, _)) => {
            let is_wanted = retry.on.contains(&reply.status) && !request.accepts.names(reply.status);
            is_wanted.then(|| Again::answered(reply.status, reply.header("retry-after")))
        }
        Err(failure) => {
            let is_safe = match failure.kind.as_str() {
                // Nothing was sent.
                "unreachable" | "refused" => true,
                // The server may have done it: only what is the same twice is sent twice (RFC 9110, 9.2.2).
                "lost" => kind == Kind::Read || matches!(request.method.as_str(), "PUT" | "DELETE"),
                _ => false,
            };
            is_safe.then(|| Again::failed(failure))
        }
    }
}

/// Makes one exchange, and for a read those to which it is redirected.
pub(super) async fn follow(
    request: &Request,
    permit: &Permit<'_>,
    effect: &str,
    kind: Kind,
    mut wire: Wire,
) -> Result<(Reply, Url), Failure> {
    let mut left = MOST_REDIRECTS;
    loop {
        let reply = permit.exchange(effect, &wire).await?;
        let leads = matches!(reply.status, 301 | 302 | 303 | 307 | 308);
        let location = reply.header("location").filter(|_| leads && kind == Kind::Read);
        let Some(location) = location.filter(|_| !request.accepts.names(reply.status)) else {
            return Ok((reply, wire.url));
        };
        let fail = |why: String| {
            let message = format!("{} {}: {why}", request.method, request.name());
            Failure { kind: "redirect".to_owned(), ..invalid(message) }
        };
        if left == 0 {
            return Err(fail(format!("more than {MOST_REDIRECTS} redirects")));
        }
        left -= 1;
        wire = redirected(&wire, reply.status, location).map_err(fail)?;
    }
}

/// Returns the request to which an answer leads (RFC 9110, 15.4).
///
/// To another origin go neither the author's headers nor a body: any of them may be a credential.
fn redirected(wire: &Wire, status: u16, location: &str) -> Result<Wire, String> {
    let mut base = wire.url.clone();
    if let Some(name) = &wire.server_name {
        base.set_host(Some(name)).map_err(|error| error.to_string())?;
    }
    let joined = base.join(location).map_err(|_| "redirected to what is no URL".to_owned())?;
    let mut to =
        url::parse(joined.as_str()).map_err(|error| format!("redirected, but {}", sentence(&error)))?;
    let mut next = wire.clone();
    if status == 303 && next.method != "HEAD" || matches!(status, 301 | 302) && next.method == "POST" {
        "GET".clone_into(&mut next.method);
        next.body = None;
        next.headers.retain(|(name, _)| !name.starts_with("content-"));
    }
    if url::origin(&to) == url::origin(&base) {
        // The name stands for the same address as before.
        let host = wire.url.host_str().map(str::to_owned);
        to.set_host(host.as_deref()).map_err(|error| error.to_string())?;
    } else {
        if next.body.is_some() {
            return Err(format!("redirected with its body to another server, `{}`", url::origin(&to)));
        }
        next.server_name = None;
        next.headers.retain(|(name, _)| name == "accept");
    }
    next.url = to;
    Ok(next)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use zeroize::Zeroizing;

    use super::*;
    use crate::world::http::Trust;

    fn wire(method: &str, url: &str, server_name: Option<&str>) -> Wire {
        let header = |name: &str| (name.to_owned(), Zeroizing::new(b"x".to_vec()));
        Wire {
            method: method.to_owned(),
            url: url.parse().unwrap(),
            headers: ["accept", "authorization", "x-api-key", "content-type"].map(header).to_vec(),
            body: (method != "GET").then(|| Arc::new(Zeroizing::new(b"body".to_vec()))),
            trust: Trust::System,
            server_name: server_name.map(str::to_owned),
            max_bytes: 1,
            deadline: tokio::time::Instant::now(),
            timeout: Duration::from_secs(1),
        }
    }

    fn names(wire: &Wire) -> Vec<&str> {
        wire.headers.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn another_origin_gets_neither_headers_nor_a_body() {
        let own = redirected(&wire("GET", "https://a/x", None), 302, "/y?q=1").unwrap();
        assert_eq!((own.url.as_str(), own.headers.len()), ("https://a/y?q=1", 4));
        for to in ["https://b/", "http://a/", "https://a:8443/", "//b/y"] {
            let other = redirected(&wire("GET", "https://a/x", None), 302, to).unwrap();
            assert_eq!(names(&other), ["accept"], "{to}");
            assert!(redirected(&wire("POST", "https://a/x", None), 307, to).is_err(), "{to}");
        }
        for to in ["ftp://a/", "https://u:p@b/", "http://["] {
            assert!(redirected(&wire("GET", "https://a/x", None), 302, to).is_err(), "{to}");
        }
    }

    #[test]
    fn methods_change_as_rfc_9110_says() {
        for (method, status, expected, has_body) in [
            ("POST", 303, "GET", false),
            ("POST", 302, "GET", false),
            ("POST", 307, "POST", true),
            ("POST", 308, "POST", true),
            ("REPORT", 302, "REPORT", true),
            ("HEAD", 303, "HEAD", true),
        ] {
            let next = redirected(&wire(method, "https://a/x", None), status, "/y").unwrap();
            assert_eq!(
                (next.method.as_str(), next.body.is_some()),
                (expected, has_body),
                "{method} {status}"
            );
        }
    }

    #[test]
    fn a_server_name_stays_with_its_address() {
        let own = redirected(&wire("GET", "https://10.0.0.1/x", Some("a")), 302, "https://a/y").unwrap();
        assert_eq!((own.url.as_str(), own.server_name.as_deref()), ("https://10.0.0.1/y", Some("a")));
        let other =
            redirected(&wire("GET", "https://10.0.0.1/x", Some("a")), 302, "https://10.0.0.1/y").unwrap();
        assert_eq!((other.server_name.as_deref(), names(&other)), (None, vec!["accept"]));
    }
}
