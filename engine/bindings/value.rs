//! The values that scripts hold: hosts, secrets, failures, and how values become JSON.

use std::sync::Arc;

use rhai::{Dynamic, EvalAltResult, Module, Position};
use serde_json::{Map, Value};

use crate::bindings::call::{Raise, remember_untold};
use crate::bindings::outcome::{Outcome, Result as HostResult};
use crate::gate::permit::invalid;
use crate::model::event::Failure;
use crate::model::inventory::Host;
use crate::model::secret::Secret;

/// A host of the inventory: `.name .address .os .groups .vars`.
#[derive(Debug, Clone)]
pub struct HostValue(pub Arc<Host>);

/// A secret; it has no text form.
#[derive(Debug, Clone)]
pub struct SecretValue(pub Secret);

/// What `catch` gets: `.kind .message .host`, `.code .out .err` of a command, `.status .body .headers .cause` of a request.
#[derive(Debug, Clone)]
pub struct FailureValue(pub Arc<Failure>);

/// Registers the types and what scripts can do with them.
pub(super) fn register(module: &mut Module) {
    module.set_custom_type::<HostValue>("host");
    module.set_getter_fn("name", |host: &mut HostValue| Ok(host.0.name.clone()));
    module.set_getter_fn("address", |host: &mut HostValue| {
        Ok(host.0.connection.address.clone().unwrap_or_else(|| host.0.name.clone()))
    });
    module.set_getter_fn("os", |host: &mut HostValue| {
        Ok(host.0.connection.os.clone().map_or(Dynamic::UNIT, Dynamic::from))
    });
    module.set_getter_fn("groups", |host: &mut HostValue| {
        Ok(host.0.groups.iter().map(|group| Dynamic::from(group.clone())).collect::<rhai::Array>())
    });
    module.set_getter_fn("vars", |host: &mut HostValue| to_dynamic(&Value::Object(host.0.vars.clone())));
    text(module, |host: &mut HostValue| Ok(host.0.name.clone()));
    module.set_native_fn("==", |a: HostValue, b: HostValue| Ok(a.0.name == b.0.name));
    module.set_native_fn("!=", |a: HostValue, b: HostValue| Ok(a.0.name != b.0.name));
    module.set_native_fn("==", |a: HostValue, b: rhai::ImmutableString| Ok(a.0.name == b.as_str()));
    module.set_native_fn("==", |a: rhai::ImmutableString, b: HostValue| Ok(b.0.name == a.as_str()));
    module.set_native_fn("!=", |a: HostValue, b: rhai::ImmutableString| Ok(a.0.name != b.as_str()));
    module.set_native_fn("!=", |a: rhai::ImmutableString, b: HostValue| Ok(b.0.name != a.as_str()));

    module.set_custom_type::<SecretValue>("secret");
    module.set_getter_fn("name", |secret: &mut SecretValue| Ok(secret.0.name().to_string()));
    text(module, |secret: &mut SecretValue| {
        let message =
            format!("secret `{}` has no text form; hand it on as `stdin` or `content`", secret.0.name());
        Err(Raise::from(invalid(message)).into_script(Position::NONE))
    });

    // Rhai would call a secret different from everything, silently.
    for operator in ["==", "!=", "in", "contains"] {
        module.set_native_fn(operator, move |a: SecretValue, _: Dynamic| incomparable(&a));
        module.set_native_fn(operator, move |_: Dynamic, b: SecretValue| incomparable(&b));
    }

    module.set_custom_type::<FailureValue>("failure");
    module.set_getter_fn("kind", |failure: &mut FailureValue| Ok(failure.0.kind.clone()));
    module.set_getter_fn("message", |failure: &mut FailureValue| Ok(failure.0.message.clone()));
    module.set_getter_fn("host", |failure: &mut FailureValue| {
        Ok(failure.0.host.clone().map_or(Dynamic::UNIT, Dynamic::from))
    });
    for key in ["code", "out", "err", "signal", "status", "body", "headers", "cause", "url", "attempts"] {
        module.set_getter_fn(key, move |failure: &mut FailureValue| {
            to_dynamic(failure.0.details.get(key).unwrap_or(&Value::Null))
        });
    }
    module.set_getter_fn("is_unreachable", |failure: &mut FailureValue| {
        Ok(crate::gate::is_unreachable(&failure.0))
    });
    text(module, |failure: &mut FailureValue| {
        Ok(match &failure.0.host {
            Some(host) => format!("{host}: {}", failure.0.message),
            None => failure.0.message.clone(),
        })
    });
}

