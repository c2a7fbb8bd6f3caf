//! One call of a script-facing function: its arguments, its place, and its session at the gate.

use std::sync::Arc;
use std::time::Duration;

use rhai::{Dynamic, EvalAltResult, NativeCallContext, Position};
use serde_json::Value;

use crate::bindings::outcome::{Outcome, unanswered};
use crate::bindings::value::{FailureValue, HostValue, SecretValue, json};
use crate::gate::permit::invalid;
use crate::gate::{Answered, Effect, Halt, Session, Stop};
use crate::model::duration;
use crate::model::effect::Target;
use crate::model::event::{Failure, Site};
use crate::model::inventory::Host;
use crate::model::nearest::did_you_mean;
use crate::model::secret::{Secret, SecretName};
use crate::model::signature::{Signature, Type};
use crate::world::transport::Line;

/// Why a function gives nothing: the gate, the world, or a script function that it called.
#[derive(Debug)]
pub enum Raise {
    /// The gate or the world.
    Halt(Halt),
    /// Something that Rhai raised already has its place.
    Script(Box<EvalAltResult>),
}

impl From<Halt> for Raise {
    fn from(halt: Halt) -> Self {
        Self::Halt(halt)
    }
}

impl From<Stop> for Raise {
    fn from(stop: Stop) -> Self {
        Self::Halt(stop.into())
    }
}

impl From<Failure> for Raise {
    fn from(failure: Failure) -> Self {
        Self::Halt(failure.into())
    }
}

impl From<Box<EvalAltResult>> for Raise {
    fn from(error: Box<EvalAltResult>) -> Self {
        Self::Script(error)
    }
}

impl Raise {
    /// Returns the error of the call in this context; a stop knows where that stands.
    #[expect(clippy::unnecessary_box_returns, reason = "rhai's functions return their errors boxed")]
    pub(super) fn of_call(self, context: &NativeCallContext) -> Box<EvalAltResult> {
        match self {
            Self::Halt(Halt::Stop(stop)) => {
                let stopped = Stopped { stop: *stop, site: Some(site_of(context)) };
                EvalAltResult::ErrorTerminated(Dynamic::from(stopped), context.call_position()).into()
            }
            other => other.into_script(context.call_position()),
        }
    }

    /// Returns the error as Rhai carries it: a stop ends the script, a failure can be caught.
    pub fn into_script(self, at: Position) -> Box<EvalAltResult> {
        match self {
            Self::Halt(Halt::Stop(stop)) => {
                let stopped = Stopped { stop: *stop, site: None };
                EvalAltResult::ErrorTerminated(Dynamic::from(stopped), at).into()
            }
            Self::Halt(Halt::Failure(failure)) => {
                EvalAltResult::ErrorRuntime(Dynamic::from(FailureValue(Arc::new(*failure))), at).into()
            }
            Self::Script(error) => error,
        }
    }
}

/// A stop on its way through the script engine, which moves the position of what cannot be caught to the outermost call.
#[derive(Debug, Clone)]
pub struct Stopped {
    /// Why.
    pub stop: Stop,
    /// Where the runbook asked for what was refused.
    pub site: Option<Site>,
}

impl Stopped {
    /// Reads the stop out of a script error, if it is one.
    pub fn of(error: &EvalAltResult) -> Option<Self> {
        match error.unwrap_inner() {
            EvalAltResult::ErrorTerminated(value, _) => {
                value.read_lock::<Self>().map(|stopped| stopped.clone())
            }
            _ => None,
        }
    }
}

/// Why a closure that a module made is not found where it is called; a limit of Rhai 1.27.
pub const FOREIGN: &str = "a closure that a module made is called outside of that module";
/// What to do about it.
pub const FOREIGN_HINT: &str =
    "write the closure here and let it call a function of the module, or let the module call it";

/// Returns the text of what Rhai raises on its own.
pub(super) fn told(error: &EvalAltResult) -> String {
    match error {
        EvalAltResult::ErrorFunctionNotFound(signature, _) if signature.starts_with("anon$") => {
            format!("{FOREIGN}, or with another number of values than it takes; {FOREIGN_HINT}")
        }
        other => other.to_string(),
    }
}

