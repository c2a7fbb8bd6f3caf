//! Ansible's filters and tests for texts: regular expressions, formats, paths, numbers.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Value};
use regex::{Captures, Regex, RegexBuilder};
use ring::digest;

use super::value::{Layout, from_json, text, to_json, write_json};

pub(super) fn register(env: &mut Environment<'_>) {
    env.add_filter("to_json", |value: &Value, kwargs: Kwargs| json(value, None, false, kwargs));
    env.add_filter("to_nice_json", |value: &Value, kwargs: Kwargs| json(value, Some(4), true, kwargs));
    env.add_filter("to_yaml", |value: &Value, kwargs: Kwargs| yaml(value, 2, kwargs));
    env.add_filter("to_nice_yaml", |value: &Value, kwargs: Kwargs| yaml(value, 4, kwargs));
    env.add_filter("from_json", |value: String| {
        let tree =
            serde_json::from_str(&value).map_err(|error| invalid(format!("this is not JSON: {error}")))?;
        Ok::<_, Error>(plain(&tree))
    });
    env.add_filter("from_yaml", |value: String| from_yaml(&value));
    env.add_filter("regex_replace", regex_replace);
    env.add_filter("regex_search", regex_search);
    env.add_filter("regex_findall", regex_findall);
    env.add_filter("regex_escape", |value: String| regex_escape(&value));
    env.add_test("match", |value: &Value, pattern: String, kwargs: Kwargs| {
        Ok::<_, Error>(expression(&format!("^(?:{pattern})"), &kwargs)?.is_match(&text(value)))
    });
    for name in ["search", "regex"] {
        env.add_test(name, |value: &Value, pattern: String, kwargs: Kwargs| {
            let pattern = match kwargs.get::<Option<String>>("match_type")?.as_deref() {
                None | Some("search") => pattern,
                Some("match") => format!("^(?:{pattern})"),
                Some("fullmatch") => format!("^(?:{pattern})$"),
                Some(other) => return Err(invalid(format!("`{other}` is no match_type"))),
            };
            Ok::<_, Error>(expression(&pattern, &kwargs)?.is_match(&text(value)))
        });
    }
    env.add_filter("string", text);
    env.add_filter("quote", |value: &Value| quote(&text(value)));
    env.add_filter("b64encode", |value: &Value| STANDARD.encode(text(value)));
    env.add_filter("b64decode", |value: String| {
        let bytes = STANDARD.decode(value.trim()).map_err(|_| invalid("this is not base64"))?;
        String::from_utf8(bytes).map_err(|_| invalid("the decoded bytes are no text"))
    });
    env.add_filter("hash", |value: &Value, kind: Option<String>| {
        hash(&text(value), kind.as_deref().unwrap_or("sha1"))
    });
    env.add_filter("checksum", |value: &Value| hash(&text(value), "sha1"));
    env.add_filter("bool", |value: &Value| match value.kind() {
        ValueKind::None => Value::from(()),
        ValueKind::Bool => value.clone(),
        _ => Value::from(matches!(
            text(value).to_lowercase().as_str(),
            "yes" | "on" | "1" | "true" | "y" | "t"
        )),
    });
    env.add_filter("int", int);
    env.add_filter("float", |value: &Value, default: Option<f64>| {
        match value.kind() {
            ValueKind::Number | ValueKind::Bool => f64::try_from(value.clone()).ok(),
            _ => text(value).trim().parse().ok(),
        }
        .unwrap_or(default.unwrap_or(0.0))
    });
    env.add_filter("basename", |value: String| value.rsplit('/').next().unwrap_or_default().to_owned());
    env.add_filter("dirname", |value: String| match value.rsplit_once('/') {
        // Only slashes: the root itself.
        Some((head, _)) if head.trim_matches('/').is_empty() => "/".repeat(head.len() + 1),
        Some((head, _)) => head.trim_end_matches('/').to_owned(),
        None => String::new(),
    });
    env.add_filter("splitext", |value: String| {
        let start = value.rfind('/').map_or(0, |at| at + 1);
        let name = &value[start..];
        let dots = name.len() - name.trim_start_matches('.').len();
        let dot = name[dots..].rfind('.').map_or(value.len(), |at| start + dots + at);
        vec![value[..dot].to_owned(), value[dot..].to_owned()]
    });
    env.add_filter("type_debug", type_debug);
    env.add_filter("mandatory", |value: &Value, words: Option<String>| {
        if value.is_undefined() {
            return Err(Error::new(
                ErrorKind::UndefinedError,
                words.unwrap_or_else(|| "a mandatory variable is not defined".to_owned()),
            ));
        }
        Ok(value.clone())
    });
    env.add_filter("comment", comment);
    env.add_filter("indent", indent);
    env.add_filter("ansible.builtin.quote", |value: &Value| quote(&text(value)));
    for name in ["password_hash", "vault", "unvault", "random", "shuffle", "fileglob", "to_uuid", "strftime"]
    {
        env.add_filter(name, move |_: &Value, _: Rest<Value>| {
            Err::<Value, _>(invalid(format!(
                "`{name}` is not available in templates, for they depend on their variables only: compute the value in the runbook"
            )))
        });
    }
    for name in ["lookup", "query", "q"] {
        env.add_function(name, move |kind: Option<String>, _: Rest<Value>| {
            let instead = match kind.as_deref() {
                Some("env" | "ansible.builtin.env") => "pass the value as a parameter of the runbook",
                Some("file" | "ansible.builtin.file" | "fileglob") => {
                    "read the file in the runbook and pass its text"
                }
                Some("password" | "vault" | "community.hashi_vault.hashi_vault") => {
                    "use `secret(\"name\")` in the runbook"
                }
                _ => "get the value in the runbook",
            };
            Err::<Value, _>(invalid(format!(
                "`{name}` is not available in templates: {instead}, and give it to the template as a variable"
            )))
        });
    }
}