fn incomparable(secret: &SecretValue) -> Result<bool, Box<EvalAltResult>> {
    let message = format!("secret `{}` cannot be compared in a script", secret.0.name());
    Err(Raise::from(invalid(message)).into_script(Position::NONE))
}

/// Registers how a type becomes text: printed, interpolated, joined to a string.
pub(super) fn text<T: rhai::Variant + Clone>(
    module: &mut Module,
    text: impl Fn(&mut T) -> Result<String, Box<EvalAltResult>> + Send + Sync + Copy + 'static,
) {
    let text = move |value: &mut T| text(value).inspect_err(|error| remember_untold(error));
    module.set_native_fn("to_string", move |value: &mut T| text(value));
    module.set_native_fn("to_debug", move |value: &mut T| text(value));
    module.set_native_fn("print", move |value: &mut T| text(value));
    module.set_native_fn("debug", move |value: &mut T| text(value));
    module.set_native_fn("+", move |a: rhai::ImmutableString, b: T| {
        let mut b = b;
        text(&mut b).map(|b| format!("{a}{b}"))
    });
    module.set_native_fn("+", move |a: T, b: rhai::ImmutableString| {
        let mut a = a;
        text(&mut a).map(|a| format!("{a}{b}"))
    });
    module.set_native_fn("+=", move |a: &mut rhai::ImmutableString, b: T| {
        let mut b = b;
        let b = text(&mut b)?;
        *a = format!("{a}{b}").into();
        Ok(())
    });
}

/// Turns JSON into a script value.
pub fn to_dynamic(value: &Value) -> Result<Dynamic, Box<EvalAltResult>> {
    Ok(match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(flag) => (*flag).into(),
        Value::Number(number) => match number.as_i64() {
            Some(number) => number.into(),
            None => number.as_f64().unwrap_or(f64::NAN).into(),
        },
        Value::String(text) => text.clone().into(),
        Value::Array(items) => {
            items.iter().map(to_dynamic).collect::<Result<rhai::Array, _>>().map(Dynamic::from_array)?
        }
        Value::Object(map) => {
            let entries = map.iter().map(|(key, value)| Ok((key.as_str().into(), to_dynamic(value)?)));
            Dynamic::from_map(entries.collect::<Result<rhai::Map, Box<EvalAltResult>>>()?)
        }
    })
}

/// Turns a script value into JSON; a secret becomes its name, an outcome that is not known an error.
pub fn json(value: &Dynamic) -> Result<Value, Failure> {
    if value.is_unit() {
        return Ok(Value::Null);
    }
    if let Ok(flag) = value.as_bool() {
        return Ok(flag.into());
    }
    if let Ok(number) = value.as_int() {
        return Ok(number.into());
    }
    if let Ok(number) = value.as_float() {
        return serde_json::Number::from_f64(number)
            .map(Value::Number)
            .ok_or_else(|| invalid(format!("`{number}` is not a number in JSON")));
    }
    if value.is_string() || value.is_char() {
        return Ok(Value::String(value.to_string()));
    }
    if let Some(array) = value.read_lock::<rhai::Array>() {
        return array.iter().map(json).collect::<Result<Vec<_>, _>>().map(Value::Array);
    }
    if let Some(map) = value.read_lock::<rhai::Map>() {
        let entries = map.iter().map(|(key, value)| Ok((key.to_string(), json(value)?)));
        return entries.collect::<Result<Map<_, _>, Failure>>().map(Value::Object);
    }
    if let Some(host) = value.read_lock::<HostValue>() {
        return Ok(Value::String(host.0.name.clone()));
    }
    if let Some(secret) = value.read_lock::<SecretValue>() {
        return serde_json::to_value(&secret.0).map_err(|error| invalid(error.to_string()));
    }
    if let Some(failure) = value.read_lock::<FailureValue>() {
        return serde_json::to_value(failure.0.as_ref()).map_err(|error| invalid(error.to_string()));
    }
    if let Some(result) = value.read_lock::<HostResult>() {
        return result.json();
    }
    if let Some(outcome) = value.read_lock::<Outcome>() {
        return outcome.json();
    }
    if let Some(blob) = value.read_lock::<rhai::Blob>() {
        use base64::Engine as _;
        return Ok(Value::String(base64::engine::general_purpose::STANDARD.encode(&*blob)));
    }
    Err(invalid(format!("a value of type `{}` cannot be kept", value.type_name())))
}
