//! Templates against what ansible-core 2.19 makes of them, and what goes wrong.

use serde_json::{Value, json};

use super::*;

fn rendered(source: &str, vars: &Value) -> String {
    render("t.j2", source, vars).unwrap_or_else(|error| panic!("{source}: {error}"))
}

fn refused(source: &str, vars: &Value) -> Error {
    render("t.j2", source, vars).expect_err(source)
}

/// Each line of the fixtures was rendered by `ansible.builtin.template`.
#[test]
fn templates_render_as_ansible_renders_them() {
    let vars: Value = serde_json::from_str(include_str!("fixtures/vars.json")).unwrap();
    for (name, source, expected) in [
        ("basic", include_str!("fixtures/basic.j2"), include_str!("fixtures/basic.txt")),
        ("methods", include_str!("fixtures/methods.j2"), include_str!("fixtures/methods.txt")),
        ("filters", include_str!("fixtures/filters.j2"), include_str!("fixtures/filters.txt")),
    ] {
        let shown = render(name, source, &vars).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(crate::model::diff::unified(expected, &shown, "ansible", "ours", 0), "", "{name}");
    }
}

#[test]
fn mistakes_name_the_place_and_the_way_out() {
    let vars = json!({"host": {"name": "a", "port": 1}, "items": [1]});
    for (source, shown, hint) in [
        ("a\n{{ hots }}", "t.j2:2: `hots` is not defined", Some("did you mean `host`?")),
        ("{{ host.nmae }}", "t.j2:1: `host.nmae` is not defined", Some("did you mean `host.name`?")),
        (
            "{{ zzz | upper }}",
            "t.j2:1: `zzz` is not defined",
            Some("give it a value, or write `| default(…)`"),
        ),
        (
            "{% if x %}{% endif %}",
            "t.j2:1: `x` is not defined",
            Some("give it a value, or write `| default(…)`"),
        ),
        (
            "{{ lookup('env', 'HOME') }}",
            "t.j2:1: `lookup` is not available in templates: pass the value as a parameter of the runbook, and give it to the template as a variable",
            None,
        ),
        (
            "{{ 'x' | hash('md5') }}",
            "t.j2:1: `md5` is not available: use sha256, sha384, sha512 or sha1",
            None,
        ),
        (
            "{{ items.append(2) }}",
            "t.j2:1: lists do not change here: instead of `.append`, set a new one (`list + [item]`) in a namespace",
            None,
        ),
        (
            "{{ 'x' | regex_search('(?=x)') }}",
            "t.j2:1: `(?=x)` is not a regular expression that is understood here: look-around, including look-ahead and look-behind, is not supported",
            None,
        ),
        (
            "{{ '{' | from_json }}",
            "t.j2:1: this is not JSON: EOF while parsing an object at line 1 column 1",
            None,
        ),
        ("{{ 'a: [' | from_yaml }}", "t.j2:1: this is not YAML (line 1)", None),
        ("{% for a in range(9999999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}", "", None),
    ] {
        let error = refused(source, &vars);
        assert!(shown.is_empty() || error.to_string() == shown, "{source}: {error}");
        assert_eq!(error.hint().as_deref(), hint, "{source}");
    }
    let error = refused("x\n äö {{ hots }}", &vars);
    assert_eq!((error.line, error.columns), (2, Some(7..11)));
    assert!(refused("{% if %}", &vars).to_string().starts_with("t.j2:1: "));
    for refusal in [
        "{{ 'x' | password_hash('sha512') }}",
        "{{ 'x' | nope }}",
        "{{ 'x'.nope() }}",
        "{{ 'x' is nope }}",
        "{% include 'x' %}",
    ] {
        assert!(matches!(refused(refusal, &vars).reason, Reason::Failed(_)), "{refusal}");
    }
}

#[test]
fn formatting_with_percent_names_the_filter() {
    let error = refused("{{ '%s' % ['x'] }}", &json!({}));
    assert_eq!(error.hint().unwrap(), "write `\"…\" | format(…)` instead of `\"…\" % …`");
    assert_eq!(rendered("{{ '%s-%03d' | format('x', 7) }}", &json!({})), "x-007");
}

