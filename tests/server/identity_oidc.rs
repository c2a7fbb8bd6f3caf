//! Signing in at an OpenID Connect provider that is strict, and at one that lies.

use serde_json::{Value, json};

use crate::support::browser::{Browser, user};
use crate::support::issuer::{CLIENT, Issuer, Key, sign_shared, unsigned};
use crate::support::project::Project;
use crate::support::server::{Answer, Server};

struct World {
    issuer: Issuer,
    server: Server,
    project: Project,
}

fn world() -> World {
    let issuer = Issuer::start();
    let yaml = format!(
        "secrets: {{ sources: [ {{ env: {{ prefix: NLRUN_SECRET_ }} }} ] }}\nserver:\n  oidc:\n    issuer: {}\n    client_id: {}\n    \
         client_secret: oidc/client\n    roles: {{ claim: groups, map: {{ ops: operator, root: admin, all: viewer }} }}\n",
        issuer.url(),
        CLIENT.0
    );
    let project = Project::new().file("nlrun.yaml", &yaml).variable("NLRUN_SECRET_OIDC_CLIENT", CLIENT.1);
    let server = Server::start(&project);
    issuer.state.lock().redirect = format!("{}/login/oidc/done", server.url);
    is(&issuer, json!({ "groups": ["ops", "all"], "preferred_username": "ann" }));
    World { issuer, server, project }
}

fn is(issuer: &Issuer, person: Value) {
    issuer.state.lock().person = person;
}

impl World {
    fn browser(&self) -> Browser {
        Browser::new(&self.server)
    }

    /// Goes to the provider, and returns the path that it sends the browser back to.
    fn there(&self, browser: &mut Browser, next: &str) -> String {
        let answer = browser.open(&format!("/login/oidc?next={next}"));
        assert_eq!(answer.status, 303, "{answer:?}");
        let location = answer.headers["location"].to_str().unwrap();
        let path = location.strip_prefix(&self.issuer.url()).expect("to the provider");
        let answer = provider(&self.issuer, path);
        assert_eq!(answer.status, 302, "{answer:?} {:?}", self.issuer.state.lock().refusals);
        let back = answer.headers["location"].to_str().unwrap();
        back.strip_prefix(&self.server.url).expect("back to the server").to_owned()
    }

    fn sign_in(&self, browser: &mut Browser) -> Answer {
        let back = self.there(browser, "/");
        browser.open(&back)
    }
}

#[expect(clippy::disallowed_methods, reason = "a browser goes where it is sent")]
fn provider(issuer: &Issuer, path: &str) -> Answer {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        let answer = client.get(format!("{}{path}", issuer.url())).send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Answer { status, headers, text: answer.text().await.unwrap() }
    })
}

#[test]
fn who_the_provider_lets_in_has_the_role_that_it_says() {
    let world = world();
    let mut browser = world.browser();
    let page = browser.open("/login").text;
    assert!(page.contains("/login/oidc?next="), "{page}");
    let back = world.there(&mut browser, "/runs");
    let answer = browser.open(&back);
    assert_eq!((answer.status, answer.headers["location"].to_str().unwrap()), (303, "/runs"), "{answer:?}");
    assert!(browser.cookies.contains_key("nlrun") && !browser.cookies.contains_key("nlrun_oidc"));
    let who = browser.get("/api/v1/session").json();
    assert_eq!(
        (&who["name"], &who["role"], &who["by"]),
        (&json!("ann"), &json!("operator"), &json!("session"))
    );
    // The answer is good once, also for the browser that it was meant for.
    assert_eq!(browser.open(&back).status, 401);
    // Another role there is another role here, and the sessions of the old one are over.
    is(&world.issuer, json!({ "groups": "root", "preferred_username": "ann" }));
    let mut second = world.browser();
    assert_eq!(world.sign_in(&mut second).status, 303);
    assert_eq!(second.get("/api/v1/session").json()["role"], "admin");
    assert_eq!(browser.get("/api/v1/session").status, 401);
    // Who has lost every role does not come in, and is out.
    is(&world.issuer, json!({ "groups": ["guests"], "preferred_username": "ann" }));
    let refused = world.sign_in(&mut world.browser());
    assert!(refused.status == 403 && refused.text.contains("no role"), "{refused:?}");
    assert_eq!(second.get("/api/v1/session").status, 401);
    // The server's own users are nobody's at the provider.
    user(&world.project, "bob", "admin");
    is(&world.issuer, json!({ "groups": ["ops"], "preferred_username": "bob", "sub": "person-2" }));
    assert_eq!(world.sign_in(&mut world.browser()).status, 409);
    // And nobody signs in here with a password whom the provider knows, or gets another role here.
    assert_eq!(world.browser().sign_in("ann", "").status, 401);
    assert_eq!(world.project.args(["user", "role", "ann", "admin"]).code, 64);
    let rows = world.project.args(["audit", "--json", "--action", "GET /login/oidc/done"]).json_lines();
    let allowed = rows.iter().filter(|row| row["allowed"] == true && row["who"] == "ann").count();
    assert_eq!(allowed, 2, "{rows:?}");
    assert!(world.issuer.state.lock().refusals.is_empty(), "{:?}", world.issuer.state.lock().refusals);
}