/// A host to whom a command may be sent, or several.
pub enum HostsArgument {
    /// One host: the function returns its answer.
    One(Arc<Host>),
    /// An array: the function fans out and returns a result a host.
    Many(Vec<Arc<Host>>),
}

/// One call.
pub struct Call<'a> {
    /// Rhai's side of the call.
    pub context: &'a NativeCallContext<'a>,
    /// The thread of script at the gate.
    pub session: Session,
    /// Where the call stands.
    pub site: Site,
    signature: &'static Signature,
    arguments: Vec<Dynamic>,
    options: rhai::Map,
}

impl<'a> Call<'a> {
    pub(super) fn new(
        context: &'a NativeCallContext<'a>,
        signature: &'static Signature,
        arguments: &mut [&mut Dynamic],
    ) -> Result<Self, Raise> {
        let session = session_of(context)?;
        or_untold(Ok(()))?;
        let site = site_of(context);
        let mut arguments: Vec<Dynamic> = arguments.iter().map(|value| value.flatten_clone()).collect();
        let mut options = rhai::Map::new();
        let required = signature.params.iter().filter(|param| !param.optional).count();
        if !signature.options.is_empty() && arguments.len() > required {
            let place = arguments.len() - 1 - usize::from(signature.takes_body());
            let is_taken = signature.params.get(place).is_some_and(|p| matches!(p.ty, Type::Map | Type::Any));
            if !is_taken && arguments[place].is_map() {
                options = arguments.remove(place).try_cast().unwrap_or_default();
            }
        }
        for key in options.keys() {
            if !signature.options.iter().any(|option| option.name == key.as_str()) {
                let known = signature.options.iter().map(|option| option.name);
                let near = did_you_mean(key, known).map(|hint| format!("; {hint}")).unwrap_or_default();
                return Err(invalid(format!("`{}` has no option `{key}`{near}", signature.name)).into());
            }
        }
        Ok(Self { context, session, site, signature, arguments, options })
    }

