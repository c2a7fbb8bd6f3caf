//! HTTP: `http_get http_read http_ok http_post http_put http_patch http_delete wait_http`.

mod answer;
mod body;
mod cookies;
mod effects;
mod fetch;
mod request;
mod text;
mod wait;

use std::marker::PhantomData;

use rhai::Dynamic;

pub(super) use self::body::files;
pub(super) use self::request::trusted_by;
pub(super) use self::text::Text;

use self::answer::Answer;
use self::effects::{Ask, Delete, Get, Look, Patch, Post, Put, ReadBy, Verb};
use self::request::Request;
use self::wait::wait_http;
use crate::bindings::{Binding, Call, Function, Outcome, Raise};
use crate::gate::Answered;
use crate::gate::permit::invalid;
use crate::model::effect::Kind;
use crate::model::event::Verdict;
use crate::model::signature::{Opt, Param, Performs, Signature, Touches, Type};

/// Asks, and gives the script the answer.
fn ask<V: Verb>(call: &mut Call<'_>, method: &str, url: usize) -> Result<Dynamic, Raise> {
    let request = Request::read(call, method, url)?;
    let expect = expectation(call, &request)?;
    let effect = Ask::<V> { request, expect, verb: PhantomData };
    let (answer, verdict) = match call.session.perform(Some(call.site.clone()), &effect)? {
        Answered::Known(answer, verdict) => (answer, verdict),
        Answered::Unplanned => return Ok(Outcome::unplanned(V::NAME, call.site.clone()).into()),
    };
    let redactor = &call.session.gate().redactor;
    let redact = |text: &str| redactor.text(text).into_owned();
    answer.outcome(&effect.request, &redact, verdict == Verdict::Changed).map(Dynamic::from)
}

fn http_get(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    ask::<Get>(call, "GET", 0)
}

fn http_read(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let method = call.string(0)?.to_ascii_uppercase();
    if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-') {
        return Err(call.wrong(0, "a method such as \"POST\"", &call.value(0)));
    }
    if matches!(method.as_str(), "CONNECT" | "TRACE") {
        return Err(invalid(format!("`http_read` does not send `{method}`")).into());
    }
    ask::<ReadBy>(call, &method, 1)
}

fn http_post(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    ask::<Post>(call, "POST", 0)
}

fn http_put(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    ask::<Put>(call, "PUT", 0)
}

fn http_patch(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    ask::<Patch>(call, "PATCH", 0)
}

fn http_delete(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    ask::<Delete>(call, "DELETE", 0)
}

fn http_ok(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let request = Request::read(call, "GET", 0)?;
    Ok(call.perform(&Look { request, only: "ok" })?.ok.into())
}

/// Reads `expect: #{ status: 201, json: #{ … } }`: what plan mode may assume.
fn expectation(call: &Call<'_>, request: &Request) -> Result<Option<Answer>, Raise> {
    let Some(value) = call.option("expect") else { return Ok(None) };
    let wrong = || call.wrong_option("expect", "a map such as #{ status: 201, json: #{ id: 1 } }", &value);
    let map = value.clone().try_cast::<rhai::Map>().ok_or_else(wrong)?;
    let mut status = 200;
    let mut data = Vec::new();
    for (key, value) in &map {
        match key.as_str() {
            "status" => {
                let number = value.as_int().ok().and_then(|number| u16::try_from(number).ok());
                status = number.filter(|number| (100..600).contains(number)).ok_or_else(wrong)?;
            }
            "json" => data = crate::bindings::json(value)?.to_string().into_bytes(),
            "body" => data = value.clone().into_string().map_err(|_| wrong())?.into_bytes(),
            _ => return Err(wrong()),
        }
    }
    Ok(Some(Answer::assumed(status, request.name(), data)))
}

const URL: Param = Param { name: "url", ty: Type::String, optional: false };

const HEADERS: Opt = Opt {
    name: "headers",
    ty: Type::Map,
    doc: "Headers: texts or secrets; an array sends its name several times.",
};
const QUERY: Opt = Opt { name: "query", ty: Type::Map, doc: "Added to the URL's query: texts or secrets." };
const BEARER: Opt = Opt { name: "bearer", ty: Type::Secret, doc: "A token for `Authorization: Bearer`." };
const BASIC: Opt = Opt {
    name: "basic",
    ty: Type::Array,
    doc: "A user and a secret for `Authorization: Basic`: `[\"op\", secret(\"api\")]`.",
};
const JSON: Opt =
    Opt { name: "json", ty: Type::Any, doc: "A body in JSON; secrets may stand anywhere in it." };