#[test]
fn an_answer_that_this_browser_did_not_ask_for_is_refused() {
    let world = world();
    let mut ann = world.browser();
    let back = world.there(&mut ann, "/");
    // Somebody makes another browser come back with their own answer.
    assert_eq!(world.browser().open(&back).status, 401);
    let mut victim = world.browser();
    let _ = world.there(&mut victim, "/");
    assert_eq!(victim.open(&back).status, 401);
    assert!(!victim.cookies.contains_key("nlrun"));
    assert_eq!(ann.open(&back).status, 303, "and the one that it was meant for is let in");
    let field = |back: &str, name: &str| {
        let (_, query) = back.split_once('?').unwrap();
        url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).unwrap().1.into_owned()
    };
    for (from, to) in [
        ("state", "0000".to_owned()),
        ("iss", "https://evil.example".to_owned()),
        ("code", "0000".to_owned()),
    ] {
        let mut browser = world.browser();
        let back = world.there(&mut browser, "/");
        let wrong = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(
                ["state", "iss", "code"]
                    .map(|name| (name, if name == from { to.clone() } else { field(&back, name) })),
            )
            .finish();
        let answer = browser.open(&format!("/login/oidc/done?{wrong}"));
        assert_eq!(answer.status, 401, "{from}: {answer:?}");
        assert!(!browser.cookies.contains_key("nlrun"), "{from}");
        assert_eq!(browser.open(&back).status, 401, "one try is all, after a wrong {from}");
    }
    // Without the issuer that the provider promises, too.
    let mut browser = world.browser();
    let back = world.there(&mut browser, "/");
    let bare = format!("/login/oidc/done?state={}&code={}", field(&back, "state"), field(&back, "code"));
    assert_eq!(browser.open(&bare).status, 401);
    let mut browser = world.browser();
    let back = world.there(&mut browser, "/");
    let denied = format!(
        "/login/oidc/done?state={}&iss={}&error=access_denied%3Cb%3E",
        field(&back, "state"),
        world.issuer.url()
    );
    let answer = browser.open(&denied);
    assert!(
        answer.status == 401 && answer.text.contains("access_denied") && !answer.text.contains("<b>"),
        "{answer:?}"
    );
}

#[test]
fn a_provider_that_gives_a_wrong_token_lets_nobody_in() {
    let world = world();
    let spoils: [(&str, fn(&crate::support::issuer::State, Value) -> String); 9] = [
        ("nonce", |state, mut claims| {
            claims["nonce"] = json!("another");
            state.signer.sign(&claims)
        }),
        ("no nonce", |state, mut claims| {
            claims.as_object_mut().unwrap().remove("nonce");
            state.signer.sign(&claims)
        }),
        ("audience", |state, mut claims| {
            claims["aud"] = json!("another");
            state.signer.sign(&claims)
        }),
        ("shared audience", |state, mut claims| {
            claims["aud"] = json!([CLIENT.0, "another"]);
            claims["azp"] = json!("another");
            state.signer.sign(&claims)
        }),
        ("expired", |state, mut claims| {
            claims["exp"] = json!(claims["iat"].as_i64().unwrap() - 100);
            state.signer.sign(&claims)
        }),
        ("issuer", |state, mut claims| {
            claims["iss"] = json!("https://evil.example");
            state.signer.sign(&claims)
        }),
        ("alg none", |_, claims| format!("{}.", unsigned(&json!({ "alg": "none" }), &claims))),
        ("HS256", |_, claims| {
            sign_shared(&json!({ "alg": "HS256", "kid": "first" }), &claims, CLIENT.1.as_bytes())
        }),
        ("another key", |_, claims| Key::new("first").sign(&claims)),
    ];
    for (what, spoil) in spoils {
        world.issuer.state.lock().spoil = Some(spoil);
        let mut browser = world.browser();
        let answer = world.sign_in(&mut browser);
        assert_eq!(answer.status, 401, "{what}: {answer:?}");
        assert!(!browser.cookies.contains_key("nlrun"), "{what}");
    }
    world.issuer.state.lock().spoil = None;
    world.issuer.rotate("second");
    assert_eq!(world.sign_in(&mut world.browser()).status, 303, "new keys are found");
    let said = world.server.said();
    assert!(!said.contains(CLIENT.1) && !said.contains("eyJ"), "{said}");
}

#[test]
fn nobody_is_sent_elsewhere_and_everybody_can_leave() {
    let world = world();
    let mut browser = world.browser();
    let back = world.there(&mut browser, "https%3A%2F%2Fevil.example");
    assert_eq!(browser.open(&back).headers["location"], "/");
    let page = browser.open("/login").text;
    let csrf = page.split_once("name=\"csrf\" value=\"").unwrap().1.split_once('"').unwrap().0.to_owned();
    let answer = browser.post_form("/logout", &format!("csrf={csrf}"));
    assert_eq!(answer.headers["location"], "/login?out=1");
    assert_eq!(browser.get("/api/v1/session").status, 401);
    let page = browser.open("/login?out=1").text;
    assert!(page.contains("end?client_id=nlrun-server&amp;post_logout_redirect_uri="), "{page}");
}