    /// Returns the function's name.
    pub fn name(&self) -> &'static str {
        self.signature.name
    }

    /// Returns how many positional arguments were given.
    pub fn count(&self) -> usize {
        self.arguments.len()
    }

    /// Returns an argument as it is.
    pub fn value(&self, index: usize) -> Dynamic {
        self.arguments.get(index).cloned().unwrap_or(Dynamic::UNIT)
    }

    /// Returns a text.
    pub fn string(&self, index: usize) -> Result<String, Raise> {
        let value = self.value(index);
        value.clone().into_string().map_err(|_| self.wrong(index, "text", &value))
    }

    /// Returns a whole number.
    pub fn int(&self, index: usize) -> Result<i64, Raise> {
        let value = self.value(index);
        value.as_int().map_err(|_| self.wrong(index, "a whole number", &value))
    }

    /// Returns a length of time.
    pub fn duration(&self, index: usize) -> Result<Duration, Raise> {
        let value = self.value(index);
        duration_of(&value).ok_or_else(|| self.wrong(index, "a length of time such as \"90s\"", &value))
    }

    /// Returns a function to call.
    pub fn function(&self, index: usize) -> Result<rhai::FnPtr, Raise> {
        let value = self.value(index);
        value.clone().try_cast().ok_or_else(|| self.wrong(index, "a function", &value))
    }

    /// Returns a host.
    pub fn host(&self, index: usize) -> Result<Arc<Host>, Raise> {
        self.one_host(&self.value(index), index)
    }

    /// Returns a host, or several when an array was given.
    pub fn hosts(&self, index: usize) -> Result<HostsArgument, Raise> {
        let value = self.value(index);
        match value.clone().try_cast::<rhai::Array>() {
            Some(array) => {
                let hosts = array.iter().map(|item| self.one_host(item, index)).collect::<Result<_, _>>()?;
                Ok(HostsArgument::Many(hosts))
            }
            None => Ok(HostsArgument::One(self.one_host(&value, index)?)),
        }
    }

    /// Returns the host that a value names.
    pub fn host_of(&self, value: &Dynamic) -> Result<Arc<Host>, Raise> {
        self.one_host(value, 0)
    }

    fn one_host(&self, value: &Dynamic, index: usize) -> Result<Arc<Host>, Raise> {
        if let Some(host) = value.read_lock::<HostValue>() {
            return Ok(host.0.clone());
        }
        let name = value.clone().into_string().map_err(|_| self.wrong(index, "a host", value))?;
        let inventory = &self.session.gate().inventory;
        inventory.host(&name).cloned().ok_or_else(|| {
            let near =
                inventory.nearest(&name).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            invalid(format!("there is no host `{name}` in the inventory{near}")).into()
        })
    }

    /// Returns a command: exact words, or a line for the remote shell.
    pub fn command(&self, index: usize) -> Result<Line, Raise> {
        let value = self.value(index);
        if let Some(array) = value.clone().try_cast::<rhai::Array>() {
            let words =
                array.into_iter().map(|word| self.word(&word, index)).collect::<Result<Vec<_>, _>>()?;
            if words.first().is_none_or(String::is_empty) {
                return Err(invalid(format!("`{}`: the command is empty", self.name())).into());
            }
            return Ok(Line::Words(words));
        }
        let line = value.clone().into_string().map_err(|_| self.wrong(index, "a command", &value))?;
        if line.trim().is_empty() {
            return Err(invalid(format!("`{}`: the command is empty", self.name())).into());
        }
        Ok(Line::Shell(line))
    }

    fn word(&self, value: &Dynamic, index: usize) -> Result<String, Raise> {
        if value.is_int() || value.is_float() {
            return Ok(value.to_string());
        }
        if let Some(host) = value.read_lock::<HostValue>() {
            return Ok(host.0.name.clone());
        }
        if value.read_lock::<SecretValue>().is_some() {
            let message =
                "a secret may not stand in a command: others on the host could read it; use `stdin`";
            return Err(invalid(message.to_owned()).into());
        }
        value.clone().into_string().map_err(|_| self.wrong(index, "words of text", value))
    }

    /// Returns an absolute path on a host, without `..`, so that grants can be compared with it.
    pub fn remote_path(&self, index: usize) -> Result<String, Raise> {
        let path = self.string(index)?;
        self.check_path(path)
    }

    /// Demands that a path is absolute and plain.
    pub fn check_path(&self, path: String) -> Result<String, Raise> {
        let plain = path.starts_with('/')
            && !path.contains('\0')
            && !path.split('/').any(|part| part == ".." || part == ".")
            && !path.contains("//");
        if !plain {
            let message =
                format!("`{}` wants an absolute path without `.` and `..`, got `{path}`", self.name());
            return Err(invalid(message).into());
        }
        Ok(path)
    }

    /// Returns an argument as JSON, for what goes into a request.
    pub fn json(&self, index: usize) -> Result<Value, Raise> {
        json(&self.value(index)).map_err(Raise::from)
    }

    /// Whether an option was given.
    pub fn has(&self, key: &str) -> bool {
        self.options.contains_key(key)
    }

    /// Returns an option as it is.
    pub fn option(&self, key: &str) -> Option<Dynamic> {
        self.options.get(key).filter(|value| !value.is_unit()).cloned()
    }

    /// Returns an option that is text.
    pub fn option_string(&self, key: &str) -> Result<Option<String>, Raise> {
        self.option(key)
            .map(|value| value.clone().into_string().map_err(|_| self.wrong_option(key, "text", &value)))
            .transpose()
    }

    /// Returns an option that is `true` or `false`.
    pub fn option_bool(&self, key: &str, default: bool) -> Result<bool, Raise> {
        self.option(key).map_or(Ok(default), |value| {
            value.as_bool().map_err(|_| self.wrong_option(key, "true or false", &value))
        })
    }

    /// Returns an option that is a whole number of at least `least`.
    pub fn option_int(&self, key: &str, least: i64) -> Result<Option<i64>, Raise> {
        let wanted = format!("a whole number of at least {least}");
        self.option(key)
            .map(|value| match value.as_int() {
                Ok(number) if number >= least => Ok(number),
                Ok(_) | Err(_) => Err(self.wrong_option(key, &wanted, &value)),
            })
            .transpose()
    }

    /// Returns an option that is a length of time.
    pub fn option_duration(&self, key: &str) -> Result<Option<Duration>, Raise> {
        self.option(key)
            .map(|value| {
                duration_of(&value)
                    .ok_or_else(|| self.wrong_option(key, "a length of time such as \"90s\"", &value))
            })
            .transpose()
    }

    /// Returns an option that is a map of texts.
    pub fn option_texts(&self, key: &str) -> Result<Vec<(String, String)>, Raise> {
        let Some(value) = self.option(key) else { return Ok(Vec::new()) };
        let map = value.clone().try_cast::<rhai::Map>();
        let map = map.ok_or_else(|| self.wrong_option(key, "a map", &value))?;
        map.into_iter().map(|(name, value)| Ok((name.to_string(), self.word(&value, 0)?))).collect()
    }

    /// Returns an option that is text, bytes or a secret.
    pub fn option_content(&self, key: &str) -> Result<Option<Content>, Raise> {
        self.option(key)
            .map(|value| {
                Content::from(&value).ok_or_else(|| self.wrong_option(key, "text, bytes or a secret", &value))
            })
            .transpose()
    }

    /// Returns an argument that is text, bytes or a secret.
    pub fn content(&self, index: usize) -> Result<Content, Raise> {
        let value = self.value(index);
        Content::from(&value).ok_or_else(|| self.wrong(index, "text, bytes or a secret", &value))
    }

    /// Returns an argument that is the name of a secret.
    pub fn secret_name(&self, index: usize) -> Result<SecretName, Raise> {
        let name = self.string(index)?;
        SecretName::try_from(name).map_err(|error| invalid(error.to_string()).into())
    }

    /// Performs an effect whose answer plan mode always knows.
    pub fn perform<E: Effect>(&self, effect: &E) -> Result<E::Output, Raise> {
        match self.session.perform(Some(self.site.clone()), effect)? {
            Answered::Known(output, _) => Ok(output),
            Answered::Unplanned => Err(unanswered(&self.site, E::NAME)),
        }
    }

    /// Performs an effect whose answer plan mode may not know.
    pub fn answer<E: Effect>(
        &self,
        effect: &E,
        known: impl FnOnce(E::Output, bool) -> Outcome,
    ) -> Result<Dynamic, Raise> {
        let answered = self.session.perform(Some(self.site.clone()), effect)?;
        Ok(Dynamic::from(self.outcome::<E>(answered, known)))
    }

    /// Turns what an effect came to into the value that scripts see.
    pub fn outcome<E: Effect>(
        &self,
        answered: Answered<E::Output>,
        known: impl FnOnce(E::Output, bool) -> Outcome,
    ) -> Outcome {
        use crate::model::event::Verdict;
        match answered {
            Answered::Known(output, verdict) => known(output, verdict == Verdict::Changed),
            Answered::Unplanned => Outcome::unplanned(E::NAME, self.site.clone()),
        }
    }

    /// Makes the error for an argument of the wrong type.
    pub fn wrong(&self, index: usize, wanted: &str, got: &Dynamic) -> Raise {
        let name = self.signature.params.get(index).map_or("argument", |param| param.name);
        let got = shown(got);
        invalid(format!("`{}` wants {wanted} as `{name}`, got {got}", self.signature.name)).into()
    }

    /// Makes the error for an option of the wrong type.
    pub fn wrong_option(&self, key: &str, wanted: &str, got: &Dynamic) -> Raise {
        invalid(format!("`{}` wants {wanted} as option `{key}`, got {}", self.signature.name, shown(got)))
            .into()
    }
}

