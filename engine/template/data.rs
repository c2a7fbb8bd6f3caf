//! Ansible's filters and tests for lists and maps.

use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Value};

use super::value::{items, pairs, text};

pub(super) fn register(env: &mut Environment<'_>) {
    env.add_filter("combine", combine);
    env.add_filter("dict2items", dict2items);
    env.add_filter("items2dict", items2dict);
    env.add_filter("flatten", flatten);
    env.add_filter("unique", |value: &Value| Ok::<_, Error>(distinct(items(value)?)));
    env.add_filter("union", |a: &Value, b: &Value| Ok::<_, Error>(distinct([items(a)?, items(b)?].concat())));
    env.add_filter("intersect", |a: &Value, b: &Value| keep(a, b, true));
    env.add_filter("difference", |a: &Value, b: &Value| keep(a, b, false));
    env.add_filter("symmetric_difference", |a: &Value, b: &Value| {
        Ok::<_, Error>(distinct([keep(a, b, false)?, keep(b, a, false)?].concat()))
    });
    env.add_filter("ternary", |value: &Value, yes: Value, no: Value, none: Option<Value>| match none {
        Some(none) if value.is_none() => none,
        _ if value.is_true() => yes,
        _ => no,
    });
    env.add_filter("join", |value: &Value, by: Option<String>, kwargs: Kwargs| {
        let attribute: Option<String> = kwargs.get("attribute")?;
        kwargs.assert_all_used()?;
        let parts = value.try_iter()?.map(|item| match &attribute {
            Some(name) => item.get_attr(name).map(|item| text(&item)),
            None => Ok(text(&item)),
        });
        Ok::<_, Error>(parts.collect::<Result<Vec<_>, _>>()?.join(by.as_deref().unwrap_or("")))
    });
    env.add_test("contains", |value: &Value, what: Value| match value.as_str() {
        Some(subject) => Ok(subject.contains(&text(&what))),
        None => Ok::<_, Error>(value.try_iter()?.any(|item| item == what)),
    });
    env.add_test("subset", |a: &Value, b: &Value| Ok::<_, Error>(keep(a, b, false)?.is_empty()));
    env.add_test("superset", |a: &Value, b: &Value| Ok::<_, Error>(keep(b, a, false)?.is_empty()));
    env.add_test("any", |value: &Value| Ok::<_, Error>(items(value)?.iter().any(Value::is_true)));
    env.add_test("all", |value: &Value| Ok::<_, Error>(items(value)?.iter().all(Value::is_true)));
    env.add_test("truthy", Value::is_true);
    env.add_test("falsy", |value: &Value| !value.is_true());
}

fn invalid(words: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, words.into())
}

fn distinct(list: Vec<Value>) -> Vec<Value> {
    let mut seen = Vec::new();
    for item in list {
        if !seen.contains(&item) {
            seen.push(item);
        }
    }
    seen
}

fn keep(a: &Value, b: &Value, in_both: bool) -> Result<Vec<Value>, Error> {
    let other = items(b)?;
    Ok(distinct(items(a)?.into_iter().filter(|item| other.contains(item) == in_both).collect()))
}

fn combine(value: &Value, others: Rest<Value>, kwargs: Kwargs) -> Result<Value, Error> {
    let recursive = kwargs.get::<Option<bool>>("recursive")?.unwrap_or(false);
    let lists = kwargs.get::<Option<String>>("list_merge")?.unwrap_or_else(|| "replace".to_owned());
    kwargs.assert_all_used()?;
    let mut all = value.clone();
    for other in others.iter() {
        let maps = if other.kind() == ValueKind::Map { vec![other.clone()] } else { items(other)? };
        for map in &maps {
            all = merge(&all, map, recursive, &lists)?;
        }
    }
    Ok(all)
}

fn merge(below: &Value, above: &Value, recursive: bool, lists: &str) -> Result<Value, Error> {
    let mut merged = pairs(below)?;
    for (key, item) in pairs(above)? {
        let Some((_, old)) = merged.iter_mut().find(|(known, _)| *known == key) else {
            merged.push((key, item));
            continue;
        };
        *old = match (old.kind(), item.kind()) {
            (ValueKind::Map, ValueKind::Map) if recursive => merge(old, &item, true, lists)?,
            (ValueKind::Seq, ValueKind::Seq) => merge_lists(old, item, lists)?,
            _ => item,
        };
    }
    Ok(Value::from_pairs(merged))
}

fn merge_lists(old: &Value, new: Value, how: &str) -> Result<Value, Error> {
    let (old, added) = (items(old)?, items(&new)?);
    let without = |list: &[Value], other: &[Value]| -> Vec<Value> {
        list.iter().filter(|item| !other.contains(item)).cloned().collect()
    };
    Ok(match how {
        "replace" => new,
        "keep" => old.into(),
        "append" => [old, added].concat().into(),
        "prepend" => [added, old].concat().into(),
        "append_rp" => [without(&old, &added), added].concat().into(),
        "prepend_rp" => [added.clone(), without(&old, &added)].concat().into(),
        _ => {
            return Err(invalid(format!(
                "`{how}` is no `list_merge`: use replace, keep, append, prepend, append_rp or prepend_rp"
            )));
        }
    })
}

fn dict2items(value: &Value, kwargs: Kwargs) -> Result<Value, Error> {
    let key_name = kwargs.get::<Option<String>>("key_name")?.unwrap_or_else(|| "key".to_owned());
    let value_name = kwargs.get::<Option<String>>("value_name")?.unwrap_or_else(|| "value".to_owned());
    kwargs.assert_all_used()?;
    let item =
        |(key, item)| Value::from_pairs([(Value::from(&key_name), key), (Value::from(&value_name), item)]);
    Ok(pairs(value)?.into_iter().map(item).collect())
}

fn items2dict(value: &Value, kwargs: Kwargs) -> Result<Value, Error> {
    let key_name = kwargs.get::<Option<String>>("key_name")?.unwrap_or_else(|| "key".to_owned());
    let value_name = kwargs.get::<Option<String>>("value_name")?.unwrap_or_else(|| "value".to_owned());
    kwargs.assert_all_used()?;
    let part = |item: &Value, name: &str| match item.get_attr(name)? {
        part if part.is_undefined() => Err(invalid(format!("an item has no `{name}`"))),
        part => Ok(part),
    };
    let list = items(value)?;
    let pairs: Result<Vec<_>, Error> =
        list.iter().map(|item| Ok((part(item, &key_name)?, part(item, &value_name)?))).collect();
    Ok(Value::from_pairs(pairs?))
}

fn flatten(value: &Value, levels: Option<usize>, kwargs: Kwargs) -> Result<Value, Error> {
    fn walk(list: Vec<Value>, levels: usize, skip_nulls: bool, into: &mut Vec<Value>) -> Result<(), Error> {
        for item in list {
            match item.kind() {
                ValueKind::None if skip_nulls => {}
                ValueKind::Seq | ValueKind::Iterable if levels > 0 => {
                    walk(items(&item)?, levels - 1, skip_nulls, into)?;
                }
                _ => into.push(item),
            }
        }
        Ok(())
    }
    let levels = levels.or(kwargs.get("levels")?).unwrap_or(usize::MAX);
    let skip_nulls = kwargs.get::<Option<bool>>("skip_nulls")?.unwrap_or(true);
    kwargs.assert_all_used()?;
    let mut flat = Vec::new();
    walk(items(value)?, levels, skip_nulls, &mut flat)?;
    Ok(flat.into())
}