const FORM: Opt = Opt { name: "form", ty: Type::Map, doc: "A body as a form: texts or secrets." };
const MULTIPART: Opt = Opt {
    name: "multipart",
    ty: Type::Map,
    doc: "A body in parts: texts, secrets, `#{ file: \"path in the project\" }` or `#{ content: …, name: …, type: … }`.",
};
const BODY: Opt = Opt { name: "body", ty: Type::Content, doc: "A body as it is: text, bytes or a secret." };
const OK: Opt = Opt {
    name: "ok",
    ty: Type::Any,
    doc: "Statuses that are no failure: one, an array of them, or \"any\"; 200 to 299 by default.",
};
const TIMEOUT: Opt = Opt {
    name: "timeout",
    ty: Type::Duration,
    doc: "How long it may take with every try, pause and redirect; 60 s by default. A connection gets 10 s.",
};
const MAX_BYTES: Opt = Opt {
    name: "max_bytes",
    ty: Type::Int,
    doc: "Bytes of the answer's body, unpacked; a longer one is a failure. 4 MiB by default.",
};
const CA: Opt = Opt {
    name: "ca",
    ty: Type::String,
    doc: "The only authorities to trust, in PEM: a file of the project, or the text itself.",
};
const PIN: Opt = Opt {
    name: "pin",
    ty: Type::String,
    doc: "The SHA-256 of the one certificate to accept, in hex, also where nobody signed it.",
};
const SNI: Opt = Opt {
    name: "sni",
    ty: Type::String,
    doc: "The name for TLS and the `Host` header, where the URL has only an address.",
};
const RETRY: Opt = Opt {
    name: "retry",
    ty: Type::Any,
    doc: "How many tries at most, or `#{ times: 3, delay: \"1s\", on: [429, 502, 503, 504] }`; one try by default.",
};
const SECRETS: Opt = Opt {
    name: "secrets",
    ty: Type::Array,
    doc: "JSON pointers to what is secret in the answer: `[\"/token\"]`; it is not recorded and comes as a secret.",
};
const BYTES: Opt = Opt {
    name: "bytes",
    ty: Type::Bool,
    doc: "`true` gives `.body` as bytes, for `artifact` and `file_put`: a backup, an image, a package.",
};
const COOKIES: Opt = Opt {
    name: "cookies",
    ty: Type::Bool,
    doc: "`true` gives `.cookies`: a secret to send as the header `cookie` next time, of what was sent and what the answer set. A login that \
          answers with a redirect is taken by `ok: 302`.",
};
const EXPECT: Opt = Opt {
    name: "expect",
    ty: Type::Map,
    doc: "What plan mode may assume of the answer: `#{ status: 201, json: #{ … } }`, or `body` instead of `json`.",
};
const PATIENCE: Opt =
    Opt { name: "timeout", ty: Type::Duration, doc: "How long to wait; 10 min by default." };
const CONTAINS: Opt = Opt { name: "contains", ty: Type::String, doc: "A text that the answer must hold." };

const GET: &[Opt] =
    &[HEADERS, QUERY, BEARER, BASIC, OK, TIMEOUT, MAX_BYTES, CA, PIN, SNI, RETRY, SECRETS, BYTES, COOKIES];
const READ: &[Opt] = &[
    HEADERS, QUERY, BEARER, BASIC, JSON, FORM, MULTIPART, BODY, OK, TIMEOUT, MAX_BYTES, CA, PIN, SNI, RETRY,
    SECRETS, BYTES, COOKIES,
];
const ACT: &[Opt] = &[
    HEADERS, QUERY, BEARER, BASIC, JSON, FORM, MULTIPART, BODY, OK, TIMEOUT, MAX_BYTES, CA, PIN, SNI, RETRY,
    SECRETS, BYTES, COOKIES, EXPECT,
];
const LOOK: &[Opt] = &[HEADERS, QUERY, BEARER, BASIC, OK, TIMEOUT, MAX_BYTES, CA, PIN, SNI, RETRY];
const WAIT: &[Opt] = &[PATIENCE, OK, CONTAINS, HEADERS, QUERY, BEARER, BASIC, MAX_BYTES, CA, PIN, SNI];

const RETURNS: &str = "An outcome `.ok .status .headers .body .json .ms .url .attempts .changed`; header names are in \
                       lower case, and `.json` is `()` where the body is no object and no array.";

const fn performs(effect: &'static str, kind: Kind, url: u8) -> Performs {
    Performs { effect, kind, touches: Touches::Text(url) }
}