/// Text, bytes or a secret: what goes into a file or a standard input.
#[derive(Debug, Clone)]
pub enum Content {
    /// Text or bytes.
    Plain(Vec<u8>),
    /// Never part of a request, a diff or a log.
    Secret(Secret),
}

impl Content {
    /// Reads a script value.
    pub fn from(value: &Dynamic) -> Option<Self> {
        if let Some(secret) = value.read_lock::<SecretValue>() {
            return Some(Self::Secret(secret.0.clone()));
        }
        if let Some(blob) = value.read_lock::<rhai::Blob>() {
            return Some(Self::Plain(blob.clone()));
        }
        value.clone().into_string().ok().map(|text| Self::Plain(text.into_bytes()))
    }

    /// Returns the bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Plain(bytes) => bytes,
            Self::Secret(secret) => secret.expose(),
        }
    }
}

thread_local! {
    /// The session of this thread of script, for `print`, which Rhai calls without a context.
    static CURRENT: std::cell::RefCell<Option<Session>> = const { std::cell::RefCell::new(None) };
}

thread_local! {
    /// What a value without a text form raised when it was made part of a text.
    static UNTOLD: std::cell::RefCell<Option<Stopped>> = const { std::cell::RefCell::new(None) };
}

/// Remembers that a value was made part of a text although it has no text form.
///
/// Within `` `${…}` `` and arrays, Rhai puts the name of the type in place of an error (`print_with_func`): the script must
/// end before the made-up text gets anywhere.
pub(super) fn remember_untold(error: &EvalAltResult) {
    let stopped = Stopped::of(error).unwrap_or_else(|| {
        let message = match error.unwrap_inner() {
            EvalAltResult::ErrorRuntime(value, _) => match value.read_lock::<FailureValue>() {
                Some(failure) => failure.0.message.clone(),
                None => value.to_string(),
            },
            other => other.to_string(),
        };
        Stopped { stop: Stop::NoText(message), site: None }
    });
    UNTOLD.set(Some(stopped));
}

