//! An issuer of ID tokens on loopback: an OpenID Connect provider that takes nothing it should refuse, and GitLab.
#![allow(clippy::unwrap_used, dead_code, reason = "a test may panic, and each uses a part of it")]

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::certificates::Forge;
use super::web::{Web, reply};

/// A key of RSA, made by openssl.
pub struct Key {
    /// Its name in the key set.
    pub kid: String,
    pair: RsaKeyPair,
    /// The public half in PEM, for those who take it for a shared secret.
    pub public_pem: Vec<u8>,
}

impl Key {
    /// Makes a new one.
    pub fn new(kid: &str) -> Arc<Self> {
        let forge = Forge::new();
        forge.key("key", "RSA-2048");
        let public_pem = forge.openssl("pkey -in key.key -pubout");
        let der = PrivatePkcs8KeyDer::from_pem_file(forge.path("key.key")).unwrap();
        let pair = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
        Arc::new(Self { kid: kid.to_owned(), pair, public_pem })
    }

    /// Returns it as a key set lists it.
    pub fn listed(&self) -> Value {
        let public = RsaPublicKeyComponents::<Vec<u8>>::from(self.pair.public());
        let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid,
            "n": number(&public.n),
            "e": number(&public.e),
        })
    }

    /// Signs claims, with this key's usual head.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_with(&json!({ "alg": "RS256", "typ": "JWT", "kid": self.kid }), claims)
    }

    /// Signs a head and claims.
    pub fn sign_with(&self, head: &Value, claims: &Value) -> String {
        let text = unsigned(head, claims);
        let mut signature = vec![0; self.pair.public().modulus_len()];
        self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// Returns what a signature is made over.
pub fn unsigned(head: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(head), part(claims))
}

/// Signs with a shared secret, as HS256 does.
pub fn sign_shared(head: &Value, claims: &Value, secret: &[u8]) -> String {
    let text = unsigned(head, claims);
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    let tag = ring::hmac::sign(&key, text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag))
}

/// Returns the present, in seconds since 1970.
pub fn now() -> i64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64
}

/// What the issuer knows and has seen.
pub struct State {
    /// The keys that it publishes.
    pub published: Vec<Arc<Key>>,
    /// The key that it signs with.
    pub signer: Arc<Key>,
    /// Where people may be sent back to.
    pub redirect: String,
    /// What it says of whoever signs in, besides what every token has.
    pub person: Value,
    /// How often its keys were asked for.
    pub keys_asked: usize,
    /// What was wrong with a request that it has refused.
    pub refusals: Vec<String>,
    /// What becomes of a token before it is given out, if not what should.
    pub spoil: Option<fn(&State, Value) -> String>,
    codes: BTreeMap<String, Code>,
}

struct Code {
    challenge: String,
    nonce: String,
}

/// A running issuer; it ends with this value.
pub struct Issuer {
    web: Web,
    /// What it knows and has seen.
    pub state: Arc<Mutex<State>>,
}

/// How the provider knows the server, and the secret between the two.
pub const CLIENT: (&str, &str) = ("nlrun-server", "se:cret/of the client+");

impl Issuer {
    /// Starts one with a key.
    pub fn start() -> Self {
        let key = Key::new("first");
        let state = Arc::new(Mutex::new(State {
            published: vec![key.clone()],
            signer: key,
            redirect: String::new(),
            person: json!({}),
            keys_asked: 0,
            refusals: Vec::new(),
            spoil: None,
            codes: BTreeMap::new(),
        }));
        let own = state.clone();
        let web = Web::start(move |request, _, stream| {
            let host = header(request, "host").unwrap_or_default();
            let url = format!("http://{host}");
            let (status, headers, body) = answer(&mut own.lock(), &url, request);
            reply(stream, status, &headers, body.as_bytes());
        });
        Self { web, state }
    }

    /// The issuer as its tokens name it.
    pub fn url(&self) -> String {
        self.web.url("")
    }

    /// Signs claims with the key of the moment.
    pub fn sign(&self, claims: &Value) -> String {
        self.state.lock().signer.sign(claims)
    }

    /// Replaces all keys.
    pub fn rotate(&self, kid: &str) {
        let key = Key::new(kid);
        let mut state = self.state.lock();
        state.published = vec![key.clone()];
        state.signer = key;
    }
}

fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let (head, _) = request.split_once("\r\n\r\n")?;
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then_some(value)
    })
}

