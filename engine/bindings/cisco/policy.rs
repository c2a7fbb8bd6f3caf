//! A rule of a site as a function of a runbook: `cisco_policy`.

use rhai::Dynamic;

use super::text::{Given, os};
use crate::bindings::control::{body_of, is_skip, short};
use crate::bindings::{Call, LineValue, Raise, line, to_dynamic};
use crate::cisco::{self, Finding, Severity};
use crate::gate::permit::invalid;

/// What findings of a rule without a name are called.
const UNNAMED: &str = "policy";

pub(super) fn cisco_policy(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let given = Given::read(call, 0)?;
    let os = os(call, 1)?;
    let rule = body_of(call)?;
    let name = call.option_string("name")?.unwrap_or_else(|| UNNAMED.to_owned());
    let findings = match cisco::usable(os, &given.text) {
        Err(finding) => vec![finding],
        Ok(()) => {
            let whole = LineValue::whole(os, &given.text);
            match rule.call_within_context::<Dynamic>(call.context, (whole,)) {
                Ok(answer) => line::findings(&name, &answer),
                Err(error) if !error.unwrap_inner().is_catchable() || is_skip(&error) => {
                    return Err(error.into());
                }
                Err(error) => {
                    let message = format!("the rule failed: {}", short(&error));
                    vec![Finding { rule: name, severity: Severity::Critical, line: 0, message }]
                }
            }
        }
    };
    let findings = serde_json::to_value(findings).map_err(|error| invalid(error.to_string()))?;
    Ok(to_dynamic(&findings)?)
}
