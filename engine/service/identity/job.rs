//! Pipelines of GitLab, by the ID tokens of their jobs.
//!
//! Paths of projects can be given away, and in a pipeline for a merge request from a fork the claims `project_*` name the fork (GitLab's
//! work item 563038): numbers decide, protected branches change, and where the two projects of such a pipeline differ nobody comes in.

use globset::GlobBuilder;
use serde_json::{Map, Value};

use super::IdentityError;
use super::settings::{IdTokenRule, IdTokenSettings};
use crate::model::role::Caller;
use crate::model::run::Trigger;
use crate::world::http::Trust;
use crate::world::jwt::{Algorithm, Provider};

/// An ID token that was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Who made it.
    pub issuer: String,
    /// Its own number.
    pub jti: String,
    /// Until when it can be shown: microseconds since 1970, UTC.
    pub expires_at: i64,
}

/// What knows the pipelines of one GitLab.
pub struct Jobs {
    provider: Provider,
    settings: IdTokenSettings,
}

impl Jobs {
    pub(super) fn new(settings: IdTokenSettings, trust: Trust) -> Result<Self, IdentityError> {
        Ok(Self { provider: Provider::new(&settings.issuer, trust)?, settings })
    }

    /// Finds out who a token stands for.
    pub(super) async fn caller(&self, token: &str) -> Result<(Caller, Shown), IdentityError> {
        let claims = self.provider.verify(token, &self.settings.audience, &[Algorithm::Rs256]).await?;
        let text =
            |name: &'static str| claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let missing = |name: &'static str| IdentityError::Claim(name);
        let jti = text("jti").ok_or_else(|| missing("jti"))?.to_owned();
        let rule = fitting(&self.settings.rules, &claims).ok_or(IdentityError::NoRule)?;
        let name = |name: &'static str| text(name).map(str::to_owned).ok_or_else(|| missing(name));
        let caller = Caller {
            role: rule.role,
            grants: rule.grants.clone(),
            runbooks: rule.runbooks.clone(),
            trigger: Trigger::Job {
                project: name("project_path")?,
                job: name("job_id")?,
                user: name("user_login")?,
            },
            plans_only: !rule.ref_protected,
        };
        let seconds = claims.get("exp").and_then(Value::as_f64).unwrap_or_default();
        // It is accepted for as long as clocks may differ after that.
        let expires_at = ((seconds + 120.0) * 1e6) as i64;
        Ok((caller, Shown { issuer: self.settings.issuer.clone(), jti, expires_at }))
    }
}

fn fitting<'r>(rules: &'r [IdTokenRule], claims: &Map<String, Value>) -> Option<&'r IdTokenRule> {
    // All claims of GitLab are texts; another kind of value fits nothing.
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let is_forked = text("job_project_id").is_some_and(|runs_in| text("project_id") != Some(runs_in));
    if is_forked {
        return None;
    }
    let number = |wanted: Option<u64>, name: &str| {
        wanted.is_none_or(|wanted| text(name) == Some(wanted.to_string().as_str()))
    };
    let word = |wanted: &Option<String>, name: &str| {
        wanted.as_deref().is_none_or(|wanted| text(name) == Some(wanted))
    };
    let glob = |wanted: &Option<String>, name: &str| {
        wanted.as_deref().is_none_or(|wanted| {
            let glob = GlobBuilder::new(wanted).literal_separator(true).build();
            glob.is_ok_and(|glob| text(name).is_some_and(|text| glob.compile_matcher().is_match(text)))
        })
    };
    let is_true = |name: &str| text(name) == Some("true");
    rules.iter().find(|rule| {
        (rule.project_id.is_some() || rule.namespace_id.is_some())
            && number(rule.project_id, "project_id")
            && number(rule.namespace_id, "namespace_id")
            && (!rule.ref_protected || is_true("ref_protected"))
            && glob(&rule.reference, "ref")
            && word(&rule.ref_type, "ref_type")
            && glob(&rule.environment, "environment")
            && (!rule.environment_protected || is_true("environment_protected"))
            && word(&rule.pipeline_source, "pipeline_source")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules(text: &str) -> Vec<IdTokenRule> {
        let text = format!("issuer: https://g\naudience: us\nrules:\n{text}");
        crate::model::yaml::from_str::<IdTokenSettings>(&text, "nlrun.yaml").unwrap().rules
    }

    #[test]
    fn what_a_rule_names_must_fit() {
        let rules = rules(
            "  - { project_id: 42, environment: 'prod/*', environment_protected: true, role: editor }\n\
             \x20 - { project_id: 42, ref: 'release-*', ref_type: branch }\n\
             \x20 - { namespace_id: 7, ref_protected: false, pipeline_source: merge_request_event, role: operator }\n",
        );
        let base = json!({
            "project_id": "42", "namespace_id": "7", "project_path": "infra/nl", "ref": "release-1", "ref_type": "branch",
            "ref_protected": "true", "pipeline_source": "push",
        });
        let with = |changes: Value| {
            let mut claims = base.as_object().unwrap().clone();
            for (name, value) in changes.as_object().unwrap() {
                claims.insert(name.clone(), value.clone());
            }
            fitting(&rules, &claims).map(|found| rules.iter().position(|rule| rule == found).unwrap())
        };
        for (changes, expected) in [
            (json!({}), Some(1)),
            (json!({ "environment": "prod/nl", "environment_protected": "true" }), Some(0)),
            (json!({ "environment": "prod/nl/x", "environment_protected": "true" }), Some(1)),
            (json!({ "environment": "prod/nl", "environment_protected": "false" }), Some(1)),
            (json!({ "ref_protected": "false" }), None),
            (json!({ "ref_protected": true }), None),
            (json!({ "ref": "main" }), None),
            (json!({ "ref_type": "tag" }), None),
            (json!({ "ref_protected": "false", "pipeline_source": "merge_request_event" }), Some(2)),
            // A fork has the path that it likes, and another number.
            (json!({ "project_id": "99", "namespace_id": "9" }), None),
            (json!({ "project_id": 42 }), None),
            // The fork's claims in a pipeline of the project that it was forked from.
            (json!({ "job_project_id": "41" }), None),
            (json!({ "job_project_id": "42" }), Some(1)),
        ] {
            assert_eq!(with(changes.clone()), expected, "{changes}");
        }
    }

    #[test]
    fn a_rule_for_everybody_is_none() {
        let text = "issuer: https://g\naudience: us\nrules: [{ ref: main }]\n";
        let error = crate::model::yaml::from_str::<IdTokenSettings>(text, "nlrun.yaml").unwrap_err();
        assert!(error.message.contains("project_id"), "{error}");
    }
}