fn fields(text: &str) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}

type Told = (&'static str, String, String);

fn answer(state: &mut State, own: &str, request: &str) -> Told {
    let line = request.lines().next().unwrap_or_default();
    let (method, target) = line.split_once(' ').unwrap_or_default();
    let target = target.split(' ').next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let json = "Content-Type: application/json\r\n".to_owned();
    match (method, path) {
        ("GET", "/.well-known/openid-configuration") => {
            let body = json!({
                "issuer": own, "jwks_uri": format!("{own}/keys"), "authorization_endpoint": format!("{own}/authorize"),
                "token_endpoint": format!("{own}/token"), "end_session_endpoint": format!("{own}/end"),
                "token_endpoint_auth_methods_supported": ["client_secret_basic"],
                "authorization_response_iss_parameter_supported": true,
            });
            ("200 OK", json, body.to_string())
        }
        ("GET", "/keys") => {
            state.keys_asked += 1;
            let keys: Vec<Value> = state.published.iter().map(|key| key.listed()).collect();
            ("200 OK", json, json!({ "keys": keys }).to_string())
        }
        ("GET", "/authorize") => authorize(state, own, &fields(query)),
        ("POST", "/token") => token(state, own, request),
        _ => ("404 Not Found", String::new(), String::new()),
    }
}

fn authorize(state: &mut State, own: &str, asked: &BTreeMap<String, String>) -> Told {
    let field = |name: &str| asked.get(name).map(String::as_str).unwrap_or_default();
    let wrong = [
        (field("response_type") != "code", "response_type"),
        (field("client_id") != CLIENT.0, "client_id"),
        (field("redirect_uri") != state.redirect, "redirect_uri"),
        (!field("scope").split(' ').any(|scope| scope == "openid"), "scope"),
        (field("state").len() < 32, "state"),
        (field("nonce").len() < 32, "nonce"),
        (field("code_challenge_method") != "S256", "code_challenge_method"),
        (field("code_challenge").len() != 43, "code_challenge"),
    ];
    if let Some((_, name)) = wrong.iter().find(|(is_wrong, _)| *is_wrong) {
        state.refusals.push(format!("authorize: {name}"));
        return ("400 Bad Request", String::new(), format!("{name} is wrong"));
    }
    let mut random = [0; 16];
    SystemRandom::new().fill(&mut random).unwrap();
    let code = URL_SAFE_NO_PAD.encode(random);
    let known = Code { challenge: field("code_challenge").into(), nonce: field("nonce").into() };
    state.codes.insert(code.clone(), known);
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("code", code.as_str()), ("state", field("state")), ("iss", own)])
        .finish();
    ("302 Found", format!("Location: {}?{query}\r\n", state.redirect), String::new())
}

fn token(state: &mut State, own: &str, request: &str) -> Told {
    let json = "Content-Type: application/json\r\n".to_owned();
    let body = request.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    let asked = fields(body);
    let field = |name: &str| asked.get(name).map(String::as_str).unwrap_or_default();
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = STANDARD.encode(format!("{}:{}", encode(CLIENT.0), encode(CLIENT.1)));
    let code = state.codes.remove(field("code"));
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(field("code_verifier").as_bytes()));
    let wrong = [
        (header(request, "authorization") != Some(&format!("Basic {pair}")), "invalid_client"),
        (field("grant_type") != "authorization_code", "unsupported_grant_type"),
        (field("redirect_uri") != state.redirect, "invalid_grant"),
        (field("code_verifier").len() < 43, "invalid_request"),
        (code.as_ref().is_none_or(|code| code.challenge != challenge), "invalid_grant"),
    ];
    if let Some((_, error)) = wrong.iter().find(|(is_wrong, _)| *is_wrong) {
        state.refusals.push(format!("token: {error}"));
        return ("400 Bad Request", json, json!({ "error": error, "error_description": body }).to_string());
    }
    let mut claims = json!({
        "iss": own, "aud": CLIENT.0, "exp": now() + 300, "iat": now(), "nonce": code.unwrap().nonce, "sub": "person-1",
    });
    for (name, value) in state.person.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let signed = match state.spoil {
        Some(spoil) => spoil(state, claims),
        None => state.signer.sign(&claims),
    };
    let body = json!({ "access_token": "unused", "token_type": "Bearer", "id_token": signed });
    ("200 OK", json, body.to_string())
}
