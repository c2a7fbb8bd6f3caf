//! The methods of Python's strings, lists and dicts that templates call.

use minijinja::value::{Kwargs, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State, Value};

use super::value::{items, pairs, text};

/// Answers a method call that minijinja does not know.
pub(super) fn call(_: &mut State, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::String => of_string(value.as_str().unwrap_or_default(), method, args),
        ValueKind::Map => of_map(value, method, args),
        ValueKind::Seq | ValueKind::Iterable => of_list(value, method, args),
        _ => Err(unknown()),
    }
}

fn unknown() -> Error {
    Error::from(ErrorKind::UnknownMethod)
}

fn invalid(words: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, words.into())
}

fn of_string(subject: &str, method: &str, args: &[Value]) -> Result<Value, Error> {
    let none = || from_args::<()>(args);
    Ok(match method {
        "upper" => none().map(|()| subject.to_uppercase().into())?,
        "lower" => none().map(|()| subject.to_lowercase().into())?,
        "title" => none().map(|()| title(subject).into())?,
        "capitalize" => none().map(|()| {
            let mut letters = subject.chars();
            letters
                .next()
                .map_or(String::new(), |c| {
                    c.to_uppercase().chain(letters.flat_map(char::to_lowercase)).collect()
                })
                .into()
        })?,
        "isdigit" => none().map(|()| all(subject, char::is_numeric))?,
        "isalpha" => none().map(|()| all(subject, char::is_alphabetic))?,
        "isalnum" => none().map(|()| all(subject, char::is_alphanumeric))?,
        "isspace" => none().map(|()| all(subject, char::is_whitespace))?,
        "isupper" => none()
            .map(|()| Value::from(subject.to_uppercase() == subject && subject.to_lowercase() != subject))?,
        "islower" => none()
            .map(|()| Value::from(subject.to_lowercase() == subject && subject.to_uppercase() != subject))?,
        "strip" | "lstrip" | "rstrip" => {
            let (set,): (Option<String>,) = from_args(args)?;
            let strips = |c: char| set.as_ref().map_or(c.is_whitespace(), |set| set.contains(c));
            let start = if method == "rstrip" { subject } else { subject.trim_start_matches(strips) };
            Value::from(if method == "lstrip" { start } else { start.trim_end_matches(strips) })
        }
        "split" | "rsplit" => {
            let (separator, most, kwargs): (Option<String>, Option<i64>, Kwargs) = from_args(args)?;
            let separator = separator.or(kwargs.get("sep")?);
            let most = most.or(kwargs.get("maxsplit")?).and_then(|most| usize::try_from(most).ok());
            kwargs.assert_all_used()?;
            Value::from(split(subject, separator.as_deref(), most, method == "rsplit")?)
        }
        "splitlines" => none().map(|()| subject.lines().map(Value::from).collect())?,
        "partition" | "rpartition" => {
            let (separator,): (String,) = from_args(args)?;
            let found = if method == "partition" {
                subject.split_once(&separator)
            } else {
                subject.rsplit_once(&separator)
            };
            match (found, method) {
                (Some((before, after)), _) => [before, &separator, after].into_iter().collect(),
                (None, "partition") => [subject, "", ""].into_iter().collect(),
                (None, _) => ["", "", subject].into_iter().collect(),
            }
        }
        "replace" => {
            let (old, new, count): (String, String, Option<usize>) = from_args(args)?;
            Value::from(
                count
                    .map_or_else(|| subject.replace(&old, &new), |count| subject.replacen(&old, &new, count)),
            )
        }
        "startswith" | "endswith" => {
            let (what,): (Value,) = from_args(args)?;
            let options = if what.kind() == ValueKind::String { vec![what] } else { items(&what)? };
            let fits = |option: &Value| {
                let option = text(option);
                if method == "startswith" { subject.starts_with(&option) } else { subject.ends_with(&option) }
            };
            Value::from(options.iter().any(fits))
        }
        "removeprefix" => {
            from_args(args).map(|(end,): (&str,)| subject.strip_prefix(end).unwrap_or(subject).into())?
        }
        "removesuffix" => {
            from_args(args).map(|(end,): (&str,)| subject.strip_suffix(end).unwrap_or(subject).into())?
        }
        "find" | "index" | "rfind" => {
            let (what,): (&str,) = from_args(args)?;
            let found = if method == "rfind" { subject.rfind(what) } else { subject.find(what) };
            match found.map(|at| subject[..at].chars().count()) {
                Some(at) => Value::from(at),
                None if method == "index" => return Err(invalid(format!("`{what}` is not in the text"))),
                None => Value::from(-1),
            }
        }
        "count" => from_args(args).map(|(what,): (&str,)| subject.matches(what).count().into())?,
        "join" => {
            let (list,): (Value,) = from_args(args)?;
            Value::from(list.try_iter()?.map(|item| text(&item)).collect::<Vec<_>>().join(subject))
        }
        "zfill" | "ljust" | "rjust" | "center" => {
            let (width, fill): (usize, Option<char>) = from_args(args)?;
            pad(subject, method, width, fill.unwrap_or(if method == "zfill" { '0' } else { ' ' }))?
        }
        "format" => format(subject, args)?,
        _ => return Err(unknown()),
    })
}

fn all(subject: &str, is: fn(char) -> bool) -> Value {
    Value::from(!subject.is_empty() && subject.chars().all(is))
}

