//! Fills templates: the frame of every page, and how times, statuses and sizes are written.

use std::sync::LazyLock;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use minijinja::{Environment, Value};
use serde_json::json;

use crate::model::duration;
use crate::model::role::{Caller, Role};
use crate::server::page::assets;
use crate::server::problem::Failure;

const TEMPLATES: [(&str, &str); 28] = [
    ("layout.html", include_str!("templates/layout.html")),
    ("parts.html", include_str!("templates/parts.html")),
    ("runs.html", include_str!("templates/runs.html")),
    ("run.html", include_str!("templates/run.html")),
    ("run_frame.html", include_str!("templates/run_frame.html")),
    ("plan.html", include_str!("templates/plan.html")),
    ("changes.html", include_str!("templates/changes.html")),
    ("source.html", include_str!("templates/source.html")),
    ("runbooks.html", include_str!("templates/runbooks.html")),
    ("runbook.html", include_str!("templates/runbook.html")),
    ("field.html", include_str!("templates/field.html")),
    ("trend.html", include_str!("templates/trend.html")),
    ("schedules.html", include_str!("templates/schedules.html")),
    ("schedule.html", include_str!("templates/schedule.html")),
    ("calendar.html", include_str!("templates/calendar.html")),
    ("inventory.html", include_str!("templates/inventory.html")),
    ("host.html", include_str!("templates/host.html")),
    ("queue.html", include_str!("templates/queue.html")),
    ("audit.html", include_str!("templates/audit.html")),
    ("editor.html", include_str!("templates/editor.html")),
    ("project.html", include_str!("templates/project.html")),
    ("access.html", include_str!("templates/access.html")),
    ("users.html", include_str!("templates/users.html")),
    ("user.html", include_str!("templates/user.html")),
    ("tokens.html", include_str!("templates/tokens.html")),
    ("roles.html", include_str!("templates/roles.html")),
    ("login.html", include_str!("templates/login.html")),
    ("problem.html", include_str!("templates/problem.html")),
];

static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(minijinja::UndefinedBehavior::SemiStrict);
    let syntax = minijinja::syntax::SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    engine.set_syntax(syntax.expect("only how blanks are kept is set"));
    for (name, text) in TEMPLATES {
        engine
            .add_template(name, text)
            .expect("a template of the page is right: a test renders each of them");
    }
    engine.add_filter("when", when);
    engine.add_filter("iso", iso);
    engine.add_filter("took", took);
    engine.add_filter("bytes", bytes);
    engine.add_filter("words", |text: &str| text.replace('_', " "));
    engine.add_filter("mark", |status: &str| mark(status));
    engine.add_filter("short", short);
    engine.add_filter("path", |text: &str| text.split('/').map(escaped).collect::<Vec<_>>().join("/"));
    engine.add_filter("segment", escaped);
    engine.add_global("assets", assets::folder());
    engine.add_global("version", env!("CARGO_PKG_VERSION"));
    engine
});

/// A page before it has its frame: what the handler knows.
#[derive(Debug, Clone)]
struct Content {
    template: &'static str,
    values: serde_json::Value,
}

/// Returns a page; [`framed`] renders it.
pub(in crate::server) fn page(template: &'static str, values: serde_json::Value) -> Response {
    put(Response::default(), template, values)
}

/// Makes a page the body of an answer, whose status and headers stay.
pub(in crate::server) fn put(
    mut answer: Response,
    template: &'static str,
    values: serde_json::Value,
) -> Response {
    answer.extensions_mut().insert(Content { template, values });
    answer
}

/// Whether an answer is a page that has no frame yet.
pub(super) fn is_page(answer: &Response) -> bool {
    answer.extensions().get::<Content>().is_some()
}

/// Renders a page in its frame; what is no page stays as it is.
///
/// `csrf` is what its forms and scripts show with every request that changes something; empty where there is no session.
pub(super) fn framed(answer: Response, caller: Option<&Caller>, csrf: &str) -> Response {
    let (mut parts, body) = answer.into_parts();
    let Some(Content { template, values }) = parts.extensions.remove() else {
        return Response::from_parts(parts, body);
    };
    let may = |least: Role| caller.is_some_and(|caller| caller.role >= least);
    let mut frame = json!({
        "who": caller.map(Caller::name),
        "role": caller.map(|caller| caller.role.as_str()),
        "may_run": may(Role::Operator),
        "may_edit": may(Role::Editor),
        "is_admin": may(Role::Admin),
        "csrf": csrf,
    });
    if let (Some(frame), serde_json::Value::Object(values)) = (frame.as_object_mut(), values) {
        frame.extend(values);
    }
    let text = ENGINE.get_template(template).and_then(|template| template.render(value_of(&frame)));
    match text {
        Ok(text) => {
            parts.headers.remove(header::CONTENT_LENGTH);
            parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
            Response::from_parts(parts, text.into())
        }
        Err(error) => {
            tracing::error!(error = %format!("{error:#}"), template, "a page cannot be rendered");
            Failure::broken().into_response()
        }
    }
}

