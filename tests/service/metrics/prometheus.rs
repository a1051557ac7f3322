//! Debian's Prometheus scrapes a running service, and answers every query of the dashboard and every rule with data.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::metrics::reader::{Running, await_sample, await_that, get};
use crate::metrics::{documents, scene};
use harness::on_each_engine;

/// One with a directory and a port of its own, killed with the value.
struct Prometheus {
    child: Child,
    address: SocketAddr,
}

impl Prometheus {
    fn start(dir: &Path, target: SocketAddr) -> Self {
        let dir = dir.join("prometheus");
        fs::create_dir(&dir).unwrap();
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus-rules.yml");
        let config = format!(
            "global: {{scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 1s}}\n\
             rule_files: ['{}']\n\
             scrape_configs: [{{job_name: volgc, static_configs: [{{targets: ['{target}']}}]}}]\n",
            rules.display()
        );
        fs::write(dir.join("prometheus.yml"), config).unwrap();
        // Somebody else may take it before Prometheus does; then the test fails and says so.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let log = File::create(dir.join("log")).unwrap();
        let child = Command::new("/usr/bin/prometheus")
            .arg(format!("--config.file={}", dir.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .env_clear()
            .env("GOMAXPROCS", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run prometheus: {error}: run tests/setup"));
        let this = Self { child, address };
        await_that("Prometheus listens", || std::net::TcpStream::connect(address).is_ok());
        await_that("Prometheus has scraped", || !this.query("count_over_time(up[1m]) > 3").is_empty());
        this
    }

    /// The samples that an expression gives now. One that is not understood fails the test.
    #[track_caller]
    fn query(&self, expression: &str) -> Vec<Value> {
        let answer = get(self.address, &format!("/api/v1/query?query={}", encoded(expression)));
        if answer.status == 503 {
            return Vec::new();
        }
        // HTTP/1.1 may send it in pieces, each after its length.
        let json = answer.body.lines().find(|line| line.starts_with('{')).unwrap_or_default();
        let value: Value = serde_json::from_str(json)
            .unwrap_or_else(|error| panic!("{expression}: {error}: {}", answer.body));
        assert_eq!(value["status"], "success", "{expression}: {value}");
        value["data"]["result"].as_array().unwrap().clone()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut text, byte| {
        text.push_str(&format!("%{byte:02X}"));
        text
    })
}

/// Every comparison as one that answers 0 or 1 in place of leaving samples out: then there is an answer exactly when there
/// is data, and both sides of an `and` have the same labels.
fn compared(expression: &str) -> String {
    let words: Vec<&str> = expression.split_whitespace().collect();
    let mut text = words.join(" ");
    for comparison in [">", "==", "<"] {
        text = text.replace(&format!(" {comparison} "), &format!(" {comparison} bool "));
    }
    text
}

on_each_engine! {
    fn a_prometheus_has_data_for_every_query_and_rule(engine: PrivateEngine) {
        let volgc = scene(&engine);
        let service = Running::start(&volgc);
        let target = service.address();
        await_sample(target, "volgc_quarantine_entries{state=\"quarantined\"}", 1.0);
        await_sample(target, "volgc_unmeasured_volumes", 0.0);
        let prometheus = Prometheus::start(engine.dir(), target);
        let (queries, rules) = (documents::dashboard_queries(), documents::rules());
        assert!(queries.len() > 15 && rules.len() > 10, "{queries:#?}\n{rules:#?}");
        for query in &queries {
            let samples = prometheus.query(query);
            assert!(!samples.is_empty(), "no data for {query}");
        }
        for (alert, expression) in &rules {
            let samples = prometheus.query(&compared(expression));
            assert!(!samples.is_empty(), "no data for {alert}: {}", compared(expression));
        }
        // The judge itself: without data there is no answer.
        assert_eq!(prometheus.query(&compared("volgc_nothing > 0")), Vec::<Value>::new());
        // On a host where all is well, nothing is pending. Sizes are known, and nobody refuses.
        assert_eq!(prometheus.query("ALERTS"), Vec::<Value>::new());
        // The types arrived: OpenMetrics was spoken.
        let metadata = get(prometheus.address, "/api/v1/metadata?metric=volgc_reclaimed_bytes").body;
        assert!(metadata.contains(r#""type":"counter""#) && metadata.contains(r#""unit":"bytes""#), "{metadata}");
        service.end();
    }
}