fn title(subject: &str) -> String {
    let mut after_letter = false;
    subject
        .chars()
        .flat_map(|c| {
            let cased: Vec<char> =
                if after_letter { c.to_lowercase().collect() } else { c.to_uppercase().collect() };
            after_letter = c.is_alphabetic();
            cased
        })
        .collect()
}

fn split(
    subject: &str,
    separator: Option<&str>,
    most: Option<usize>,
    from_end: bool,
) -> Result<Vec<String>, Error> {
    if separator == Some("") {
        return Err(invalid("the separator of `split` is empty"));
    }
    let most = most.unwrap_or(usize::MAX);
    let mut parts = Vec::new();
    let mut rest = if separator.is_none() { subject.trim() } else { subject };
    while parts.len() < most {
        let found = match (separator, from_end) {
            (Some(separator), false) => rest.split_once(separator),
            (Some(separator), true) => rest.rsplit_once(separator),
            (None, false) => rest.split_once(char::is_whitespace),
            (None, true) => rest.rsplit_once(char::is_whitespace),
        };
        let Some((before, after)) = found else { break };
        let (part, next) = if from_end { (after, before) } else { (before, after) };
        parts.push(part.to_owned());
        rest = if separator.is_none() { next.trim() } else { next };
    }
    if separator.is_some() || !rest.is_empty() {
        parts.push(rest.to_owned());
    }
    if from_end {
        parts.reverse();
    }
    Ok(parts)
}

fn pad(subject: &str, method: &str, width: usize, fill: char) -> Result<Value, Error> {
    const WIDEST: usize = 10_000;
    if width > WIDEST {
        return Err(invalid(format!("a width of {width} is more than {WIDEST}")));
    }
    let missing = width.saturating_sub(subject.chars().count());
    let fill = |count: usize| fill.to_string().repeat(count);
    Ok(Value::from(match method {
        "ljust" => format!("{subject}{}", fill(missing)),
        "center" => {
            // CPython gives the odd blank to the left only when the width is odd.
            let left = missing / 2 + (missing & width & 1);
            format!("{}{subject}{}", fill(left), fill(missing - left))
        }
        "zfill" => match subject.strip_prefix(['-', '+']) {
            Some(digits) => format!("{}{}{digits}", &subject[..1], fill(missing)),
            None => format!("{}{subject}", fill(missing)),
        },
        _ => format!("{}{subject}", fill(missing)),
    }))
}

/// `str.format` with `{}`, `{0}` and `{name}`; format specifications are refused.
fn format(subject: &str, args: &[Value]) -> Result<Value, Error> {
    let (args, kwargs): (minijinja::value::Rest<Value>, Kwargs) = from_args(args)?;
    let (mut out, mut rest, mut next) = (String::new(), subject, 0);
    while let Some(at) = rest.find(['{', '}']) {
        out.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            out.push_str(brace);
            rest = after;
            continue;
        }
        let field = rest.split_once('}').filter(|_| brace == "{");
        let (field, after) = field.ok_or_else(|| invalid("a single brace in the text of `format`"))?;
        rest = after;
        let value = match (field, field.parse::<usize>()) {
            ("", _) => {
                next += 1;
                args.get(next - 1).cloned()
            }
            (_, Ok(index)) => args.get(index).cloned(),
            (name, Err(_)) if name.contains([':', '!', '.', '[']) => {
                return Err(invalid(format!(
                    "`{{{name}}}` in `format`: use `{{}}` and format with `%` instead"
                )));
            }
            (name, Err(_)) => kwargs.get::<Option<Value>>(name)?,
        };
        out.push_str(&text(
            &value.ok_or_else(|| invalid(format!("`{{{field}}}` in `format` has no value")))?,
        ));
    }
    out.push_str(rest);
    Ok(Value::from(out))
}

fn of_map(value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    Ok(match method {
        "items" => {
            from_args::<()>(args)?;
            pairs(value)?.into_iter().map(|(key, item)| Value::from(vec![key, item])).collect()
        }
        "keys" => from_args::<()>(args)
            .and_then(|()| Ok(pairs(value)?.into_iter().map(|(key, _)| key).collect()))?,
        "values" => from_args::<()>(args)
            .and_then(|()| Ok(pairs(value)?.into_iter().map(|(_, item)| item).collect()))?,
        "get" => {
            let (key, default): (Value, Option<Value>) = from_args(args)?;
            match value.get_item(&key)? {
                found if found.is_undefined() => default.unwrap_or(Value::from(())),
                found => found,
            }
        }
        "copy" => from_args::<()>(args).map(|()| value.clone())?,
        _ => return Err(unknown()),
    })
}

fn of_list(value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    let list = items(value)?;
    Ok(match method {
        "count" => from_args(args)
            .map(|(what,): (Value,)| list.iter().filter(|item| **item == what).count().into())?,
        "index" => {
            let (what,): (Value,) = from_args(args)?;
            let at = list.iter().position(|item| *item == what);
            Value::from(
                at.ok_or_else(|| invalid(format!("{} is not in the list", super::value::python(&what))))?,
            )
        }
        "copy" => from_args::<()>(args).map(|()| value.clone())?,
        "append" | "extend" | "insert" | "pop" | "remove" | "sort" => {
            return Err(invalid(format!(
                "lists do not change here: instead of `.{method}`, set a new one (`list + [item]`) in a namespace"
            )));
        }
        _ => return Err(unknown()),
    })
}
