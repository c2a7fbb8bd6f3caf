//! Templates with Jinja2 syntax (minijinja), and the filters that Ansible users expect.
//!
//! Rendering is pure and bounded. Output looks as Ansible's does: `True`, `None` as nothing, lists and dicts as Python
//! prints them. What `~` joins keeps minijinja's spelling (`true`).

mod address;
mod data;
mod methods;
mod text;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Enumerator, Object, ValueKind};
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value, escape_formatter};
use zeroize::Zeroizing;

use crate::model::secret::Secret;

/// Steps of the template engine: a loop of a million rounds fits, an endless one does not.
const FUEL: u64 = 20_000_000;

/// The most bytes that a template may become.
const MOST_OUTPUT: usize = 64 * 1024 * 1024;

/// Why a template did not render, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{template}:{line}: {reason}")]
pub struct Error {
    /// The template's name.
    pub template: String,
    /// The line, from 1 on.
    pub line: usize,
    /// The columns in the line, from 0 on in characters, where they are known.
    pub columns: Option<Range<usize>>,
    /// What is wrong.
    pub reason: Reason,
}

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// A variable or attribute that does not exist.
    #[error("`{name}` is not defined")]
    Undefined {
        /// The expression, as far as it is known (`user.nmae`).
        name: String,
        /// A known name that looks like it.
        nearest: Option<String>,
    },
    /// The text is not a template.
    #[error("{0}")]
    Syntax(String),
    /// A filter, test or method failed or does not exist.
    #[error("{0}")]
    Failed(String),
    /// A loop that goes on for too long.
    #[error("the template takes more than {FUEL} steps")]
    Endless,
    /// The text becomes too large.
    #[error("the template renders to more than {MOST_OUTPUT} bytes")]
    TooLarge,
}

impl Error {
    /// Returns what to do about it.
    pub fn hint(&self) -> Option<String> {
        match &self.reason {
            Reason::Undefined { nearest: Some(nearest), .. } => Some(format!("did you mean `{nearest}`?")),
            Reason::Failed(words) if words.contains("% operator on unsupported types string") => {
                Some("write `\"…\" | format(…)` instead of `\"…\" % …`".to_owned())
            }
            Reason::Undefined { .. } => Some("give it a value, or write `| default(…)`".to_owned()),
            _ => None,
        }
    }
}

/// A rendered text that may hold secrets.
pub struct Rendered {
    /// The text; it is wiped when dropped.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Whether a variable with a secret was read, so that the text must not be shown or recorded unredacted.
    pub has_secrets: bool,
}

impl fmt::Debug for Rendered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rendered({} bytes)", self.bytes.len())
    }
}

/// Renders a template with the variables of a JSON object; using a secret is an error.
pub fn render(name: &str, source: &str, vars: &serde_json::Value) -> Result<String, Error> {
    let rendered = render_with_secrets(name, source, vars, &BTreeMap::new())?;
    Ok(String::from_utf8_lossy(&rendered.bytes).into_owned())
}

/// Renders a template in which variables may be secrets: those of `secrets` by the variable's name, and any
/// `{"$secret": "name"}` inside `vars` by the secret's own name.
pub fn render_with_secrets(
    name: &str,
    source: &str,
    vars: &serde_json::Value,
    secrets: &BTreeMap<String, Secret>,
) -> Result<Rendered, Error> {
    let variables = Arc::new(Variables::new(vars, secrets));
    let env = environment();
    let scrub = |words: &str| {
        secrets.values().fold(words.to_owned(), |words, secret| match secret.expose_str() {
            Ok(value) if !value.is_empty() => words.replace(value, &format!("«secret:{}»", secret.name())),
            _ => words,
        })
    };
    let fail = |error: &minijinja::Error| explain(name, source, error, &variables, &scrub);
    let template = env.template_from_named_str(name, source).map_err(|error| fail(&error))?;
    let mut out = Bounded(Zeroizing::new(Vec::with_capacity(source.len() * 2)));
    match template.render_captured_to(Value::from_dyn_object(variables.clone()), &mut out) {
        Ok(_) => Ok(Rendered { bytes: out.0, has_secrets: variables.used_secret.load(Ordering::Relaxed) }),
        Err(error) => Err(fail(&error)),
    }
}

fn environment<'a>() -> Environment<'a> {
    let mut env = Environment::new();
    env.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(false)
            .keep_trailing_newline(true)
            .build()
            .expect("Jinja2's own delimiters are valid"),
    );
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_fuel(Some(FUEL));
    env.set_debug(true);
    env.set_unknown_method_callback(methods::call);
    env.set_formatter(|out, state, value| match value.kind() {
        ValueKind::None => Ok(()),
        ValueKind::Undefined | ValueKind::Invalid | ValueKind::Bytes | ValueKind::Plain => {
            escape_formatter(out, state, value)
        }
        ValueKind::String
        | ValueKind::Bool
        | ValueKind::Number
        | ValueKind::Seq
        | ValueKind::Map
        | ValueKind::Iterable => Ok(out.write_str(&value::text(value))?),
        _ => escape_formatter(out, state, value),
    });
    data::register(&mut env);
    text::register(&mut env);
    address::register(&mut env);
    env
}