fn invalid(words: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, words.into())
}

fn plain(tree: &serde_json::Value) -> Value {
    // Text that is parsed here is data: a map that looks like a secret names none.
    from_json(tree, &mut |name| Value::from_pairs([("$secret", name)]))
}

fn json(value: &Value, indent: Option<usize>, sort_keys: bool, kwargs: Kwargs) -> Result<String, Error> {
    let layout = Layout {
        indent: kwargs.get::<Option<usize>>("indent")?.or(indent),
        sort_keys: kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(sort_keys),
        ensure_ascii: kwargs.get::<Option<bool>>("ensure_ascii")?.unwrap_or(true),
    };
    kwargs.assert_all_used()?;
    let mut out = String::new();
    write_json(value, &layout, 0, &mut out)?;
    Ok(out)
}

fn yaml(value: &Value, indent: usize, kwargs: Kwargs) -> Result<String, Error> {
    let indent_step = kwargs.get::<Option<usize>>("indent")?.unwrap_or(indent).clamp(1, 16);
    for ignored in ["default_flow_style", "width", "allow_unicode", "sort_keys", "explicit_start"] {
        kwargs.get::<Option<Value>>(ignored)?;
    }
    kwargs.assert_all_used()?;
    let options = serde_saphyr::ser_options! { indent_step: indent_step, folded_wrap_chars: usize::MAX };
    let tree = to_json(value)?;
    let mut out = serde_saphyr::to_string_with_options(&tree, options)
        .map_err(|error| invalid(format!("this cannot be written as YAML: {error}")))?;
    if !out.ends_with('\n') {
        out.push('\n');
    }
    Ok(out)
}

fn from_yaml(source: &str) -> Result<Value, Error> {
    // YAML 1.2: otherwise `y` would be true, which it is in no YAML that Ansible reads.
    let options = serde_saphyr::options! { strict_booleans: true };
    let tree: serde_json::Value = serde_saphyr::from_str_with_options(source, options).map_err(|error| {
        let line =
            error.location().map(|location| format!(" (line {})", location.line())).unwrap_or_default();
        invalid(format!("this is not YAML{line}"))
    })?;
    Ok(plain(&tree))
}

/// Compiles a pattern; what Python's `re` has beyond it (look-around, references to groups) is refused.
fn expression(pattern: &str, kwargs: &Kwargs) -> Result<Regex, Error> {
    let regex = RegexBuilder::new(pattern)
        .case_insensitive(kwargs.get::<Option<bool>>("ignorecase")?.unwrap_or(false))
        .multi_line(kwargs.get::<Option<bool>>("multiline")?.unwrap_or(false))
        .build()
        .map_err(|error| {
            let last =
                error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            invalid(format!("`{pattern}` is not a regular expression that is understood here: {last}"))
        })?;
    kwargs.assert_all_used()?;
    Ok(regex)
}

