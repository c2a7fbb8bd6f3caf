//! Roles: what each may, who gets it from a provider, and which pipelines have one.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::role::Role;
use crate::server::App;
use crate::server::api::Answer;
use crate::server::caller::Admin;
use crate::server::extract::Json;
use crate::server::problem::Problem;
use crate::service::Desk;
use crate::service::identity::settings::IdTokenRule;

/// The roles, and who gets one without being a user or a token here.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Roles {
    /// The roles, the one that may least first.
    items: Vec<OneRole>,
    /// Where people come from who sign in at a provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<Provider>,
    /// Which pipelines come in with an ID token; the first rule that fits decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pipelines: Option<Pipelines>,
}

/// A role.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OneRole {
    /// `viewer`, `operator`, `editor` or `admin`.
    #[schema(value_type = String)]
    role: Role,
    /// What it may, in a sentence.
    may: &'static str,
    /// Capabilities of runs, of those who have none of their own; all when empty.
    grants: Vec<String>,
    /// Globs of runbooks, of those who have none of their own; all when empty.
    runbooks: Vec<String>,
    /// Values of the provider's claim that give this role: groups, as a rule.
    groups: Vec<String>,
}

/// An OpenID Connect provider.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Provider {
    /// The provider.
    issuer: String,
    /// The claim that gives a role.
    claim: String,
}

/// Pipelines of GitLab.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Pipelines {
    /// The GitLab.
    issuer: String,
    /// What its tokens must be meant for.
    audience: String,
    /// The rules.
    rules: Vec<Rule>,
}

/// Which pipelines come in, and what they may.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Rule {
    /// What must fit, in words: `project 42`, `ref main`, `protected ref` …
    demands: Vec<String>,
    /// Whether they may ask for plans only, as they do not need to run on a protected ref.
    plans_only: bool,
    /// `viewer`, `operator`, `editor` or `admin`.
    #[schema(value_type = String)]
    role: Role,
    /// Capabilities of runs; those of the role when empty.
    grants: Vec<String>,
    /// Globs of runbooks; those of the role when empty.
    runbooks: Vec<String>,
}

fn may(role: Role) -> &'static str {
    match role {
        Role::Viewer => "sees everything but secrets, and changes nothing",
        Role::Operator => "runs, plans, cancels, resumes and approves",
        Role::Editor => "changes runbooks and schedules as well",
        Role::Admin => "changes users, tokens and the server as well",
    }
}

fn rule(rule: &IdTokenRule) -> Rule {
    let named = |word: &str, value: Option<String>| value.map(|value| format!("{word} {value}"));
    let demands = [
        named("project", rule.project_id.map(|id| id.to_string())),
        named("group", rule.namespace_id.map(|id| id.to_string())),
        named("ref", rule.reference.clone()),
        named("ref is a", rule.ref_type.clone()),
        rule.ref_protected.then(|| "protected ref".to_owned()),
        named("environment", rule.environment.clone()),
        rule.environment_protected.then(|| "protected environment".to_owned()),
        named("started by", rule.pipeline_source.clone()),
    ];
    Rule {
        demands: demands.into_iter().flatten().collect(),
        plans_only: !rule.ref_protected,
        role: rule.role,
        grants: rule.grants.clone(),
        runbooks: rule.runbooks.clone(),
    }
}

/// Returns the roles as `server:` in nlrun.yaml has them.
pub(in crate::server) fn shown(desk: &Desk) -> Roles {
    let settings = &desk.project().config().server;
    let one = |role: Role| {
        let usual = settings.roles.get(&role).cloned().unwrap_or_default();
        let map = settings.oidc.iter().flat_map(|oidc| &oidc.roles.map);
        let groups = map.filter(|(_, given)| **given == role).map(|(group, _)| group.clone()).collect();
        OneRole { role, may: may(role), grants: usual.grants, runbooks: usual.runbooks, groups }
    };
    Roles {
        items: Role::ALL.map(one).into(),
        provider: settings
            .oidc
            .as_ref()
            .map(|oidc| Provider { issuer: oidc.issuer.clone(), claim: oidc.roles.claim.clone() }),
        pipelines: settings.gitlab.id_tokens.as_ref().map(|tokens| Pipelines {
            issuer: tokens.issuer.clone(),
            audience: tokens.audience.clone(),
            rules: tokens.rules.iter().map(rule).collect(),
        }),
    }
}

/// Show the roles
#[utoipa::path(get, path = "/api/v1/roles", tag = "roles",
    responses((status = 200, body = Roles), (status = "default", body = Problem)))]
pub(crate) async fn show(_: Admin, State(app): State<App>) -> Answer<Roles> {
    Ok(Json(app.look(|desk| Ok(shown(desk))).await?))
}
