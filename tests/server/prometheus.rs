//! `/metrics` as a real Prometheus takes it, and the rules that come with it.
#![expect(clippy::disallowed_methods, reason = "tests start the programs of others")]

use std::process::Command;

use serde_json::json;

use super::operations::{metric, with_schedule};
use crate::support::project::until;
use crate::support::prometheus::{Prometheus, program};
use crate::support::server::{Server, token};

const RULES: &str = include_str!("../../docs/operations/alerts.yaml");

#[test]
fn a_real_prometheus_scrapes_it_and_its_alerts_fire() {
    let project = with_schedule("", "cron: 0 0 1 1 *\nstale_after: 1s\n");
    let viewer = token(&project, "prometheus", "viewer");
    let operator = token(&project, "op", "operator");
    let server = Server::start(&project);
    let address = server.url.strip_prefix("http://").unwrap();
    let configuration = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [alerts.yaml]\nscrape_configs:\n  - job_name: nlrun\n    authorization: {{credentials_file: token}}\n    static_configs: [{{targets: [\"{address}\"]}}]\n"
    );
    let files = [("alerts.yaml", RULES), ("token", viewer.as_str())];
    let Some(prometheus) = Prometheus::start(&configuration, &files) else { return };
    let value = |expression: &str| prometheus.query(expression).first().map(|(_, value)| *value);
    until("it is scraped", || value("up{job=\"nlrun\"}") == Some(1.0));
    until("it leads", || value("nlrun_leader") == Some(1.0));
    let op = server.caller(&operator);
    let run = op.run(&json!({ "runbook": "quiet" }));
    op.wait(run, &["done"]);
    let done = "sum by (runbook, status) (nlrun_runs_total)";
    until("the run is counted", || {
        let labels = json!({ "runbook": "runbooks/quiet.rhai", "status": "done" });
        prometheus.query(done).iter().any(|(found, value)| *found == labels && *value == 1.0)
    });
    // A histogram is one to Prometheus when it can take a share from it.
    let share = "histogram_quantile(0.5, sum by (le) (nlrun_run_duration_seconds_bucket))";
    until("durations have a middle", || value(share).is_some_and(|middle| middle > 0.0));
    until("the schedule without success is an alert", || {
        let firing = prometheus.query("ALERTS{alertname=\"NlrunScheduleStale\",alertstate=\"firing\"}");
        firing.first().is_some_and(|(labels, _)| labels["schedule"] == "backup")
    });
    server.kill();
    until("the server is gone", || value("up{job=\"nlrun\"}") == Some(0.0));
    until("and that is an alert", || value("ALERTS{alertname=\"NlrunGone\"}").is_some());
}

#[test]
fn the_rules_are_right_and_name_what_is_there() {
    let project = with_schedule("server: {metrics: {open: true}}\n", "every: 1h\n");
    let server = Server::start(&project);
    until("it leads", || metric(&server.nobody().get("/metrics").text, "nlrun_leader") == 1.0);
    let text = server.nobody().get("/metrics").text;
    let names = RULES.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let names: Vec<&str> = names.filter(|word| word.starts_with("nlrun_")).collect();
    assert!(names.len() > 8, "{names:?}");
    for name in names {
        assert!(text.contains(&format!("# TYPE {name} ")), "{name} is in no answer: {text}");
    }
    let Some(promtool) = program("promtool") else { return };
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations/alerts.yaml");
    let checked = Command::new(promtool).args(["check", "rules", path]).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}