fn regex_replace(
    value: &Value,
    pattern: Option<String>,
    with: Option<String>,
    kwargs: Kwargs,
) -> Result<String, Error> {
    let pattern = pattern.or(kwargs.get("pattern")?).unwrap_or_default();
    let with = with.or(kwargs.get("replacement")?).unwrap_or_default();
    let count = kwargs.get::<Option<usize>>("count")?.unwrap_or(0);
    let regex = expression(&pattern, &kwargs)?;
    let subject = text(value);
    Ok(regex.replacen(&subject, count, |found: &Captures| expand(&with, found)).into_owned())
}

/// Fills in `\1`, `\g<1>`, `\g<name>` and the escapes `\n`, `\t`, `\\`.
fn expand(with: &str, found: &Captures) -> String {
    let mut out = String::new();
    let mut rest = with;
    let group = |name: &str| match name.parse::<usize>() {
        Ok(index) => found.get(index),
        Err(_) => found.name(name),
    };
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if let Some((name, after)) = after.strip_prefix("g<").and_then(|named| named.split_once('>')) {
            out.push_str(group(name).map_or("", |part| part.as_str()));
            rest = after;
        } else if digits > 0 {
            let digits = digits.min(2);
            out.push_str(group(&after[..digits]).map_or("", |part| part.as_str()));
            rest = &after[digits..];
        } else {
            let mut letters = after.chars();
            match letters.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('\\') | None => out.push('\\'),
                Some(other) => out.extend(['\\', other]),
            }
            rest = letters.as_str();
        }
    }
    out.push_str(rest);
    out
}

fn regex_search(
    value: &Value,
    pattern: String,
    groups: Rest<String>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let regex = expression(&pattern, &kwargs)?;
    let subject = text(value);
    let Some(found) = regex.captures(&subject) else { return Ok(Value::from(())) };
    if groups.is_empty() {
        return Ok(Value::from(&found[0]));
    }
    Ok(groups.iter().map(|group| expand(group, &found)).collect())
}

fn regex_findall(value: &Value, pattern: String, kwargs: Kwargs) -> Result<Value, Error> {
    let regex = expression(&pattern, &kwargs)?;
    let subject = text(value);
    let part = |found: &Captures, index| Value::from(found.get(index).map_or("", |part| part.as_str()));
    Ok(regex
        .captures_iter(&subject)
        .map(|found| match found.len() {
            1 => part(&found, 0),
            2 => part(&found, 1),
            count => (1..count).map(|index| part(&found, index)).collect(),
        })
        .collect())
}

/// Python's `re.escape`.
fn regex_escape(value: &str) -> String {
    let mut out = String::new();
    for c in value.chars() {
        if "()[]{}?*+-|^$\\.&~# \t\n\r\u{b}\u{c}".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Python's `shlex.quote`.
fn quote(value: &str) -> String {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    if !value.is_empty() && value.chars().all(is_safe) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', "'\"'\"'"))
}

fn hash(value: &str, kind: &str) -> Result<String, Error> {
    let algorithm = match kind {
        "sha1" => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        "sha256" => &digest::SHA256,
        "sha384" => &digest::SHA384,
        "sha512" => &digest::SHA512,
        _ => return Err(invalid(format!("`{kind}` is not available: use sha256, sha384, sha512 or sha1"))),
    };
    let mut out = String::new();
    for byte in digest::digest(algorithm, value.as_bytes()).as_ref() {
        let _ = write!(out, "{byte:02x}");
    }
    Ok(out)
}

