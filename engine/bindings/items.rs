//! What `each` goes through: hosts, or maps with a name; and which of them go in turn.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{Dynamic, Map};

use crate::bindings::value::to_dynamic;
use crate::bindings::{Call, HostValue, Raise};
use crate::gate::permit::invalid;
use crate::model::address::Branch;

/// What one arm of `each` is for.
pub(super) struct Item {
    /// The host's name, or that of the map: what the arm is called.
    pub(super) name: String,
    /// What the function gets.
    pub(super) value: Dynamic,
    /// Items with the same text here go one after the other.
    turn: Option<String>,
}

/// Reads argument 0, in its order.
pub(super) fn read(call: &Call<'_>) -> Result<Vec<Item>, Raise> {
    let value = call.value(0);
    let wanted = "an array of hosts, such as `hosts(\"web\")`, or of maps with a `name`,";
    let array = value.clone().try_cast::<rhai::Array>().ok_or_else(|| call.wrong(0, wanted, &value))?;
    let in_turn = call.option_string("in_turn")?;
    let items = array.into_iter().map(|value| item(call, value, in_turn.as_deref()));
    let items = items.collect::<Result<Vec<_>, _>>()?;
    demand_names(call, items.iter().map(|item| item.name.as_str()))?;
    Ok(items)
}

/// Demands that no two names are the same as they stand in addresses, since two arms would have the same addresses.
pub(super) fn demand_names<'a>(call: &Call<'_>, names: impl Iterator<Item = &'a str>) -> Result<(), Raise> {
    let mut arms = BTreeSet::new();
    for name in names {
        if !arms.insert(Branch::root().arm(0, name)) {
            let message = format!("`{}` goes through `{name}` twice; names must differ", call.name());
            return Err(invalid(message).into());
        }
    }
    Ok(())
}

fn item(call: &Call<'_>, value: Dynamic, in_turn: Option<&str>) -> Result<Item, Raise> {
    let Some(map) = value.read_lock::<Map>().map(|map| map.clone()) else {
        let host = call.host_of(&value)?;
        let var = in_turn.and_then(|key| host.vars.get(key)).map(to_dynamic).transpose()?;
        let turn = var.map(|var| text(call, &var)).transpose()?;
        return Ok(Item { name: host.name.clone(), value: Dynamic::from(HostValue(host)), turn });
    };
    let name =
        map.get("name").and_then(|name| name.clone().into_string().ok()).filter(|name| !name.is_empty());
    let name =
        name.ok_or_else(|| invalid(format!("`{}` wants a text as `name` of each map", call.name())))?;
    let turn = in_turn.and_then(|key| map.get(key)).filter(|value| !value.is_unit());
    let turn = turn.map(|value| text(call, value)).transpose()?;
    Ok(Item { name, value, turn })
}

/// Returns by what an item takes its turn.
fn text(call: &Call<'_>, value: &Dynamic) -> Result<String, Raise> {
    if let Some(host) = value.read_lock::<HostValue>() {
        return Ok(host.0.name.clone());
    }
    if value.is_string() || value.is_int() {
        return Ok(value.to_string());
    }
    let message =
        format!("`{}` wants a text, a number or a host at the key that `in_turn` names", call.name());
    Err(invalid(message).into())
}

/// Puts those together that go one after the other: places in the array, in its order.
pub(super) fn queues(items: &[Item], places: std::ops::Range<usize>) -> Vec<Vec<usize>> {
    let mut queues: Vec<Vec<usize>> = Vec::new();
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    for place in places {
        let queue = match &items[place].turn {
            Some(turn) => *known.entry(turn).or_insert(queues.len()),
            None => queues.len(),
        };
        if queue == queues.len() {
            queues.push(Vec::new());
        }
        queues[queue].push(place);
    }
    queues
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_one_turn_are_put_together_in_their_order() {
        let item = |turn: &str| Item {
            name: String::new(),
            value: Dynamic::UNIT,
            turn: (!turn.is_empty()).then(|| turn.to_owned()),
        };
        let items: Vec<Item> = ["a", "", "b", "a", "", "b", "a"].map(item).into();
        assert_eq!(queues(&items, 0..7), [vec![0, 3, 6], vec![1], vec![2, 5], vec![4]]);
        assert_eq!(queues(&items, 2..4), [[2], [3]]);
        assert!(queues(&items, 3..3).is_empty());
    }
}
