use std::collections::BTreeMap;

use chrono::DateTime;

use super::*;
use crate::gc::history::Happening;
use crate::gc::policy::Mode;
use crate::gc::volume::{Class, VolumeName};

const AT: Option<DateTime<Utc>> = DateTime::from_timestamp(1_800_000_000, 0);

fn volume(name: &str) -> Measurable {
    Measurable::Volume { name: VolumeName::new(name).unwrap(), identity: "1".to_owned() }
}

fn seen() -> Seen {
    let due = Kind::Reclaimable(State::Due, Class::Named);
    let grace = Kind::Reclaimable(State::Grace, Class::Anonymous);
    Seen {
        taken_at: AT.unwrap(),
        mode: Mode::Enforce,
        volumes: BTreeMap::from([
            ((State::Held, "named"), 4),
            ((State::Due, "named"), 3),
            ((State::Grace, "anonymous"), 1),
        ]),
        entries: BTreeMap::from([("quarantined", 2), ("damaged", 1)]),
        names_in_use: 1,
        told_bytes: 1000,
        sizes: vec![(volume("a"), due), (volume("b"), due), (volume("c"), due), (volume("d"), grace)],
        due: (3, 1),
        next_deletion_at: AT,
    }
}

fn totals() -> Totals {
    Totals {
        happened: BTreeMap::from([
            (Happening::Quarantined, 7),
            (Happening::Deleted, 2),
            (Happening::WouldAct, 9),
        ]),
        deleted_bytes: 1 << 40,
    }
}

fn lines(figures: &Figures<'_>, form: Form) -> Vec<String> {
    let text = encode(figures, form).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[track_caller]
fn has(lines: &[String], expected: &[&str]) {
    for expected in expected {
        assert!(lines.iter().any(|line| line == expected), "{expected} is not in\n{}", lines.join("\n"));
    }
}

#[test]
fn everything_known_has_a_sample() {
    let (seen, totals) = (seen(), totals());
    let measured =
        BTreeMap::from([(volume("a"), 10), (volume("b"), 20), (volume("d"), 5), (volume("gone"), 7)]);
    let service = Service {
        sweeps: vec![("done", 0), ("refused", 3)],
        last_sweep: Some((1.5, AT.unwrap())),
        engine_up: Some(true),
        started_at: AT.unwrap(),
        next_sweep_at: AT,
    };
    let figures = Figures {
        seen: Some(&seen),
        measured: &measured,
        totals: Some(&totals),
        last_success_at: AT,
        refusals: &["other_engine", "incomplete_evidence"],
        service: Some(&service),
    };
    let expected = [
        concat!("volgc_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        "volgc_last_look_timestamp_seconds 1800000000",
        "volgc_mode{mode=\"enforce\"} 1",
        "volgc_mode{mode=\"observe\"} 0",
        "volgc_volumes{state=\"held\",class=\"named\"} 4",
        "volgc_volumes{state=\"held\",class=\"anonymous\"} 0",
        "volgc_volumes{state=\"due\",class=\"named\"} 3",
        "volgc_quarantine_entries{state=\"quarantined\"} 2",
        "volgc_quarantine_entries{state=\"damaged\"} 1",
        "volgc_quarantine_entries{state=\"in_doubt\"} 0",
        "volgc_quarantine_names_in_use 1",
        "volgc_due{action=\"quarantine\"} 3",
        "volgc_due{action=\"delete\"} 1",
        "volgc_next_deletion_timestamp_seconds 1800000000",
        "volgc_reclaimable_bytes{state=\"due\",class=\"named\"} 30",
        "volgc_reclaimable_bytes{state=\"grace\",class=\"anonymous\"} 5",
        "volgc_reclaimable_bytes{state=\"kept\",class=\"named\"} 0",
        "volgc_unmeasured_volumes 1",
        "volgc_unmeasured_entries 0",
        "volgc_quarantine_bytes 1000",
        "volgc_refused{reason=\"other_engine\"} 1",
        "volgc_refused{reason=\"incomplete_evidence\"} 1",
        "volgc_refused{reason=\"podman\"} 0",
        "volgc_quarantined_total 7",
        "volgc_restored_total 0",
        "volgc_deleted_total 2",
        "volgc_reclaimed_bytes_total 1099511627776",
        "volgc_last_success_timestamp_seconds 1800000000",
        "volgc_sweeps_total{result=\"refused\"} 3",
        "volgc_sweeps_total{result=\"done\"} 0",
        "volgc_sweep_duration_seconds 1.5",
        "volgc_engine_up 1",
        "volgc_next_sweep_timestamp_seconds 1800000000",
    ];
    for form in [Form::Prometheus, Form::OpenMetrics] {
        let lines = lines(&figures, form);
        has(&lines, &expected);
        // No volume's name anywhere.
        assert!(!lines.iter().any(|line| line.contains("\"a\"") || line.contains("gone")), "{lines:#?}");
        assert!(lines.iter().filter(|line| !line.starts_with('#')).all(|line| line.starts_with("volgc_")));
    }
}

#[test]
fn what_is_not_known_has_no_sample() {
    let measured = Measured::new();
    let figures = Figures {
        seen: None,
        measured: &measured,
        totals: None,
        last_success_at: None,
        refusals: &[],
        service: None,
    };
    let lines = lines(&figures, Form::Prometheus);
    let absent =
        ["volgc_volumes", "volgc_quarantine", "volgc_reclaim", "volgc_last", "volgc_next", "volgc_engine_up"];
    assert!(!lines.iter().any(|line| absent.iter().any(|absent| line.contains(absent))), "{lines:#?}");
    has(&lines, &[concat!("volgc_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1")]);
}

#[test]
fn a_reader_gets_the_form_it_accepts() {
    let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                      text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    assert_eq!(Form::accepted_by(prometheus), Form::OpenMetrics);
    assert_eq!(Form::accepted_by("text/plain"), Form::Prometheus);
    assert_eq!(Form::accepted_by(""), Form::Prometheus);
}
