//! What needs no device: texts of configurations read, compared, rehearsed and checked.

use rhai::Dynamic;
use serde_json::{Value, json};

use crate::bindings::http::Text;
use crate::bindings::{Call, Raise, json as to_json, to_dynamic};
use crate::cisco::{self, Device, Node, Os, Plan, Rule, Tree, masked};
use crate::gate::permit::invalid;
use crate::model::event::Failure;

/// A configuration as a script gives it: text, or a secret that holds one.
pub(super) struct Given {
    /// The text.
    pub(super) text: String,
    /// Whether it came as a secret, so that nothing of it is given back in clear.
    pub(super) is_secret: bool,
}

impl Given {
    /// Reads an argument.
    pub(super) fn read(call: &Call<'_>, index: usize) -> Result<Self, Raise> {
        let value = call.value(index);
        let text = Text::from(&value).ok_or_else(|| call.wrong(index, "text or a secret", &value))?;
        let is_secret = matches!(text, Text::Secret(_));
        Ok(Self { text: text.exposed()?.to_owned(), is_secret })
    }

    /// Returns what may be shown of a text that was made from it.
    fn shown(&self, text: String) -> String {
        if self.is_secret { masked(&text) } else { text }
    }
}

/// Reads an argument that names a system.
pub(super) fn os(call: &Call<'_>, index: usize) -> Result<Os, Raise> {
    let name = call.string(index)?;
    name.parse().map_err(|error: String| invalid(error).into())
}

/// Demands that a text is a whole configuration.
pub(super) fn usable(os: Os, text: &str, which: &str) -> Result<(), Failure> {
    cisco::guard(os, text)
        .map_err(|error| unusable(format!("{which} cannot be used: {}", masked(&error.to_string()))))
}

/// Works out the commands from one configuration to another, with what takes them back.
///
/// That no commands take them back is no failure: it is the second value.
pub(super) fn planned(os: Os, running: &str, intended: &str) -> Result<(Plan, Option<String>), Failure> {
    usable(os, running, "the running configuration")?;
    usable(os, intended, "the intended configuration")?;
    cisco::guard_pair(os, running, intended).map_err(|error| unusable(masked(&error.to_string())))?;
    let unclear =
        |error: cisco::Unclear| Failure { kind: "unclear".to_owned(), ..invalid(error.to_string()) };
    let mut plan = cisco::diff(os, running, intended).map_err(unclear)?;
    let one_way = cisco::invert(os, running, &mut plan).err().map(|error| error.to_string());
    Ok((plan, one_way))
}

fn unusable(message: String) -> Failure {
    Failure { kind: "unusable".to_owned(), ..invalid(message) }
}

/// Returns a plan as scripts see it: without secrets.
pub(super) fn plan_value(plan: &Plan) -> Value {
    let plan = plan.clone().masked();
    let commands: Vec<String> = plan.commands().map(ToString::to_string).collect();
    let risks: std::collections::BTreeSet<_> = plan.blocks.iter().flat_map(|block| &block.risks).collect();
    json!({
        "changes": !plan.is_empty(),
        "commands": commands,
        "risks": risks,
        "blocks": plan.blocks,
        "notes": plan.notes,
    })
}

/// What stands for a configuration in requests and in what plans compare: no secret of it could be tried out.
pub(super) fn digest(os: Os, text: &str) -> String {
    crate::store::sha256(masked(&cisco::filter(os, text)).as_bytes())
}

pub(super) fn cisco_filter(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let given = Given::read(call, 0)?;
    let text = cisco::filter(os(call, 1)?, &given.text);
    Ok(given.shown(text).into())
}

pub(super) fn cisco_parse(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let given = Given::read(call, 0)?;
    let tree = Tree::read(os(call, 1)?, &given.text);
    Ok(to_dynamic(&nodes(&tree.nodes, &given))?)
}

fn nodes(nodes: &[Node<'_>], given: &Given) -> Value {
    let kept = nodes.iter().filter(|node| !node.is_trivia());
    kept.map(|node| {
        let mut fields = json!({ "line": given.shown(node.head.to_string()), "children": self::nodes(&node.children, given) });
        if let Some(body) = &node.body {
            fields["body"] = body.trim_matches('\n').into();
        }
        fields
    })
    .collect()
}

pub(super) fn cisco_diff(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let (running, intended) = (Given::read(call, 0)?, Given::read(call, 1)?);
    let os = os(call, 2)?;
    let (plan, one_way) = planned(os, &running.text, &intended.text)?;
    let mut value = plan_value(&plan);
    value["running"] = digest(os, &running.text).into();
    value["one_way"] = one_way.into();
    Ok(to_dynamic(&value)?)
}

pub(super) fn cisco_simulate(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let running = Given::read(call, 0)?;
    let commands: Vec<String> = lines(call, 1)?.into_iter().map(|line| line.text).collect();
    let os = os(call, 2)?;
    usable(os, &running.text, "the running configuration")?;
    let mut device = Device::new(os, &running.text);
    device.enter_all(&commands.join("\n")).map_err(|refusal| Failure {
        kind: "rejected".to_owned(),
        ..invalid(format!("a device refuses {refusal}"))
    })?;
    Ok(running.shown(device.running()).into())
}

/// A line as it is typed, and as it may be shown.
pub(super) struct Line {
    /// What is typed.
    pub(super) text: String,
    /// The same without secrets.
    pub(super) shown: String,
}

/// Reads an argument that is lines: a text or a secret, or an array of them.
pub(super) fn lines(call: &Call<'_>, index: usize) -> Result<Vec<Line>, Raise> {
    let value = call.value(index);
    let items = value.clone().try_cast::<rhai::Array>().unwrap_or_else(|| vec![value.clone()]);
    let mut lines = Vec::new();
    for item in &items {
        let text = Text::from(item)
            .ok_or_else(|| call.wrong(index, "text, a secret, or an array of them", &value))?;
        for line in text.exposed()?.lines().map(str::trim_end).filter(|line| !line.trim().is_empty()) {
            let shown = match &text {
                Text::Secret(secret) => format!("«secret:{}»", secret.name()),
                Text::Plain(_) => masked(line),
            };
            if line.chars().any(|letter| letter.is_control() && letter != '\t') {
                let message = format!(
                    "`{}` holds a character that would be a key of the terminal",
                    shown.escape_debug()
                );
                return Err(invalid(message).into());
            }
            lines.push(Line { text: line.to_owned(), shown });
        }
    }
    if lines.is_empty() {
        return Err(invalid(format!("`{}` wants at least one line", call.name())).into());
    }
    Ok(lines)
}

pub(super) fn cisco_validate(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let given = Given::read(call, 0)?;
    let os = os(call, 1)?;
    let rules: Vec<Rule> = match call.option("rules") {
        None => Vec::new(),
        Some(value) => serde_json::from_value(to_json(&value)?)
            .map_err(|error| invalid(format!("`rules` of `{}`: {error}", call.name())))?,
    };
    let findings = cisco::validate(os, &given.text, &rules);
    let findings = serde_json::to_value(findings).map_err(|error| invalid(error.to_string()))?;
    Ok(to_dynamic(&findings)?)
}
