//! A real Matrix homeserver on loopback (Synapse from PyPI), with one person and one room.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    dead_code,
    reason = "a test fails by panicking, and says what it skips"
)]
#![expect(clippy::disallowed_methods, reason = "tests start servers and write their configuration")]

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::project::until;
use super::server::Caller;
use super::sshd::free_port;

/// A running homeserver; it ends with this value.
pub struct Synapse {
    child: Child,
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    /// The access token of the person.
    pub token: String,
    /// The room.
    pub room: String,
    _folder: tempfile::TempDir,
}

impl Synapse {
    /// Starts one; `None`, with a line on standard error, where Synapse is not installed.
    pub fn start() -> Option<Self> {
        let python = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/synapse/bin/python");
        if !python.is_file() {
            eprintln!("skipped: Synapse is not installed");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("nlrun-synapse-").tempdir().unwrap();
        let (at, port) = (folder.path(), free_port());
        let file = |name: &str| at.join(name).display().to_string();
        let configuration = json!({
            "server_name": "example.org",
            "pid_file": file("pid"),
            "listeners": [{ "port": port, "type": "http", "bind_addresses": ["127.0.0.1"], "resources": [{ "names": ["client"] }] }],
            "database": { "name": "sqlite3", "args": { "database": file("homeserver.db") } },
            "media_store_path": file("media"),
            "signing_key_path": file("signing.key"),
            "macaroon_secret_key": "a", "form_secret": "b",
            "report_stats": false,
            "trusted_key_servers": [],
            "enable_registration": true,
            "enable_registration_without_verification": true,
            "rc_message": { "per_second": 1000, "burst_count": 1000 },
        });
        // JSON is YAML.
        std::fs::write(at.join("homeserver.yaml"), configuration.to_string()).unwrap();
        let command = |more: &[&str]| {
            let mut command = Command::new(&python);
            command.args(["-m", "synapse.app.homeserver", "-c"]).arg(at.join("homeserver.yaml")).args(more);
            command.current_dir(at).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        assert!(command(&["--generate-keys"]).status().unwrap().success());
        let child = command(&[]).spawn().unwrap();
        let url = format!("http://127.0.0.1:{port}");
        let mut synapse = Self { child, url, token: String::new(), room: String::new(), _folder: folder };
        until("Synapse answers", || {
            assert!(synapse.child.try_wait().unwrap().is_none(), "Synapse does not start");
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        let nobody = Caller::at(&synapse.url, None);
        let person =
            json!({ "username": "nlrun", "password": "correct horse", "auth": { "type": "m.login.dummy" } });
        let registered = nobody.post("/_matrix/client/v3/register", &person).json();
        synapse.token = text(&registered, "access_token");
        let room = json!({ "preset": "private_chat", "name": "ops" });
        synapse.room = text(&synapse.caller().post("/_matrix/client/v3/createRoom", &room).json(), "room_id");
        Some(synapse)
    }

    fn caller(&self) -> Caller {
        Caller::at(&self.url, Some(&self.token))
    }

    /// What was said in the room, the oldest first.
    pub fn messages(&self) -> Vec<Value> {
        let room: String = url::form_urlencoded::byte_serialize(self.room.as_bytes()).collect();
        let path = format!("/_matrix/client/v3/rooms/{room}/messages?dir=f&limit=100");
        let page = self.caller().get(&path).json();
        let events = page["chunk"].as_array().unwrap_or_else(|| panic!("{page}")).clone();
        events.into_iter().filter(|event| event["type"] == "m.room.message").collect()
    }
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_else(|| panic!("{value}")).to_owned()
}

impl Drop for Synapse {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
