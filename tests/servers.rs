//! `certs/sync` on a real Debian host with the servers that Debian ships: nginx, Apache, HAProxy, Postfix, stunnel, slapd, and a
//! container of Docker.
//!
//! One test, for one host: its parts build on each other. What is served is asked by `openssl s_client`, not by our own probe.
#![expect(clippy::disallowed_methods, reason = "tests start openssl")]

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::certificates::{Forge, Wish};
use crate::support::hosts::Hosts;
use crate::support::project::{Output, Project};

/// Configures and starts the servers, each with a first pair.
const SETUP: &str = r#"
set -e
mkdir -p /srv/pair /etc/docker /srv/image/etc
cd /srv/pair
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout first.key -out first.pem -days 30 -subj /CN=first 2>/dev/null
for name in nginx apache; do cp first.pem $name.pem; cp first.key $name.key; done
mv first.pem /etc/postfix/site.pem; mv first.key /etc/postfix/site.key
for name in haproxy told stunnel all; do cat nginx.pem nginx.key >$name.pem; chmod 600 $name.pem; done

rm /etc/nginx/sites-enabled/default
cat >/etc/nginx/conf.d/site.conf <<'END'
server { listen 8441 ssl; ssl_certificate /srv/pair/nginx.pem; ssl_certificate_key /srv/pair/nginx.key; }
server { listen 8445 ssl; ssl_certificate /srv/pair/all.pem; ssl_certificate_key /srv/pair/all.pem; }
END
a2enmod -q ssl >/dev/null; a2dissite -q 000-default >/dev/null
printf 'ServerName deb-1\nListen 8442\n' >/etc/apache2/ports.conf
cat >/etc/apache2/sites-available/site.conf <<'END'
<VirtualHost *:8442>
  SSLEngine on
  SSLCertificateFile /srv/pair/apache.pem
  sslcertificatekeyfile "/srv/pair/apache.key"
</VirtualHost>
END
a2ensite -q site >/dev/null
cat >>/etc/haproxy/haproxy.cfg <<'END'
frontend site
    bind :8443 ssl crt /srv/pair/haproxy.pem
    bind :8453 ssl crt /srv/pair/told.pem
    http-request return status 204
END
postconf -e 'smtpd_tls_cert_file=$config_directory/site.pem' 'smtpd_tls_key_file=$config_directory/site.key' \
    smtpd_tls_security_level=may inet_interfaces=all
printf 'pid = /run/stunnel-site.pid\n[site]\naccept = 8444\nconnect = 127.0.0.1:25\ncert = /srv/pair/stunnel.pem\n' >/etc/stunnel/site.conf
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /etc/ldap/site.key -out /etc/ldap/site.pem -days 30 -subj /CN=first 2>/dev/null
chown openldap /etc/ldap/site.key
printf 'dn: cn=config\nchangetype: modify\nadd: olcTLSCertificateFile\nolcTLSCertificateFile: /etc/ldap/site.pem\n-\n'\
'add: olcTLSCertificateKeyFile\nolcTLSCertificateKeyFile: /etc/ldap/site.key\n' >/root/tls.ldif
slapmodify -n 0 -l /root/tls.ldif
chown -R openldap: /etc/ldap/slapd.d
systemctl restart nginx apache2 haproxy postfix stunnel4 slapd