#[test]
fn runaway_templates_end() {
    let endless = "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}";
    assert!(matches!(refused(endless, &json!({})).reason, Reason::Failed(_) | Reason::Endless));
    let large = "{% for a in range(100000) %}{% for b in range(1000) %}0123456789{% endfor %}{% endfor %}";
    assert!(matches!(refused(large, &json!({})).reason, Reason::Endless | Reason::TooLarge));
}

#[test]
fn yaml_reads_back_as_it_was() {
    let vars: Value = serde_json::from_str(include_str!("fixtures/vars.json")).unwrap();
    for name in ["limits", "users", "tricky", "text", "nested"] {
        for filter in ["to_yaml", "to_nice_yaml", "to_nice_yaml(indent=2)"] {
            let written = rendered(&format!("{{{{ {name} | {filter} }}}}"), &vars);
            assert_eq!(serde_saphyr::from_str::<Value>(&written).unwrap(), vars[name], "{name}: {written}");
            assert!(written.ends_with('\n'));
        }
    }
    assert_eq!(
        rendered("{{ limits | to_nice_yaml(indent=2) }}", &vars),
        "hard: 20\nnames:\n  a: 1\n  b:\n  - x\n  - y z\nsoft: 10\n"
    );
}

#[test]
fn addresses_are_taken_apart() {
    let network =
        |query: &str, value: &str| rendered(&format!("{{{{ '{value}' | ipaddr({query}) }}}}"), &json!({}));
    for (query, value, shown) in [
        ("", "10.1.2.3/24", "10.1.2.3/24"),
        ("", "10.1.2.300", "False"),
        ("'address'", "10.1.2.3/24", "10.1.2.3"),
        ("'network'", "10.1.2.3/24", "10.1.2.0"),
        ("'netmask'", "10.1.2.3/20", "255.255.240.0"),
        ("'broadcast'", "10.1.2.3/20", "10.1.15.255"),
        ("'prefix'", "10.1.2.3/255.255.255.128", "25"),
        ("'subnet'", "10.1.2.3/0", "0.0.0.0/0"),
        ("'host'", "10.1.2.3", "10.1.2.3/32"),
        ("'network'", "2001:db8::1/32", "2001:db8::"),
        ("'netmask'", "2001:db8::1/128", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("'version'", "::1", "6"),
        ("", "10.0.0.1/255.0.255.0", "False"),
    ] {
        assert_eq!(network(query, value), shown, "{value} {query}");
    }
    assert_eq!(rendered("{{ '::1' | ipv4 }} {{ '::1' | ansible.utils.ipv6 }}", &json!({})), "False ::1");
}

#[test]
fn secrets_render_where_they_are_asked_for_and_nowhere_else() {
    let secret = Secret::new("db/root".parse().unwrap(), b"hunter2".to_vec());
    let secrets = BTreeMap::from([("password".to_owned(), secret)]);
    let vars = json!({"db": {"pw": {"$secret": "db/root"}}, "name": "x", "gone": {"$secret": "none"}});
    let render = |source| render_with_secrets("t.j2", source, &vars, &secrets);
    for (source, shown, has_secrets) in [
        ("{{ name }}", "x", false),
        ("{{ password }}", "hunter2", true),
        ("{{ db.pw | b64encode }}", "aHVudGVyMg==", true),
    ] {
        let rendered = render(source).unwrap();
        assert_eq!(
            (rendered.bytes.as_slice(), rendered.has_secrets),
            (shown.as_bytes(), has_secrets),
            "{source}"
        );
        assert!(!format!("{rendered:?}").contains("hunter2"));
    }
    assert!(render("{{ gone }}").unwrap_err().to_string().contains("secret `none` cannot be used here"));
    let error = render("{{ 'a' | regex_search(password ~ '(') }}").unwrap_err().to_string();
    assert!(error.contains("`«secret:db/root»(`") && !error.contains("hunter2"), "{error}");
    assert!(super::render("t", "{{ db.pw }}", &vars).is_err());
}
