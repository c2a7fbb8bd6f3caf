//! Ways to log in, and what becomes of a login.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::KeyPair;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

use super::{call, done, project, reads, takes, trouble};
use crate::support::bao::{self, ROOT};
use crate::support::web::{Web, reply};

#[test]
fn a_given_token_is_used_and_never_ended() {
    let Some(bao) = bao::shared() else { return };
    bao.put("given/db", json!({ "password": "of-the-given" }));
    bao.does("PUT", "sys/policies/acl/given", json!({ "policy": reads("given") }));
    let made = bao.does("POST", "auth/token/create", json!({ "policies": ["given"], "ttl": "1h" }));
    let token = made["auth"]["client_token"].as_str().unwrap();
    let project = takes(project(&bao.address(), "mount: secret", ""), &["given/db/password"]);
    project.write("../home/.vault-token", token);
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(project.home().join(".vault-token"), private).unwrap();
    call(&project, ["run", "takes"]).success();
    call(&project, ["run", "takes"]).success();
    assert_eq!(done(&project), ["of-the-given", "of-the-given"]);
    assert_eq!(bao.tokens_of("given"), 1);
    let text = trouble(&project, "other/x");
    assert!(text.contains("OpenBao denies read `secret/data/other` to this login"), "{text}");
    assert!(text.contains("path \"secret/data/other\" { capabilities = [\"read\"] }"), "{text}");
    bao.does("POST", "auth/token/revoke", json!({ "token": token }));
    let text = trouble(&project, "given/db/password");
    assert!(text.contains("OpenBao does not know the token") && text.contains("bao login"), "{text}");
    std::fs::remove_file(project.home().join(".vault-token")).unwrap();
    let text = trouble(&project, "given/db/password");
    assert!(text.contains("neither `BAO_TOKEN` nor `VAULT_TOKEN` nor `~/.vault-token` has one"), "{text}");
}

#[test]
fn a_token_that_may_not_know_itself_is_a_token_for_all_that() {
    let Some(bao) = bao::shared() else { return };
    bao.put("shy/db", json!({ "password": "of-the-shy" }));
    bao.does("PUT", "sys/policies/acl/shy", json!({ "policy": reads("shy") }));
    let wish = json!({ "policies": ["shy"], "no_default_policy": true });
    let token =
        bao.does("POST", "auth/token/create", wish)["auth"]["client_token"].as_str().unwrap().to_owned();
    let project = project(&bao.address(), "mount: secret", "").variable("BAO_TOKEN", &token);
    let lines = call(&project, ["secrets", "test", "shy/db/password", "--json"]).success().json_lines();
    assert_eq!((&lines[0]["ok"], &lines[0]["identity"]), (&json!(true), &Value::Null));
    assert_eq!(lines[1]["bytes"], 10);
    let text = trouble(&project, "other/x");
    assert!(text.contains("OpenBao denies read `secret/data/other` to this login"), "{text}");
    // Nor does a login without that right log in again for each refusal.
    let (role, secret) = bao.role("shy", &reads("shy"), &json!({ "token_no_default_policy": true }));
    let between = bao.between(|_| false);
    let auth = format!("mount: secret, auth: {{approle: {{role_id: {role}, secret_id_env: SID}}}}");
    let project = super::project(&between.url(""), &auth, "").variable("SID", &secret);
    let output =
        call(&project, ["secrets", "test", "other/a", "other/b", "shy/db/password", "--json"]).ends(1);
    assert_eq!(output.json_lines()[3]["ok"], true, "{output:?}");
    let logins = between.requests().iter().filter(|request| request.contains("/login ")).count();
    assert_eq!(logins, 1);
    assert_eq!(bao.tokens_of("shy"), 2, "the given token, and the login that may not end itself");
    assert!(
        output.stderr.contains("the login token of OpenBao is not revoked (403 permission denied)"),
        "{output:?}"
    );
}

