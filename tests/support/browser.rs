//! A browser, as far as cookies, origins and forms go.
#![allow(clippy::unwrap_used, dead_code, reason = "a test may panic, and each uses a part of it")]

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::project::Project;
use super::server::{Answer, Caller, Server};

/// The password of every user that [`user`] makes.
pub const PASSWORD: &str = "correct horse battery staple";

/// Makes a user of this role in the project.
pub fn user(project: &Project, name: &str, role: &str) {
    let output = project.args_with_input(["user", "add", name, "--role", role], PASSWORD.as_bytes());
    assert_eq!(output.code, 0, "{output:?}");
}

/// Somebody in front of a page of the server.
pub struct Browser {
    caller: Caller,
    origin: String,
    /// Cookies by name.
    pub cookies: BTreeMap<String, String>,
    /// What goes into the header against forgery.
    pub csrf: String,
}

impl Browser {
    /// Opens one without cookies.
    pub fn new(server: &Server) -> Self {
        Self {
            caller: server.nobody(),
            origin: server.url.clone(),
            cookies: BTreeMap::new(),
            csrf: String::new(),
        }
    }

    /// Opens one in which somebody has signed in.
    pub fn of(server: &Server, name: &str) -> Self {
        let mut browser = Self::new(server);
        let answer = browser.sign_in(name, PASSWORD);
        assert_eq!(answer.status, 200, "{answer:?}");
        browser
    }

    /// Signs in.
    pub fn sign_in(&mut self, name: &str, password: &str) -> Answer {
        let answer =
            self.send("POST", "/api/v1/session", Some(&json!({ "name": name, "password": password })));
        if answer.status == 200 {
            answer.json()["csrf"].as_str().unwrap().clone_into(&mut self.csrf);
        }
        answer
    }

    /// Sends what a script of the page sends, with its cookies, its origin and its token.
    pub fn send(&mut self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let (origin, csrf) = (self.origin.clone(), self.csrf.clone());
        self.send_with(method, path, &[("origin", &origin), ("x-csrf-token", &csrf)], body)
    }

    /// Sends a form of the page.
    pub fn post_form(&mut self, path: &str, form: &str) -> Answer {
        let origin = self.origin.clone();
        let body = Some(("application/x-www-form-urlencoded", form.to_owned()));
        self.exchange("POST", path, &[("origin", &origin)], body)
    }

    /// Sends cookies and these headers, and no more.
    pub fn send_with(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        self.exchange(method, path, headers, body.map(|body| ("application/json", body.to_string())))
    }

    fn exchange(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<(&str, String)>,
    ) -> Answer {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let mut all = headers.to_vec();
        if !cookies.is_empty() {
            all.push(("cookie", &cookies));
        }
        let answer = self.caller.send_text(method, path, &all, body);
        for line in answer.headers.get_all("set-cookie") {
            let (name, rest) = line.to_str().unwrap().split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            if rest.contains("Max-Age=0;") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    /// Gets something as a page.
    pub fn open(&mut self, path: &str) -> Answer {
        self.send_with("GET", path, &[("accept", "text/html")], None)
    }

    /// Gets something as a script of the page.
    pub fn get(&mut self, path: &str) -> Answer {
        self.send_with("GET", path, &[], None)
    }
}
