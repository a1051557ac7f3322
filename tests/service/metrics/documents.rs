//! What is in `deploy/` and in the README agrees with what is served.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Every query of the dashboard, its variables put in.
pub(crate) fn dashboard_queries() -> Vec<String> {
    let text = fs::read_to_string(file("deploy/grafana-dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{target}");
            let query = target["expr"].as_str().unwrap();
            queries.push(query.replace("$instance", ".*").replace("$__rate_interval", "1m"));
        }
    }
    assert!(queries.iter().all(|query| !query.contains('$')), "a variable is left: {queries:#?}");
    queries
}

/// Every alert and its expression.
pub(crate) fn rules() -> Vec<(String, String)> {
    let text = fs::read_to_string(file("deploy/prometheus-rules.yml")).unwrap();
    let mut rules: Vec<(String, String)> = Vec::new();
    let mut lines = text.lines().map(str::trim).peekable();
    let mut alert = String::new();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("- alert: ") {
            name.clone_into(&mut alert);
        } else if let Some(expression) = line.strip_prefix("expr: ") {
            let mut expression = expression.trim_start_matches(">-").to_owned();
            while expression.trim().is_empty() || lines.peek().is_some_and(|next| next.starts_with("and ")) {
                expression.push(' ');
                expression.push_str(lines.next().unwrap());
            }
            rules.push((alert.clone(), expression.trim().to_owned()));
        }
    }
    assert_eq!(rules.len(), text.matches("alert:").count());
    rules
}

/// The names of metrics in the README's table, without the labels.
pub(crate) fn documented() -> BTreeSet<String> {
    let text = fs::read_to_string(file("README.md")).unwrap();
    let names = text.lines().filter_map(|line| line.strip_prefix("| `volgc_")).map(|rest| {
        let name: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
        format!("volgc_{name}")
    });
    names.collect()
}

fn promtool(arguments: &[&str]) {
    let output = Command::new("/usr/bin/promtool")
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap_or_else(|error| panic!("cannot run promtool: {error}: run tests/setup"));
    assert!(output.status.success(), "promtool {arguments:?}: {}", harness::show(&output));
}

#[test]
fn the_rules_are_valid_and_fire_when_they_should() {
    promtool(&["check", "rules", "--lint-fatal", "deploy/prometheus-rules.yml"]);
    promtool(&["test", "rules", "tests/prometheus/rules_test.yml"]);
}

#[test]
fn every_alert_has_a_test() {
    let tests = fs::read_to_string(file("tests/prometheus/rules_test.yml")).unwrap();
    for (alert, _) in rules() {
        assert!(tests.contains(&format!("{{alertname=\"{alert}\"}}")), "{alert} has no test");
    }
}