#[test]
fn a_token_that_ends_in_the_middle_is_replaced_once() {
    let Some(bao) = bao::shared() else { return };
    bao.put("middle/a", json!({ "x": "before-the-end" }));
    bao.put("middle/b", json!({ "x": "after-the-end" }));
    let policy = format!(
        "{} path \"sys/leases/revoke-prefix/*\" {{ capabilities = [\"sudo\", \"update\"] }}",
        reads("middle")
    );
    bao.method("middle", "approle");
    bao.does("PUT", "sys/policies/acl/middle", json!({ "policy": policy }));
    bao.does("POST", "auth/middle/role/r", json!({ "token_policies": "middle" }));
    let text = |path: &str, verb: &str, key: &str| {
        bao.does(verb, path, Value::Null)["data"][key].as_str().unwrap().to_owned()
    };
    let role = text("auth/middle/role/r/role-id", "GET", "role_id");
    let secret = text("auth/middle/role/r/secret-id", "POST", "secret_id");
    let source = format!(
        "mount: secret, prefix: middle, auth: {{approle: {{mount: middle, role_id: {role}, secret_id_env: SECRET_ID}}}}"
    );
    let url = format!("{}/v1/sys/leases/revoke-prefix/auth/middle/login", bao.address());
    let project = project(&bao.address(), &source, "root: {env: ROOT}")
        .variable("SECRET_ID", &secret)
        .variable("ROOT", ROOT)
        .runbook(
            "middle",
            &format!(
                "const NEEDS = [\"ssh.*\", \"secret.read\", \"http.*:**\"];\n\
                 ssh_exec(\"h1\", \"cat >> done; echo >> done\", #{{ stdin: secret(\"a/x\") }});\n\
                 http_put(\"{url}\", #{{ bearer: secret(\"root\") }});\n\
                 ssh_exec(\"h1\", \"cat >> done; echo >> done\", #{{ stdin: secret(\"b/x\") }});\n"
            ),
        );
    let output = call(&project, ["run", "middle"]).success();
    assert_eq!(done(&project), ["before-the-end", "after-the-end"]);
    assert!(!output.stdout.contains("warning"), "{output:?}");
    assert_eq!(bao.tokens_of("middle"), 0);
}

#[test]
fn a_login_is_renewed_while_the_run_lives() {
    let Some(bao) = bao::shared() else { return };
    bao.put("renewed/a", json!({ "x": "early-value" }));
    bao.put("renewed/b", json!({ "x": "late-value" }));
    // One login only: the second read has the same token or none.
    let wish = json!({ "token_ttl": "6s", "secret_id_num_uses": 1 });
    let (role, secret) = bao.role("renewed", &reads("renewed"), &wish);
    let source = format!(
        "mount: secret, prefix: renewed, auth: {{approle: {{role_id: {role}, secret_id_env: SECRET_ID}}}}"
    );
    let project = project(&bao.address(), &source, "").variable("SECRET_ID", &secret).runbook(
        "renewed",
        "const NEEDS = [\"ssh.*\", \"secret.read\"];\n\
         ssh_exec(\"h1\", \"cat >> done; echo >> done; sleep 7\", #{ stdin: secret(\"a/x\") });\n\
         ssh_exec(\"h1\", \"cat >> done; echo >> done\", #{ stdin: secret(\"b/x\") });\n",
    );
    call(&project, ["run", "renewed"]).success();
    assert_eq!(done(&project), ["early-value", "late-value"]);
}

