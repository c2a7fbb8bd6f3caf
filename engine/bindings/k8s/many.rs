//! `k8s_apply` for many objects: in order, several at a time, and what is no longer among them removed.

use std::collections::BTreeSet;

use futures_util::StreamExt as _;
use rhai::Dynamic;
use serde_json::{Value, json};

use super::apply::{Action, Applied, Apply};
use super::delete::Delete;
use super::prune;
use super::reference::cluster;
use crate::bindings::{Call, Outcome, Raise, json as to_json};
use crate::gate::permit::invalid;
use crate::gate::{Answered, Effect, Halt, Stop, sentence};
use crate::model::event::{Failure, Level, Verdict};
use crate::model::k8s::{Id, Manifest, read};

/// Objects that are applied at once.
const PARALLEL: usize = 8;
const MOST: i64 = 64;
/// Who owns the fields unless the script says otherwise.
const MANAGER: &str = "nlrun";

pub(super) fn k8s_apply(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let cluster = cluster(call)?;
    let namespace = call.option_string("namespace")?;
    let manifests = manifests(call, namespace.as_deref())?;
    let manager = call.option_string("manager")?.unwrap_or_else(|| MANAGER.to_owned());
    let (force, take_over) = (call.option_bool("force", false)?, call.option_bool("take_over", false)?);
    let parallel = call.option_int("parallel", 1)?.map_or(PARALLEL, |n| n.min(MOST) as usize);
    let prune = call.option_string("prune")?;
    if let Some(selector) = &prune {
        prune::check(selector, &manifests)?;
    }
    let redactor = &call.session.gate().redactor;
    let defined: BTreeSet<(String, String)> = manifests.iter().filter_map(Manifest::defines).collect();
    let mut effects: Vec<(usize, Apply)> = manifests
        .iter()
        .map(|manifest| {
            let mut apply = Apply::new(&cluster, manifest, &manager, force, take_over, redactor);
            apply.is_new_kind = defined.contains(&(manifest.id.group().to_owned(), manifest.id.kind.clone()));
            apply
        })
        .enumerate()
        .collect();
    effects.sort_by_key(|(index, _)| (manifests[*index].rank(), *index));
    let number = call.session.number();
    let mut done: Vec<Option<(Answered<Applied>, bool)>> = manifests.iter().map(|_| None).collect();
    let mut failed: Vec<(Id, Failure)> = Vec::new();
    for of_rank in effects.chunk_by(|(a, _), (b, _)| manifests[*a].rank() == manifests[*b].rank()) {
        let ends = in_parallel(call, number, parallel, of_rank, |(_, apply)| &apply.id)?;
        for ((index, apply), end) in of_rank.iter().zip(ends) {
            match end {
                Ok(answered) => {
                    let changed = matches!(answered, Answered::Known(_, Verdict::Changed));
                    done[*index] = Some((answered, changed));
                }
                Err(failure) => failed.push((apply.id.clone(), failure)),
            }
        }
        // What comes later needs what failed.
        if !failed.is_empty() {
            return Err(several(&failed, manifests.len()).into());
        }
    }
    let mut results: Vec<Dynamic> = Vec::with_capacity(manifests.len());
    for (manifest, end) in manifests.iter().zip(done) {
        let Some((answered, changed)) = end else { continue };
        if let Answered::Known(applied, _) = &answered {
            for warning in &applied.warnings {
                let text = format!("{}: {warning}", manifest.id);
                call.session.say(Level::Warn, &text, Some(call.site.clone()))?;
            }
        }
        results.push(Dynamic::from(match answered {
            Answered::Known(applied, _) => outcome(&manifest.id, applied.action, &applied.warnings, changed),
            Answered::Unplanned => Outcome::unplanned(Apply::NAME, call.site.clone()),
        }));
    }
    if let Some(selector) = prune {
        for id in prune::superfluous(call, &cluster, &selector, &manifests)? {
            let delete = Delete::pruned(&cluster, &id);
            let answered = call.session.perform(Some(call.site.clone()), &delete)?;
            results.push(Dynamic::from(match answered {
                Answered::Known(..) => outcome_text(&id, "pruned", &[], true),
                Answered::Unplanned => Outcome::unplanned(Delete::NAME, call.site.clone()),
            }));
        }
    }
    Ok(results.into())
}