/// The variables, which notice when one with a secret is read.
struct Variables {
    values: BTreeMap<String, (Value, bool)>,
    used_secret: AtomicBool,
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may be secrets.
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl Variables {
    fn new(vars: &serde_json::Value, secrets: &BTreeMap<String, Secret>) -> Self {
        let by_name: BTreeMap<&str, &Secret> =
            secrets.values().map(|secret| (secret.name().as_str(), secret)).collect();
        let exposed = |secret: &Secret| match secret.expose_str() {
            Ok(text) => Value::from(text),
            Err(error) => Value::from(minijinja::Error::new(ErrorKind::InvalidOperation, error.to_string())),
        };
        let mut values = BTreeMap::new();
        for (key, item) in vars.as_object().into_iter().flatten() {
            let mut is_secret = false;
            let item = value::from_json(item, &mut |name| {
                is_secret = true;
                by_name.get(name).map_or_else(
                    || {
                        let words = format!("secret `{name}` cannot be used here");
                        Value::from(minijinja::Error::new(ErrorKind::InvalidOperation, words))
                    },
                    |secret| exposed(secret),
                )
            });
            values.insert(key.clone(), (item, is_secret));
        }
        for (key, secret) in secrets {
            values.insert(key.clone(), (exposed(secret), true));
        }
        Self { values, used_secret: AtomicBool::new(false) }
    }

    /// Returns a known name that looks like an undefined one: a variable, or an attribute of a known variable.
    fn nearest(&self, path: &str) -> Option<String> {
        let (parent, last) =
            path.rsplit_once('.').map_or((None, path), |(parent, last)| (Some(parent), last));
        let known: Vec<String> = match parent {
            None => self.values.keys().cloned().collect(),
            Some(parent) => {
                let mut steps = parent.split('.');
                let first = self.values.get(steps.next()?)?.0.clone();
                let owner = steps.try_fold(first, |value, step| value.get_attr(step).ok())?;
                owner.try_iter().ok()?.filter_map(|key| key.as_str().map(str::to_owned)).collect()
            }
        };
        let likeness = |other: &String| strsim::jaro_winkler(last, other);
        let best = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
        let best = Some(best).filter(|best| likeness(best) > 0.8)?;
        Some(parent.map_or_else(|| best.clone(), |parent| format!("{parent}.{best}")))
    }
}

impl Object for Variables {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let (value, is_secret) = self.values.get(key.as_str()?)?;
        if *is_secret {
            self.used_secret.store(true, Ordering::Relaxed);
        }
        Some(value.clone())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.values.keys().map(Value::from).collect())
    }
}

/// A text that refuses to grow without end.
struct Bounded(Zeroizing<Vec<u8>>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MOST_OUTPUT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn explain(
    name: &str,
    source: &str,
    error: &minijinja::Error,
    variables: &Variables,
    scrub: &dyn Fn(&str) -> String,
) -> Error {
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    // minijinja puts the name of an undefined value in backticks: "`user.nmae` is undefined".
    let undefined = detail
        .split('`')
        .collect::<Vec<_>>()
        .windows(2)
        .find_map(|pair| pair[1].starts_with(" is undefined").then(|| pair[0].to_owned()));
    let reason = match (error.kind(), undefined) {
        (_, Some(name)) => Reason::Undefined { nearest: variables.nearest(&name), name },
        (ErrorKind::OutOfFuel, None) => Reason::Endless,
        (ErrorKind::WriteFailure, None) => Reason::TooLarge,
        (ErrorKind::SyntaxError | ErrorKind::BadEscape, None) => Reason::Syntax(detail),
        (
            kind @ (ErrorKind::UnknownFilter
            | ErrorKind::UnknownTest
            | ErrorKind::UnknownMethod
            | ErrorKind::UnknownFunction),
            None,
        ) => Reason::Failed(if error.detail().is_some() { format!("{kind}: {detail}") } else { detail }),
        (_, None) => Reason::Failed(scrub(&detail)),
    };
    let columns = error.range().filter(|range| range.end <= source.len()).and_then(|range| {
        let start = source[..range.start].rfind('\n').map_or(0, |at| at + 1);
        let first = source[start..range.start].chars().count();
        let text = source.get(range)?.lines().next()?;
        Some(first..first + text.chars().count().max(1))
    });
    Error {
        template: error.name().unwrap_or(name).to_owned(),
        line: error.line().unwrap_or(1),
        columns,
        reason,
    }
}

#[cfg(test)]
mod tests;