#[test]
fn a_wrapped_secret_is_opened_once_and_only_where_it_was_made() {
    let Some(bao) = bao::shared() else { return };
    bao.put("wrapped/db", json!({ "password": "of-the-wrapped" }));
    let (role, _) = bao.role("wrapped", &reads("wrapped"), &json!({}));
    bao.role("stranger", &reads("wrapped"), &json!({}));
    let wrap = |path: &str| {
        let headers = [("X-Vault-Wrap-TTL", "5m")];
        let (status, made) = bao.ask_as(ROOT, &headers, "POST", path, &Value::Null);
        assert_eq!(status, 200, "{made}");
        made["wrap_info"]["token"].as_str().unwrap().to_owned()
    };
    let project = |more: &str, token: &str| {
        let source = format!(
            "mount: secret, auth: {{approle: {{role_id: {role}, secret_id_env: W, secret_id_wrapped: true{more}}}}}"
        );
        takes(project(&bao.address(), &source, ""), &["wrapped/db/password"]).variable("W", token)
    };
    let token = wrap("auth/approle/role/wrapped/secret-id");
    let exactly = ", creation_path: auth/approle/role/wrapped/secret-id";
    call(&project(exactly, &token), ["run", "takes"]).success();
    let text = trouble(&project(exactly, &token), "wrapped/db/password");
    assert!(text.contains("ALARM: the wrapped secret_id was unwrapped before"), "{text}");
    assert!(text.contains("take it for stolen"), "{text}");

    // Of another role, or no secret_id at all: it is left as it is.
    for (path, more) in [("auth/approle/role/stranger/secret-id", exactly), ("sys/wrapping/wrap", "")] {
        let token = wrap(path);
        let text = trouble(&project(more, &token), "wrapped/db/password");
        assert!(text.contains(&format!("ALARM: the wrapped secret_id was made by `{path}`")), "{text}");
        let (status, _) = bao.ask_as(&token, &[], "POST", "sys/wrapping/unwrap", &Value::Null);
        assert_eq!(status, 200, "it was not unwrapped");
    }
    let token = wrap("auth/approle/role/wrapped/secret-id");
    call(&project("", &token), ["run", "takes"]).success();
}

/// A key that signs tokens, and its public half in PEM.
struct Signer(KeyPair);

impl Signer {
    fn new() -> Self {
        Self(KeyPair::generate().unwrap())
    }

    fn sign(&self, claims: &Value) -> String {
        let random = SystemRandom::new();
        let der = self.0.serialize_der();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &random).unwrap();
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(&json!({ "alg": "ES256", "typ": "JWT" })), part(claims));
        let signature = key.sign(&random, text.as_bytes()).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

/// The claims of a pipeline, valid until 2100.
fn claims(audience: &str) -> Value {
    json!({ "iss": "https://gitlab.example.net", "sub": "project_path:ops/net", "aud": audience, "nbf": 1_577_836_800, "exp": 4_102_444_800_u64 })
}