/// Performs effects of one rank, a branch each, so that their addresses do not depend on timing.
fn in_parallel<'a, T, E: Effect + 'a>(
    call: &Call<'_>,
    number: u32,
    parallel: usize,
    effects: &'a [(T, E)],
    id: impl Fn(&'a (T, E)) -> &'a Id,
) -> Result<Vec<Result<Answered<E::Output>, Failure>>, Raise> {
    let arms = effects.iter().map(|item| {
        let session = call.session.arm(number, &id(item).target(""));
        async move {
            match session.perform_async(Some(call.site.clone()), &item.1).await {
                Ok(answered) => Ok(Ok(answered)),
                Err(Halt::Failure(failure)) => Ok(Err(*failure)),
                Err(Halt::Stop(stop)) => Err(*stop),
            }
        }
    });
    let ends: Vec<Result<_, Stop>> =
        call.session.block(futures_util::stream::iter(arms).buffered(parallel).collect::<Vec<_>>());
    if let Some(stop) = ends.iter().filter_map(|end| end.as_ref().err()).find(|stop| stop.suspends()) {
        return Err(stop.clone().into());
    }
    Ok(ends.into_iter().collect::<Result<_, _>>()?)
}

/// Makes one failure of several; the first one says what kind it is.
fn several(failed: &[(Id, Failure)], of: usize) -> Failure {
    let (_, first) = &failed[0];
    if failed.len() == 1 {
        return first.clone();
    }
    // Each of the others stands with its own effect.
    let message = format!("{} ({} of {of} objects failed)", first.message, failed.len());
    Failure { message, ..first.clone() }
}

fn outcome(id: &Id, action: Action, warnings: &[String], changed: bool) -> Outcome {
    let action = match action {
        Action::Created => "created",
        Action::Configured => "configured",
        Action::Unchanged => "unchanged",
    };
    outcome_text(id, action, warnings, changed)
}

fn outcome_text(id: &Id, action: &str, warnings: &[String], changed: bool) -> Outcome {
    Outcome::known(json!({
        "ok": true,
        "changed": changed,
        "action": action,
        "kind": id.kind,
        "namespace": id.namespace,
        "name": id.name,
        "warnings": warnings,
    }))
}

/// Reads manifests: YAML text, a map, or an array of maps.
fn manifests(call: &Call<'_>, namespace: Option<&str>) -> Result<Vec<Manifest>, Raise> {
    let value = call.value(1);
    if let Some(sources) = sources(&value) {
        let mut all = Vec::new();
        for path in sources {
            let wrong =
                |reason: String| Raise::from(invalid(format!("`{}`: `{path}`: {reason}", call.name())));
            for (path, text) in files(call, &path)? {
                let wrong = |reason: String| {
                    wrong(if path.is_empty() { reason } else { format!("{path}: {reason}") })
                };
                all.extend(read(&text, namespace).map_err(|error| wrong(error.to_string()))?);
            }
        }
        return Ok(all);
    }
    let text = if value.is_string() {
        value.to_string()
    } else if value.is_map() || value.is_array() {
        let given = exposed(&value)?;
        // A list of objects is a stream of documents; JSON is YAML.
        let objects = match given {
            Value::Array(objects) => objects,
            other => vec![other],
        };
        objects.iter().map(Value::to_string).collect::<Vec<_>>().join("\n---\n")
    } else {
        return Err(call.wrong(1, "manifests: YAML as text, a map or an array of maps,", &value));
    };
    read(&text, namespace)
        .map_err(|error| invalid(format!("`{}`: the manifests: {error}", call.name())).into())
}

/// Reads `#{ source: … }`: a path of the project, or several.
fn sources(value: &Dynamic) -> Option<Vec<String>> {
    let map = value.read_lock::<rhai::Map>()?;
    let source = map.get("source").filter(|_| map.len() == 1)?;
    match source.read_lock::<rhai::Array>() {
        Some(paths) => paths.iter().map(|path| path.clone().into_string().ok()).collect(),
        None => Some(vec![source.clone().into_string().ok()?]),
    }
}

/// Reads a file, or all manifests below a folder, each with its path below it.
fn files(call: &Call<'_>, path: &str) -> Result<Vec<(String, String)>, Raise> {
    let project = call.session.gate().world.project();
    let wrong = |error: &dyn std::error::Error| Raise::from(invalid(sentence(error)));
    let text = |bytes: Vec<u8>, name: &str| {
        String::from_utf8(bytes).map_err(|_| Raise::from(invalid(format!("`{name}` is not UTF-8"))))
    };
    if !project.path(path).is_ok_and(|real| real.is_dir()) {
        let bytes = project.read(path).map_err(|error| wrong(&error))?;
        return Ok(vec![(String::new(), text(bytes, path)?)]);
    }
    let is_wanted = |name: &str| !name.rsplit('/').next().unwrap_or(name).starts_with('.');
    let found = project.tree(path, &is_wanted).map_err(|error| wrong(&error))?;
    let is_manifest = |name: &str| {
        [".yaml", ".yml", ".json"].iter().any(|ending| name.to_ascii_lowercase().ends_with(ending))
    };
    let found = found.into_iter().filter(|found| is_manifest(&found.name));
    found
        .filter_map(|found| Some((found.name, found.content?)))
        .map(|(name, bytes)| {
            let text = text(bytes, &name)?;
            Ok((name, text))
        })
        .collect()
}

/// Turns maps into JSON; secrets go in as what they are, which is why nothing of it may be recorded.
pub(super) fn exposed(value: &Dynamic) -> Result<Value, Raise> {
    use crate::bindings::SecretValue;
    if let Some(secret) = value.read_lock::<SecretValue>() {
        let text = secret.0.expose_str().map_err(|error| invalid(error.to_string()))?;
        return Ok(Value::String(text.to_owned()));
    }
    if let Some(array) = value.read_lock::<rhai::Array>() {
        return array.iter().map(exposed).collect();
    }
    if let Some(map) = value.read_lock::<rhai::Map>() {
        let fields = map.iter().map(|(key, value)| Ok((key.to_string(), exposed(value)?)));
        return fields.collect::<Result<serde_json::Map<_, _>, Raise>>().map(Value::Object);
    }
    Ok(to_json(value)?)
}