/// Makes a value of a template of JSON.
fn value_of(json: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::from(()),
        Json::Bool(flag) => Value::from(*flag),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::from(number),
            None => Value::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::from(text),
        Json::Array(items) => items.iter().map(value_of).collect(),
        Json::Object(map) => {
            Value::from_pairs(map.iter().map(|(key, item)| (Value::from(key), value_of(item))))
        }
    }
}

/// Writes JSON so that people can read it: a text as it is, the rest over several lines where it is long.
pub(super) fn pretty(json: &serde_json::Value) -> String {
    let short = match json {
        serde_json::Value::String(text) => return text.clone(),
        other => other.to_string(),
    };
    if short.len() <= 100 { short } else { serde_json::to_string_pretty(json).unwrap_or(short) }
}

/// Writes a time, microseconds since 1970 or RFC 3339, as an element that a script turns into the reader's own; without scripts it is UTC.
fn when(at: Value) -> Value {
    let time = match at.as_str() {
        Some(text) => text.parse().ok(),
        None => i64::try_from(at).ok().and_then(|at| Timestamp::from_microsecond(at).ok()),
    };
    let Some(time) = time else {
        return Value::from_safe_string("<span class=\"none\">–</span>".to_owned());
    };
    let (iso, shown) = (time.strftime("%Y-%m-%dT%H:%M:%SZ"), time.strftime("%Y-%m-%d %H:%M:%S"));
    Value::from_safe_string(format!("<time datetime=\"{iso}\">{shown} UTC</time>"))
}

fn iso(at: i64) -> String {
    Timestamp::from_microsecond(at).map(|time| time.to_string()).unwrap_or_default()
}

/// Writes milliseconds as people say them: `850 ms`, `12.4 s`, `3m20s`.
fn took(ms: Value) -> String {
    let Some(ms) = i64::try_from(ms).ok().and_then(|ms| u64::try_from(ms).ok()) else {
        return "–".to_owned();
    };
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => duration::text(std::time::Duration::from_secs(ms / 1000)),
    }
}

/// Writes a number of bytes: `12 B`, `3.4 KiB`, `1.2 MiB`.
fn bytes(count: u64) -> String {
    let (mut size, mut unit) = (count as f64, "B");
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if size < 1024.0 {
            break;
        }
        (size, unit) = (size / 1024.0, next);
    }
    if unit == "B" { format!("{count} B") } else { format!("{size:.1} {unit}") }
}

/// Returns the shape that stands beside the word of a status or verdict, so that colour is never the only sign.
fn mark(status: &str) -> &'static str {
    match status {
        "done" | "ok" | "run" => "✓",
        "waiting" => "○",
        "ignored" => "↷",
        "changed" => "±",
        "failed" | "timed_out" | "denied" => "✕",
        "unreachable" => "⌁",
        "partial" => "◐",
        "stopped" => "■",
        "cancelled" => "⊘",
        "in_doubt" => "?",
        "interrupted" => "‖",
        "running" => "▶",
        "queued" | "coming" => "○",
        "skipped" | "skipped_overlap" | "skipped_success" => "↷",
        "missed" | "stale" => "!",
        "paused" => "‖",
        "blocked_calendar" | "deferred" => "⊟",
        _ => "·",
    }
}

/// Takes folder and ending off a runbook's path.
fn short(path: &str) -> String {
    path.trim_start_matches("runbooks/").trim_end_matches(".rhai").to_owned()
}

/// Writes a text as one segment of an address (RFC 3986, section 3.3).
fn escaped(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            written.push(char::from(byte));
        } else {
            written.push_str(&format!("%{byte:02X}"));
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_sizes_and_names_are_written_for_people() {
        let texts: Vec<String> = [0, 850, 12_400, 200_000].map(|ms: i64| took(ms.into())).into();
        assert_eq!(texts, ["0 ms", "850 ms", "12.4 s", "3m20s"]);
        assert_eq!([12, 3500, 1 << 21].map(bytes), ["12 B", "3.4 KiB", "2.0 MiB"]);
        assert_eq!(escaped("a b/ü"), "a%20b%2F%C3%BC");
        assert_eq!(short("runbooks/certs/sync.rhai"), "certs/sync");
        assert_eq!(took(Value::from(())), "–");
        assert_eq!(when("1970-01-01T00:00:00Z".into()).to_string(), when(0_i64.into()).to_string());
        assert_eq!(
            when(0_i64.into()).to_string(),
            "<time datetime=\"1970-01-01T00:00:00Z\">1970-01-01 00:00:00 UTC</time>"
        );
    }

    #[test]
    fn what_scripts_and_people_write_is_shown_as_text() {
        let template = ENGINE.template_from_named_str("x.html", "{{ a }} {{ b|path }}").unwrap();
        let text = template.render(value_of(&json!({ "a": "<b>&\"'", "b": "<i>/x" }))).unwrap();
        assert_eq!(text, "&lt;b&gt;&amp;&quot;&#x27; %3Ci%3E&#x2f;x");
    }
}
