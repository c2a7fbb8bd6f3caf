//! Messages as they arrive at a real mail server and in a room of a real homeserver.

use serde_json::Value;

use super::operations::{messages, with_schedule};
use crate::support::mailbox::Mailbox;
use crate::support::project::until;
use crate::support::server::{Server, token};
use crate::support::synapse::Synapse;

const SECRETS: &str = "secrets:\n  sources: [{env: {prefix: NLRUN_SECRET_}}]\n";

#[test]
fn failure_recovery_and_staleness_come_by_mail() {
    let Some(mailbox) = Mailbox::start("starttls") else { return };
    let settings = format!(
        "server:\n  url: https://nlrun.example.net\n  notify:\n    default: [ops]\n    targets:\n      ops: {{mail: {{to: [ops@example.org, \"Ann <ann@example.org>\"], from: nlrun@example.net, host: localhost, port: {}, user: nlrun, password: mail, ca: ca.pem}}}}\n{SECRETS}",
        mailbox.port
    );
    let project = with_schedule(&settings, "every: 1s\nstale_after: 3s\n")
        .file("ca.pem", &mailbox.ca())
        .variable("NLRUN_SECRET_MAIL", "correct horse");
    let viewer = token(&project, "see", "viewer");
    let server = Server::start(&project);
    let subject = |word: &str| mailbox.mails().iter().filter(|mail| mail.contains(word)).count();
    until("the failure has come", || subject("Subject: [nlrun] backup failed") == 1);
    until("that it is stale has come", || subject("is stale") > 0);
    project.write("there", "");
    until("the recovery has come", || mailbox.mails().len() > 2);
    let see = server.caller(&viewer);
    until("all is delivered", || messages(&see).iter().all(|one| one["delivered"].is_string()));
    let (mails, kept) = (mailbox.mails(), messages(&see));
    assert_eq!(mails.len(), kept.len(), "{mails:#?}");
    let mut occasions: Vec<&str> = kept.iter().rev().map(|one| one["occasion"].as_str().unwrap()).collect();
    occasions.dedup();
    assert_eq!(occasions, ["failure", "stale", "recovery"], "{kept:?}");
    assert!(mails[0].contains("From nlrun@example.net to ops@example.org,ann@example.org"), "{}", mails[0]);
    // Both for people who see HTML and for those who do not, with a link to the run.
    for part in ["text/plain", "text/html", "https://nlrun.example.net/runs/1", "the backup is missing"] {
        assert!(mails[0].contains(part), "{part}: {}", mails[0]);
    }
    let numbers: Vec<&str> =
        mails.iter().filter_map(|mail| mail.lines().find(|line| line.starts_with("Message-ID: "))).collect();
    let mut different = numbers.clone();
    different.sort_unstable();
    different.dedup();
    assert_eq!((numbers.len(), different.len()), (mails.len(), mails.len()), "{numbers:?}");
}

#[test]
fn a_room_of_a_real_homeserver_has_each_message_once() {
    let Some(synapse) = Synapse::start() else { return };
    let settings = format!(
        "server:\n  url: https://nlrun.example.net\n  notify:\n    default: [room]\n    targets:\n      room: {{matrix: {{homeserver: \"{}\", room: \"{}\", token: room-token}}}}\n{SECRETS}",
        synapse.url, synapse.room
    );
    let project = with_schedule(&settings, "every: 1s\npause_after_failures: 1\n")
        .variable("NLRUN_SECRET_ROOM_TOKEN", &synapse.token);
    let sent = project.args(["notify", "test", "room"]).success();
    assert!(sent.stderr.contains("has taken the message"), "{sent:?}");
    assert_eq!(synapse.messages().len(), 1);
    let viewer = token(&project, "see", "viewer");
    let server = Server::start(&project);
    let see = server.caller(&viewer);
    until("failure and pause are told", || {
        let kept = messages(&see);
        kept.len() == 2 && kept.iter().all(|one| one["delivered"].is_string())
    });
    let said = synapse.messages();
    assert_eq!(said.len(), 3, "{said:?}");
    let failure = said
        .iter()
        .find(|event| event["content"]["body"].as_str().unwrap().starts_with("[nlrun] backup failed"))
        .unwrap_or_else(|| panic!("{said:?}"));
    assert_eq!(failure["content"]["format"], "org.matrix.custom.html");
    assert!(
        failure["content"]["formatted_body"].as_str().unwrap().contains("https://nlrun.example.net/runs/1")
    );
    server.kill();
    // As if the server had died between the homeserver's answer and the note of it.
    let database = rusqlite::Connection::open(project.database()).unwrap();
    database.execute("UPDATE outbox SET delivered_at = NULL, due_at = 0", []).unwrap();
    let server = Server::start(&project);
    let see = server.caller(&viewer);
    until("both are sent again", || messages(&see).iter().all(|one| one["delivered"].is_string()));
    let ids =
        |events: &[Value]| -> Vec<Value> { events.iter().map(|event| event["event_id"].clone()).collect() };
    assert_eq!(ids(&synapse.messages()), ids(&said), "the room has each of them once");
    // What the homeserver refuses is told by its own words, without the token.
    let wrong = project.variable("NLRUN_SECRET_ROOM_TOKEN", "syt_wrong_token");
    let refused = wrong.args(["notify", "test", "room"]).ends(1);
    assert!(
        refused.stderr.contains("Matrix answers 401") && refused.stderr.contains("M_UNKNOWN_TOKEN"),
        "{refused:?}"
    );
    assert!(!refused.stderr.contains("syt_wrong_token"), "{refused:?}");
    assert_eq!(synapse.messages().len(), 3);
}