/// Takes what `remember_untold` remembered on this thread of script.
pub fn take_untold() -> Option<Stopped> {
    UNTOLD.take()
}

/// Whether something is remembered.
pub fn is_untold() -> bool {
    UNTOLD.with_borrow(Option::is_some)
}

/// Ends with what was remembered, whatever came out otherwise.
pub fn or_untold<T>(result: Result<T, Box<EvalAltResult>>) -> Result<T, Box<EvalAltResult>> {
    match take_untold() {
        Some(stopped) => Err(EvalAltResult::ErrorTerminated(Dynamic::from(stopped), Position::NONE).into()),
        None => result,
    }
}

/// Makes a session the current one of this thread until it is dropped.
pub struct Current(Option<Session>);

impl Current {
    /// Begins.
    pub fn set(session: &Session) -> Self {
        Self(CURRENT.replace(Some(session.clone())))
    }

    /// Returns the session of this thread of script.
    pub fn session() -> Option<Session> {
        CURRENT.with_borrow(Clone::clone)
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

/// Returns the session that travels in the context's tag.
pub fn session_of(context: &NativeCallContext) -> Result<Session, Raise> {
    let session = context.tag().and_then(|tag| tag.read_lock::<Session>().map(|session| session.clone()));
    session.ok_or_else(|| invalid("this function needs a run".to_owned()).into())
}

/// Returns where a call stands.
pub fn site_of(context: &NativeCallContext) -> Site {
    let at = context.call_position();
    Site {
        file: context.call_source().or(context.fn_source()).unwrap_or_default().into(),
        line: at.line().unwrap_or(0) as u32,
        column: at.position().unwrap_or(0) as u32,
    }
}

/// Returns the target for an effect on a host.
pub fn on_host(host: &Host, path: Option<&str>) -> Target {
    Target::Host {
        host: host.name.as_str().into(),
        groups: host.groups.clone(),
        path: path.map(str::to_owned),
    }
}

/// Reads a length of time: text with a unit, or seconds.
pub(super) fn duration_of(value: &Dynamic) -> Option<Duration> {
    if let Ok(seconds) = value.as_int() {
        return duration::from_seconds(seconds as f64).ok();
    }
    if let Ok(seconds) = value.as_float() {
        return duration::from_seconds(seconds).ok();
    }
    duration::parse(&value.clone().into_string().ok()?).ok()
}

/// Names a value for an error without showing what may be long or secret.
fn shown(value: &Dynamic) -> String {
    if value.is_string() {
        let text: String = value.to_string().chars().take(40).collect();
        return format!("the text `{text}`");
    }
    if value.is_int() || value.is_float() || value.is_bool() {
        return format!("`{value}`");
    }
    match value.type_name() {
        "()" => "nothing".to_owned(),
        "array" => "an array".to_owned(),
        "map" => "a map".to_owned(),
        "Fn" => "a function".to_owned(),
        _ if value.read_lock::<SecretValue>().is_some() => "a secret".to_owned(),
        _ if value.read_lock::<HostValue>().is_some() => "a host".to_owned(),
        _ if value.read_lock::<Outcome>().is_some() => "an outcome".to_owned(),
        other => format!("a value of type `{other}`"),
    }
}