#[test]
fn a_pipeline_logs_in_by_its_token_also_without_any_of_its_own() {
    let Some(bao) = bao::shared() else { return };
    bao.put("pipeline/cisco", json!({ "password": "of-the-pipeline" }));
    let signer = Signer::new();
    bao.method("jwt", "jwt");
    let config = json!({ "jwt_validation_pubkeys": [signer.0.public_key_pem()], "bound_issuer": "https://gitlab.example.net" });
    bao.does("POST", "auth/jwt/config", config);
    bao.does("PUT", "sys/policies/acl/pipeline", json!({ "policy": reads("pipeline") }));
    let role = json!({ "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["bao"], "token_policies": "pipeline", "token_ttl": "1h" });
    bao.does("POST", "auth/jwt/role/gitlab-ci", role);
    let project = |auth: &str, token: &str| {
        let source = format!("mount: secret, prefix: pipeline, auth: {{{auth}}}");
        takes(project(&bao.address(), &source, ""), &["cisco/password"]).variable("VAULT_ID_TOKEN", token)
    };
    let good = signer.sign(&claims("bao"));
    for auth in ["jwt: {role: gitlab-ci}", "jwt: {role: gitlab-ci}, inline: true"] {
        let project = project(auth, &good);
        let output = call(&project, ["run", "takes"]).success();
        assert_eq!(done(&project), ["of-the-pipeline"]);
        assert!(!output.stdout.contains("warning"), "{output:?}");
        assert_eq!(bao.tokens_of("pipeline"), 0);
        let tested = call(&project, ["secrets", "test", "cisco/password"]).success();
        assert!(
            tested.stdout.contains("as `jwt-project_path:ops/net`, policies default pipeline"),
            "{tested:?}"
        );
    }
    for (auth, token, says) in [
        ("jwt: {role: gitlab-ci}", signer.sign(&claims("other")), "invalid audience (aud) claim"),
        (
            "jwt: {role: gitlab-ci}, inline: true",
            signer.sign(&claims("other")),
            "`bound_audiences` must hold",
        ),
        ("jwt: {role: nobody}", good.clone(), "is the role spelled as on the server"),
        ("jwt: {role: gitlab-ci}", Signer::new().sign(&claims("bao")), "refuses the login by `auth/jwt`"),
        ("jwt: {mount: elsewhere, role: a}", good.clone(), "is the method mounted there"),
        ("jwt: {role: a, token_env: NONE}", good.clone(), "is in the variable `NONE`, which is not set"),
    ] {
        let text = trouble(&project(auth, &token), "cisco/password");
        assert!(text.contains(says), "{auth}: {text}");
        assert!(!text.contains(&token));
    }
}

#[test]
fn a_pod_logs_in_by_its_service_account() {
    let Some(bao) = bao::shared() else { return };
    bao.put("pod/db", json!({ "password": "of-the-pod" }));
    let claims = json!({
        "iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:ops:runner", "aud": ["bao"], "nbf": 1_577_836_800, "exp": 4_102_444_800_u64,
        "kubernetes.io": { "namespace": "ops", "serviceaccount": { "name": "runner", "uid": "u-1" } },
    });
    let token = Signer::new().sign(&claims);
    // What the server asks of a cluster: whose token that is.
    let (review, known) = (Arc::new(AtomicUsize::new(0)), token.clone());
    let count = review.clone();
    let cluster = Web::start(move |request, _, stream| {
        let is_right = request.starts_with("POST /apis/authentication.k8s.io/v1/tokenreviews ");
        count.fetch_add(1, Ordering::Relaxed);
        let user = json!({ "username": "system:serviceaccount:ops:runner", "uid": "u-1", "groups": ["system:serviceaccounts"] });
        let is_known = is_right && request.contains(&known);
        let status = if is_known {
            json!({ "authenticated": true, "user": user, "audiences": ["bao"] })
        } else {
            json!({ "error": "no" })
        };
        let body =
            json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status });
        reply(stream, "201 Created", "Content-Type: application/json\r\n", body.to_string().as_bytes());
    });
    bao.method("kubernetes", "kubernetes");
    let authority = rcgen::generate_simple_self_signed(vec!["cluster".to_owned()]).unwrap().cert.pem();
    let config = json!({
        "kubernetes_host": cluster.url(""), "token_reviewer_jwt": token, "disable_local_ca_jwt": true, "kubernetes_ca_cert": authority,
    });
    bao.does("POST", "auth/kubernetes/config", config);
    bao.does("PUT", "sys/policies/acl/pod", json!({ "policy": reads("pod") }));
    let role = json!({
        "bound_service_account_names": "runner", "bound_service_account_namespaces": "ops", "token_policies": "pod",
    });
    bao.does("POST", "auth/kubernetes/role/runner", role);
    let project = |role: &str| {
        let source = format!("mount: secret, auth: {{kubernetes: {{role: {role}, token_file: sa/token}}}}");
        takes(project(&bao.address(), &source, ""), &["pod/db/password"]).file("sa/token", &token)
    };
    let runner = project("runner");
    call(&runner, ["run", "takes"]).success();
    assert_eq!(done(&runner), ["of-the-pod"]);
    assert!(review.load(Ordering::Relaxed) > 0, "the server has asked the cluster");
    assert_eq!(bao.tokens_of("pod"), 0);
    let text = trouble(&project("nobody"), "pod/db/password");
    assert!(text.contains("invalid role name"), "{text}");
}
