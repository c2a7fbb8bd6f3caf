//! Ways that the user's `~/.ssh/config` describes, gone by the real binary.

use std::fmt::Write as _;

use crate::support::project::Project;
use crate::support::sshd::Sshd;

const WHERE: &str = r#"
const PARAMS = #{ host: #{ type: "host", required: true } };
const NEEDS = ["ssh.read:@all"];
print(ssh_read(params.host, "echo port ${SSH_CONNECTION##* }").out);
"#;

fn accepted(sshd: &Sshd) -> usize {
    sshd.log().matches("Accepted publickey").count()
}

#[test]
fn jump_hosts_and_proxy_commands_of_the_user() {
    let (Some(near), Some(middle), Some(far)) = (Sshd::start(), Sshd::start(), Sshd::start()) else { return };
    let project = Project::new().runbook("where", WHERE);
    let config = project.home().join(".ssh/config");
    let known = project.home().join(".ssh/known_hosts");
    // Would be asked before everything else; a condition that runs programs is none for us.
    let mut text =
        format!("Match originalhost far exec \"touch {}\"\n  Port 1\n", project.path("ran").display());
    for (name, sshd, way) in [
        ("near", &near, "Compression yes"),
        ("middle", &middle, "ProxyJump near"),
        ("far", &far, "ProxyJump middle"),
        ("listed", &far, "ProxyJump near,middle"),
        ("piped", &far, &format!("ProxyCommand ssh -F {} -W %h:%p middle", config.display())),
        ("none", &far, "ProxyJump none"),
    ] {
        let (port, key) = (sshd.port, sshd.client_key());
        let key = key.display();
        writeln!(text, "Host {name}\n  HostName 127.0.0.1\n  Port {port}\n  IdentityFile {key}\n  {way}")
            .unwrap();
    }
    writeln!(text, "Match host 127.0.0.1\n  User {}\n  IdentitiesOnly yes", far.user).unwrap();
    // The first value wins, so this is for nobody.
    writeln!(text, "Host *\n  BatchMode yes\n  UserKnownHostsFile {}\n  ProxyJump nowhere", known.display())
        .unwrap();
    project.write("../home/.ssh/config", &text.replace("  Compression yes", "  ProxyJump none"));
    let keys = [&near, &middle, &far].map(|sshd| std::fs::read_to_string(sshd.known_hosts()).unwrap());
    project.write("../home/.ssh/known_hosts", &keys.concat());
    project.write("inventory/hosts.yaml", "hosts: {far: {}, listed: {}, piped: {}, none: {}}\n");

    for (host, through) in [("far", (1, 1)), ("listed", (1, 1)), ("piped", (1, 1)), ("none", (0, 0))] {
        let before = (accepted(&near), accepted(&middle));
        let output = project.args(["run", "where", "--set", &format!("host={host}")]).success();
        assert!(output.stdout.contains(&format!("port {}\n", far.port)), "{host}: {output:?}");
        let logins = (accepted(&near) - before.0, accepted(&middle) - before.1);
        assert_eq!(logins, through, "{host}");
    }
    assert!(!project.path("ran").exists(), "a run starts nothing that only ssh was told to");
    let doctor = project.args(["doctor"]);
    let said = format!("{}{}", doctor.stdout, doctor.stderr);
    assert!(said.contains("`Match exec` is not evaluated"), "{said}");
}