echo '{"bridge":"none","iptables":false,"storage-driver":"vfs"}' >/etc/docker/daemon.json
systemctl start docker
mkdir -p /srv/image/var/log/nginx /srv/image/var/lib/nginx /srv/image/run /srv/web
for file in /usr/sbin/nginx $(ldd /usr/sbin/nginx | grep -o '/[^ )]*'); do
  mkdir -p /srv/image${file%/*}; cp -L $file /srv/image$file
done
echo 'root:x:0:0::/:/bin/sh' >/srv/image/etc/passwd; echo 'root:x:0:' >/srv/image/etc/group
tar -C /srv/image -c . | docker import - web >/dev/null
cat >/srv/web/nginx.conf <<'END'
user root; daemon off; events {}
http { access_log off; server { listen 9443 ssl; ssl_certificate /certs/tls.crt; ssl_certificate_key /certs/tls.key; } }
END
docker volume create certs >/dev/null
cd /var/lib/docker/volumes/certs/_data; cp /srv/pair/nginx.pem tls.crt; cp /srv/pair/nginx.key tls.key
docker run -d --name web --network host --cap-drop MKNOD -v certs:/certs -v /srv/web:/etc/nginx:ro web /usr/sbin/nginx >/dev/null
echo ready
"#;

/// What the servers are configured by.
const CONFIGURATIONS: &str = "/etc/nginx/conf.d/site.conf /etc/apache2/sites-available/site.conf /etc/haproxy/haproxy.cfg \
                              /etc/postfix/main.cf /etc/stunnel/site.conf /etc/ldap/slapd.d/cn=config.ldif \
                              /srv/web/nginx.conf";

/// Where each target is served.
const PORTS: [(&str, u16); 9] = [
    ("nginx", 8441),
    ("combined", 8445),
    ("apache", 8442),
    ("haproxy", 8443),
    ("socket", 8453),
    ("postfix", 25),
    ("stunnel", 8444),
    ("pair", 389),
    ("docker_volume", 9443),
];

/// The host, and a project with pairs for its servers.
struct Site {
    hosts: Hosts,
    project: Project,
    forge: Forge,
    address: String,
}

impl Site {
    fn open() -> Option<Self> {
        let hosts = Hosts::start("1")?;
        let set_up = hosts.ssh(&["deb-1", SETUP]);
        assert!(String::from_utf8_lossy(&set_up.stdout).ends_with("ready\n"), "{set_up:?}");
        let address = hosts.on("deb-1", "hostname -I | cut -d' ' -f1");
        let forge = Forge::chain();
        let password = std::fs::read_to_string(hosts.place("password")).unwrap();
        let mut project = Project::new().variable("NLRUN_SECRET_OPS", password.trim());
        for (name, days) in [("one", 90), ("two", 90), ("three", 90), ("old", -1)] {
            forge.key(name, "P-256");
            let common = format!("{name}.example.com");
            forge.sign(name, name, "middle", &Wish { days, ..Wish::server(&common) });
            project = project
                .file(&format!("{name}.pem"), &forge.join(&[&format!("{name}.pem"), "middle.pem"]))
                .variable(
                    &format!("NLRUN_SECRET_KEY_{}", name.to_uppercase()),
                    &forge.read(&format!("{name}.key")),
                );
        }
        let key = hosts.place("id_ed25519");
        let host = |name: &str, user: &str| {
            format!("  {name}: {{address: {address}, user: {user}, identity_files: [\"{key}\"]}}\n")
        };
        let text =
            std::fs::read_to_string(crate::support::hosts::repository().join("runbooks/certs/sync.rhai"));
        let project = project
            .inventory(&format!("hosts:\n{}{}", host("deb-1", "root"), host("ops", "ops")))
            .runbook("certs/sync", &text.unwrap());
        hosts.admit(&project);
        Some(Self { hosts, project, forge, address })
    }

    /// Runs a line on the host.
    fn on(&self, line: &str) -> String {
        self.hosts.on("deb-1", line)
    }

    /// Writes the table of targets: this pair's certificate with that one's key, and `more` in every target.
    fn table(&self, certificate: &str, key: &str, more: &Value) {
        let ports: BTreeMap<&str, u16> = PORTS.into();
        let target = |name: &str, function: &str, host: &str, with: Value| {
            let mut with = with;
            with["names"] = json!(["www.example.com"]);
            match name {
                "postfix" => {}
                "pair" => with["served"] = json!([{ "port": ports[name], "starttls": "ldap" }]),
                _ => with["served"] = json!([ports[name]]),
            }
            with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({ "name": name, "certificate": "site", "use": function, "host": host, "with": with })
        };
        let two = |name: &str| json!({ "certificate": format!("{name}.pem"), "key": format!("{name}.key") });
        let mut nginx = two("/srv/pair/nginx");
        nginx["sudo"] = true.into();
        nginx["sudo_password"] = json!({ "secret": "ops" });
        let mut pair = two("/etc/ldap/site");
        pair["owner"] = "openldap".into();
        pair["test"] = "slaptest -u".into();
        // slapd reads a certificate when it starts.
        pair["reload"] = "systemctl restart slapd".into();
        let table = json!({
            "certificates": { "site": { "certificate": format!("{certificate}.pem"), "key": format!("key/{key}") } },
            "targets": [
                target("nginx", "nginx", "ops", nginx),
                target("combined", "combined", "deb-1", json!({
                    "path": "/srv/pair/all.pem", "test": "nginx -t", "reload": "nginx -s reload",
                })),
                target("apache", "apache", "deb-1", two("/srv/pair/apache")),
                target("haproxy", "haproxy", "deb-1", json!({ "path": "/srv/pair/haproxy.pem" })),
                target("socket", "haproxy", "deb-1", json!({
                    "path": "/srv/pair/told.pem", "socket": "/run/haproxy/admin.sock",
                })),
                target("postfix", "postfix", "deb-1", two("/etc/postfix/site")),
                target("stunnel", "stunnel", "deb-1", json!({ "path": "/srv/pair/stunnel.pem" })),
                target("pair", "pair", "deb-1", pair),
                target("docker_volume", "docker_volume", "deb-1", json!({
                    "volume": "certs", "certificate": "tls.crt", "key": "tls.key", "container": "web",
                    "test": "docker exec web nginx -t",
                })),
            ],
        });
        self.project.write("certs.json", &table.to_string());
    }

    fn sync(&self, only: &str, code: i32) -> Output {
        self.project.args(["run", "certs/sync", "--set", &format!("only={only}")]).ends(code)
    }

    /// Brings a pair to all targets; returns what the report says of each.
    fn brings(&self, pair: &str, more: &Value, code: i32) -> BTreeMap<String, (String, String)> {
        self.table(pair, pair, more);
        self.sync("", code);
        self.report()
    }

    /// Status and error of each target in the last report.
    fn report(&self) -> BTreeMap<String, (String, String)> {
        let report = self.project.args(["show", "last", "--artifact", "report.json"]).success().json();
        let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let rows = report["targets"].as_array().unwrap().iter();
        rows.map(|row| (text(row, "target"), (text(row, "status"), text(row, "error")))).collect()
    }

    /// Demands this status of every target.
    #[track_caller]
    fn all(rows: &BTreeMap<String, (String, String)>, status: &str) {
        assert_eq!(rows.len(), PORTS.len(), "{rows:?}");
        assert!(rows.values().all(|(found, _)| found == status), "{rows:#?}");
    }

    /// Returns the subject that a port shows, as OpenSSL sees it.
    fn shown(&self, name: &str) -> String {
        let port = PORTS.iter().find(|(known, _)| *known == name).unwrap().1;
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &format!("{}:{port}", self.address)]);
        match name {
            "postfix" => drop(command.args(["-starttls", "smtp"])),
            "pair" => drop(command.args(["-starttls", "ldap"])),
            _ => {}
        }
        let output = command.stdin(Stdio::null()).output().expect("openssl is installed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let subject = text.lines().find_map(|line| line.strip_prefix("subject="));
        subject.unwrap_or("nothing").replace("CN = ", "").replace(".example.com", "")
    }

    #[track_caller]
    fn serve(&self, pair: &str) {
        for (name, _) in PORTS {
            assert_eq!(self.shown(name), pair, "{name}");
        }
    }

    /// What is in the files, and that nothing else is beside them.
    fn files(&self) -> String {
        self.on(
            "v=/var/lib/docker/volumes/certs/_data; cd /srv/pair; ls -A; stat -c '%n %a %U' *; sha256sum * /etc/postfix/site.* /etc/ldap/site.* $v/*; ls -A /etc/postfix /etc/ldap $v | grep nlrun",
        )
    }
}

#[test]
fn certificates_reach_the_servers_of_debian() {
    let Some(site) = Site::open() else { return };
    let nothing = json!({});
    it_arrives_and_is_then_left_alone(&site, &nothing);
    what_cannot_be_served_is_refused(&site);
    a_broken_configuration_brings_the_old_pair_back(&site, &nothing);
    what_was_not_told_is_told_by_the_next_run(&site, &nothing);
    apache_is_not_ended_and_not_started(&site);
    postfix_names_both(&site);
    a_unit_of_stunnel_that_cannot_reload(&site);
    containers_are_asked_what_they_have(&site, &nothing);
    site.no_key_is_recorded();
}

fn it_arrives_and_is_then_left_alone(site: &Site, nothing: &Value) {
    let before = site.files();
    site.table("one", "one", nothing);
    let plan = site.project.args(["plan", "certs/sync", "--exit-code"]).ends(2);
    assert_eq!(plan.stdout.matches("+10.213.").count(), PORTS.len(), "{plan:?}");
    assert_eq!(site.files(), before);
    site.serve("first");

    Site::all(&site.brings("one", nothing, 0), "changed");
    site.serve("one");
    let after = site.files();
    assert_eq!(after.lines().count(), before.lines().count(), "{after}\n{before}");
    assert!(after.contains("apache.key 600 root") && after.contains("all.pem 600 root"), "{after}");
    assert_eq!(site.on("stat -c '%a %U' /etc/ldap/site.key"), "600 openldap");
    Site::all(&site.brings("one", nothing, 0), "ok");
    assert_eq!(site.files(), after);
}

fn what_cannot_be_served_is_refused(site: &Site) {
    let before = site.files();
    for (certificate, key, why) in
        [("old", "old", "expired on"), ("two", "one", "is not that of the certificate")]
    {
        site.table(certificate, key, &json!({}));
        site.sync("", 4);
        let rows = site.report();
        Site::all(&rows, "failed");
        let says = |error: &str| error.contains(why);
        assert!(rows.values().all(|(_, error)| says(error)), "{rows:#?}");
        assert_eq!(site.files(), before);
    }
    site.serve("one");
}

fn a_broken_configuration_brings_the_old_pair_back(site: &Site, nothing: &Value) {
    let before = site.files();
    site.on(&format!("for file in {CONFIGURATIONS}; do cp -a $file $file.good; echo nonsense >>$file; done"));
    let rows = site.brings("two", &json!({ "patience": "1s" }), 4);
    Site::all(&rows, "failed");
    for (name, (_, error)) in &rows {
        // stunnel says of a reload that it went well.
        let says = if name == "stunnel" { "after 1 s it is not served" } else { "the old files are back" };
        assert!(error.contains(says), "{name}: {error}");
    }
    site.serve("one");
    // Its files are new, and those of all others are as they were.
    let same = |text: &str| {
        text.lines().filter(|line| !line.contains("stunnel.pem")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(same(&site.files()), same(&before));

    site.on(&format!("for file in {CONFIGURATIONS}; do mv $file.good $file; done"));
    Site::all(&site.brings("two", nothing, 0), "changed");
    site.serve("two");
}

fn what_was_not_told_is_told_by_the_next_run(site: &Site, nothing: &Value) {
    let rows = site.brings("three", &json!({ "reload": "echo nobody hears >&2; exit 3" }), 4);
    Site::all(&rows, "failed");
    for (name, (_, error)) in &rows {
        assert!(
            error.contains("the new files are there, and the next run tries again: nobody hears"),
            "{name}: {error}"
        );
    }
    site.serve("two");
    Site::all(&site.brings("three", nothing, 0), "changed");
    site.serve("three");
    Site::all(&site.brings("three", nothing, 0), "ok");
}

/// `apachectl -t` finds nothing wrong with a pair that makes Apache end when it is told to reload.
fn apache_is_not_ended_and_not_started(site: &Site) {
    let names = "/etc/apache2/sites-available/site.conf";
    site.on(&format!("cp /srv/pair/apache.key /srv/pair/other.key; sed -i s,/srv/pair/apache.key,/srv/pair/other.key, {names}"));
    site.table("one", "one", &json!({}));
    site.sync("apache", 4);
    let error = site.report()["apache"].1.clone();
    assert!(
        error.contains("no SSLCertificateKeyFile of Apache's configuration names /srv/pair/apache.key"),
        "{error}"
    );
    assert_eq!(site.shown("apache"), "three");
    assert_eq!(site.on("cp -a /srv/pair/apache.key /tmp; apachectl -t 2>&1"), "Syntax OK");

    // A link to it, and a name that only Apache knows, are names of it, too.
    site.on("ln -sf apache.key /srv/pair/other.key");
    site.sync("apache", 0);
    assert_eq!(site.shown("apache"), "one");
    site.on(&format!("sed -i 's,\"/srv/pair/other.key\",\"${{PAIR}}/apache.key\",; 1iDefine PAIR /srv/pair' {names}; rm /srv/pair/other.key"));
    site.table("two", "two", &json!({}));
    site.sync("apache", 0);
    assert_eq!(site.shown("apache"), "two");

    site.on("systemctl stop apache2");
    site.table("three", "three", &json!({}));
    site.sync("apache", 4);
    let error = site.report()["apache"].1.clone();
    assert!(error.contains("Apache does not run"), "{error}");
    assert_eq!(site.on("pgrep -c apache2"), "0");
    site.on("systemctl start apache2");
    site.sync("apache", 0);
    assert_eq!(site.shown("apache"), "three");
}

/// With another's key, Postfix would offer no TLS at all.
fn postfix_names_both(site: &Site) {
    site.table("one", "one", &json!({}));
    site.on("cp /etc/postfix/site.key /etc/postfix/other.key; postconf -e smtpd_tls_key_file=/etc/postfix/other.key; postfix reload");
    site.sync("postfix", 4);
    let error = site.report()["postfix"].1.clone();
    assert!(error.contains("of Postfix names /etc/postfix/site.key"), "{error}");
    assert_eq!(site.shown("postfix"), "three");
    // By the way that Postfix prefers, and by a service's own settings.
    site.on("postconf -X smtpd_tls_key_file smtpd_tls_cert_file; postconf -e 'smtpd_tls_chain_files=$config_directory/site.key, $config_directory/site.pem'");
    site.sync("postfix", 0);
    assert_eq!(site.shown("postfix"), "one");
    site.on("postconf -X smtpd_tls_chain_files; postconf -P smtp/inet/smtpd_tls_cert_file=/etc/postfix/site.pem smtp/inet/smtpd_tls_key_file=/etc/postfix/site.key");
    site.table("two", "two", &json!({}));
    site.sync("postfix", 0);
    assert_eq!(site.shown("postfix"), "two");
}

fn a_unit_of_stunnel_that_cannot_reload(site: &Site) {
    site.on("systemctl stop stunnel4; sed -i '1iforeground = yes' /etc/stunnel/site.conf; systemctl start stunnel@site");
    site.table("two", "two", &json!({ "service": "stunnel@site" }));
    let table = site.project.read("certs.json");
    // Other servers have no such option.
    let mut table: Value = serde_json::from_str(&table).unwrap();
    table["targets"].as_array_mut().unwrap().retain(|target| target["name"] == "stunnel");
    site.project.write("certs.json", &table.to_string());
    site.sync("stunnel", 0);
    assert_eq!(site.shown("stunnel"), "two");
}

/// A volume that the container does not have, a signal in place of a restart, and a container that is not there.
fn containers_are_asked_what_they_have(site: &Site, nothing: &Value) {
    let started = || site.on("docker inspect -f '{{ .State.StartedAt }}' web");
    let before = started();
    let with = |key: &str, value: &str| {
        site.table("three", "three", nothing);
        let mut table: Value = serde_json::from_str(&site.project.read("certs.json")).unwrap();
        let target = table["targets"].as_array_mut().unwrap().last_mut().unwrap();
        target["with"][key] = value.into();
        site.project.write("certs.json", &table.to_string());
        site.project.args(["run", "certs/sync", "--set", "only=docker_volume"])
    };
    let output = with("volume", "other").ends(4);
    assert!(output.stdout.contains("container web has no volume other"), "{output:?}");
    let output = with("container", "wep").ends(4);
    assert!(output.stdout.contains("wep"), "{output:?}");
    site.table("one", "one", nothing);
    site.sync("docker_volume", 0);
    assert_ne!(started(), before);
    let before = started();
    with("signal", "HUP").success();
    assert_eq!((site.shown("docker_volume").as_str(), started()), ("three", before));
}

impl Site {
    fn no_key_is_recorded(&self) {
        for entry in std::fs::read_dir(self.project.path(".nlrun")).unwrap() {
            let path = entry.unwrap().path();
            let Ok(bytes) = std::fs::read(&path) else { continue };
            for name in ["one", "two", "three", "old"] {
                let key = self.forge.read(&format!("{name}.key"));
                let line = key.lines().nth(1).unwrap();
                let found = bytes.windows(line.len()).any(|window| window == line.as_bytes());
                assert!(!found, "the key of {name} is in {}", path.display());
            }
        }
    }
}