fn int(value: &Value, default: Option<Value>, base: Option<u32>, kwargs: Kwargs) -> Result<Value, Error> {
    let base = base.or(kwargs.get("base")?).unwrap_or(10);
    let default = default.or(kwargs.get("default")?).unwrap_or(Value::from(0));
    kwargs.assert_all_used()?;
    if !(2..=36).contains(&base) {
        return Err(invalid(format!("{base} is no base of numbers")));
    }
    Ok(match value.kind() {
        ValueKind::Bool => Value::from(i64::from(value.is_true())),
        ValueKind::Number if value.is_integer() => value.clone(),
        ValueKind::Number => Value::from(f64::try_from(value.clone())?.trunc() as i64),
        _ => {
            let text = text(value).trim().replace('_', "").to_lowercase();
            let prefix = match base {
                2 => "0b",
                8 => "0o",
                16 => "0x",
                _ => "",
            };
            let digits = text.strip_prefix(prefix).unwrap_or(&text);
            let whole = i64::from_str_radix(digits, base).ok();
            let cut = || text.parse::<f64>().ok().filter(|number| number.is_finite() && base == 10);
            whole.or_else(|| cut().map(|number| number.trunc() as i64)).map_or(default, Value::from)
        }
    })
}

fn type_debug(value: &Value) -> &'static str {
    match value.kind() {
        ValueKind::Bool => "bool",
        ValueKind::Number if value.is_integer() => "int",
        ValueKind::Number => "float",
        ValueKind::String => "str",
        ValueKind::Map => "dict",
        ValueKind::Seq | ValueKind::Iterable => "list",
        ValueKind::None => "NoneType",
        _ => "object",
    }
}

/// Jinja2's `indent`, which keeps the line end of the last line; minijinja's drops it.
fn indent(
    value: String,
    width: Option<Value>,
    first: Option<bool>,
    blank: Option<bool>,
    kwargs: Kwargs,
) -> Result<String, Error> {
    const WIDEST: usize = 1_000;
    let width = width.or(kwargs.get("width")?).unwrap_or(Value::from(4));
    let first = first.or(kwargs.get("first")?).unwrap_or(false);
    let blank = blank.or(kwargs.get("blank")?).unwrap_or(false);
    kwargs.assert_all_used()?;
    let indention = match width.as_usize() {
        Some(width) if width <= WIDEST => " ".repeat(width),
        Some(_) => return Err(invalid(format!("an indention of {width} is more than {WIDEST}"))),
        None => text(&width),
    };
    let mut out = String::new();
    for (index, line) in value.split('\n').enumerate() {
        out.push_str(if index == 0 { "" } else { "\n" });
        if (index > 0 && (blank || !line.is_empty())) || (index == 0 && first) {
            out.push_str(&indention);
        }
        out.push_str(line);
    }
    Ok(out)
}

/// Ansible's comments: a style, or an own `decoration`, with an empty line before and after.
fn comment(value: String, style: Option<String>, kwargs: Kwargs) -> Result<String, Error> {
    let (decoration, beginning, end) = match style.as_deref().unwrap_or("plain") {
        "plain" => ("# ", "", ""),
        "erlang" => ("% ", "", ""),
        "c" => ("// ", "", ""),
        "cblock" => (" * ", "/*", " */"),
        "xml" => (" - ", "<!--", "-->"),
        other => {
            return Err(invalid(format!(
                "`{other}` is no style of comments: use plain, erlang, c, cblock or xml"
            )));
        }
    };
    let given = |name: &str, default: &str| {
        Ok::<_, Error>(kwargs.get::<Option<String>>(name)?.unwrap_or_else(|| default.to_owned()))
    };
    let decoration = given("decoration", decoration)?;
    let (beginning, end) = (given("beginning", beginning)?, given("end", end)?);
    let (prefix, postfix) =
        (given("prefix", decoration.trim_end())?, given("postfix", decoration.trim_end())?);
    let prefixes = kwargs.get::<Option<usize>>("prefix_count")?.unwrap_or(1).min(100);
    let postfixes = kwargs.get::<Option<usize>>("postfix_count")?.unwrap_or(1).min(100);
    kwargs.assert_all_used()?;
    let mut lines = Vec::new();
    lines.extend(Some(beginning).filter(|line| !line.is_empty()));
    lines.extend(std::iter::repeat_n(prefix, prefixes));
    lines.extend(value.split('\n').map(|line| format!("{decoration}{line}")));
    lines.extend(std::iter::repeat_n(postfix, postfixes));
    lines.extend(Some(end).filter(|line| !line.is_empty()));
    Ok(lines.join("\n"))
}