/// Requests to servers.
pub const BINDING: Binding = Binding {
    area: "http",
    doc: "Requests to servers, over HTTP and HTTPS.",
    functions: &[
        function!(
            http_get,
            &[URL],
            GET,
            Some(performs("http.get", Kind::Read, 0)),
            RETURNS,
            "Asks a server with `GET`; plan mode does, too.\n\nNo answer is a failure `unreachable`, `refused`, `tls` \
             (with `.cause`), `timed_out`, `too_large`, `lost` or `protocol`, and an unexpected one is a failure `status` \
             (with `.status .body`). Redirects are followed, at most five, where `NEEDS` covers the new URL; another \
             server gets none of the headers. A grant names URLs without their query: `http.get:https://api.example.com/v1/**`.",
            r#"try {
    let answer = http_get("http://localhost:9/v1/status", #{ query: #{ verbose: 1 }, timeout: "2s" });
    print(answer.json.version);
} catch (e) { print(`${e.kind}: ${e.message}`) }"#
        ),
        function!(
            http_read,
            &[Param { name: "method", ty: Type::String, optional: false }, URL],
            READ,
            Some(performs("http.read", Kind::Read, 1)),
            RETURNS,
            "Asks with another method that changes nothing, as its author says: a search by `POST`, a login, a `HEAD`.\
             \n\nPlan mode does it, too, and a resumed run may do it again. A login belongs here: what it answers is \
             asked for again when a run is resumed, while a secret that an act answered is lost with the run.",
            r#"try {
    let login = #{ user: "op", password: secret("db/root") };
    let token = http_read("POST", "http://localhost:9/login", #{ json: login, secrets: ["/token"] }).json.token;
    print(http_get("http://localhost:9/me", #{ bearer: token }).json.name);
    let session = http_read("POST", "http://localhost:9/form", #{ form: login, cookies: true, ok: 302 }).cookies;
    artifact("backup.tgz", http_get("http://localhost:9/backup", #{ headers: #{ cookie: session }, bytes: true }).body);
} catch (e) { print(e.message) }"#
        ),
        function!(
            http_ok,
            &[URL],
            LOOK,
            Some(performs("http.get", Kind::Read, 0)),
            "`true` or `false`.",
            "Whether a server gives a right answer to `GET`; every other answer, and none, is `false`.",
            r#"if !http_ok("http://localhost:9/health", #{ timeout: "2s" }) { warn("the service is down") }"#
        ),
        function!(
            http_post,
            &[URL],
            ACT,
            Some(performs("http.post", Kind::Act, 0)),
            RETURNS,
            "Sends a `POST`; plan mode only lists it.\n\nIt is sent once unless `retry` says otherwise, and even then not \
             again where the connection was lost after sending. Redirects are not followed.",
            r#"http_post("https://api.example.com/v1/hosts", #{
    json: #{ name: "edge-1", key: secret("db/root") }, bearer: secret("db/root"), expect: #{ status: 201 },
});"#
        ),
        function!(
            http_put,
            &[URL],
            ACT,
            Some(performs("http.put", Kind::Act, 0)),
            RETURNS,
            "Sends a `PUT`; plan mode only lists it.",
            r#"http_put("https://api.example.com/v1/hosts/edge-1", #{ json: #{ enabled: true } });"#
        ),
        function!(
            http_patch,
            &[URL],
            ACT,
            Some(performs("http.patch", Kind::Act, 0)),
            RETURNS,
            "Sends a `PATCH`; plan mode only lists it.",
            r#"http_patch("https://api.example.com/v1/hosts/edge-1", #{ json: #{ enabled: false } });"#
        ),
        function!(
            http_delete,
            &[URL],
            ACT,
            Some(performs("http.delete", Kind::Act, 0)),
            RETURNS,
            "Sends a `DELETE`; plan mode only lists it.",
            r#"http_delete("https://api.example.com/v1/hosts/edge-1", #{ ok: [200, 202, 204, 404] });"#
        ),
        function!(
            wait_http,
            &[URL],
            WAIT,
            Some(performs("http.wait", Kind::Read, 0)),
            "An outcome `.ok .seconds .status`; a server that does not get there is a failure `timed_out`.",
            "Waits until a server gives a right answer to `GET`; 10 min by default.\n\nA server that is not trusted (`tls`) \
             fails at once. Plan mode looks once.",
            r#"try { wait_http("http://localhost:9/health", #{ timeout: "2s", contains: "ready" }) } catch (e) { print(e.kind) }"#
        ),
    ],
};
