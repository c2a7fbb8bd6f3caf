//! What scripts ask of the inventory: `hosts host group`.

use rhai::Dynamic;

use crate::bindings::{Binding, Call, Function, HostValue, Raise};
use crate::gate::permit::invalid;
use crate::model::signature::{Param, Signature, Type};

fn hosts(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let pattern = call.string(0)?;
    let gate = call.session.gate();
    let selected = gate.inventory.select(&pattern).map_err(|error| invalid(error.to_string()))?;
    let declared = gate.inventory.group("all").map_or(0, |all| all.hosts.len());
    if declared > 1 && selected.len() >= declared {
        gate.authority.selected_all(declared);
    }
    Ok(selected.into_iter().map(|host| Dynamic::from(HostValue(host))).collect::<rhai::Array>().into())
}

fn host(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    Ok(Dynamic::from(HostValue(call.host(0)?)))
}

fn group(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let name = call.string(0)?;
    let inventory = &call.session.gate().inventory;
    let group = inventory.group(&name).ok_or_else(|| {
        let near =
            inventory.nearest(&name).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        invalid(format!("there is no group `{name}` in the inventory{near}"))
    })?;
    let hosts = group.hosts.iter().filter_map(|name| inventory.host(name).cloned());
    Ok(hosts.map(|host| Dynamic::from(HostValue(host))).collect::<rhai::Array>().into())
}

/// The inventory.
pub const BINDING: Binding = Binding {
    area: "inventory",
    doc: "Hosts and groups; the run works on the inventory as it was when it started.",
    functions: &[
        Function {
            signature: Signature {
                name: "hosts",
                params: &[Param { name: "pattern", ty: Type::Pattern, optional: false }],
                options: &[],
                required_options: &[],
                returns: "An array of hosts with `.name .address .groups .vars`, in the order of the inventory.",
                performs: None,
                doc: "Selects hosts by a pattern such as `web:&nl:!edge-3`; selecting none is a failure.",
                example: r#"for h in hosts("localhost") { print(h.name) }"#,
            },
            run: hosts,
        },
        Function {
            signature: Signature {
                name: "host",
                params: &[Param { name: "name", ty: Type::Host, optional: false }],
                options: &[],
                required_options: &[],
                returns: "A host with `.name .address .os .groups .vars`; `.os` is that of a network device, or `()`.",
                performs: None,
                doc: "Returns a host of the inventory.",
                example: r#"print(host("localhost").address);"#,
            },
            run: host,
        },
        Function {
            signature: Signature {
                name: "group",
                params: &[Param { name: "name", ty: Type::String, optional: false }],
                options: &[],
                required_options: &[],
                returns: "An array of hosts; empty for an empty group.",
                performs: None,
                doc: "Returns the hosts of a group, nested groups included.",
                example: r#"print(group("all").len());"#,
            },
            run: group,
        },
    ],
};
