//! `volgc explain` answers two questions by itself: why was this volume not collected, and why, and when, would it be?

use std::process::{Child, Command};

use chrono::{DateTime, Duration, NaiveDateTime, Utc};
use harness::{PrivateEngine, Volgc, on_each_engine};

const CONFIG: &str = r#"
mode = "MODE"
[docker]
host = "unix://{socket}"
[schedule]
cron = "17 3 * * *"
timezone = "UTC"
[[rule]]
name = "ci"
match = { volume = "ci-*" }
quarantine_after = "36h"
delete_after = "3d"
[[rule]]
name = "now"
match = { volume = "now-*" }
quarantine_after = "0s"
delete_after = "3d"
[limits]
min_grace = "GRACE"
min_sightings = SIGHTINGS
"#;

fn volgc(engine: &PrivateEngine, mode: &str, grace: &str, sightings: &str) -> Volgc {
    let volgc = Volgc::new(engine);
    configure(&volgc, mode, grace, sightings);
    volgc
}

fn configure(volgc: &Volgc, mode: &str, grace: &str, sightings: &str) {
    volgc.config(&CONFIG.replace("MODE", mode).replace("GRACE", grace).replace("SIGHTINGS", sightings));
}

/// The line on a topic.
#[track_caller]
fn line(story: &str, topic: &str) -> String {
    let line = story.lines().find_map(|line| line.strip_prefix(topic));
    line.unwrap_or_else(|| panic!("nothing on {topic:?} in\n{story}")).trim().to_owned()
}

/// The first time on a line.
#[track_caller]
fn time(line: &str) -> DateTime<Utc> {
    let at = line.find("20").unwrap_or_else(|| panic!("no time in {line:?}"));
    NaiveDateTime::parse_from_str(&line[at..at + 17], "%Y-%m-%d %H:%MZ")
        .unwrap_or_else(|_| panic!("no time in {line:?}"))
        .and_utc()
}

/// The first 03:17 that is not before a time.
fn sweep_from(at: DateTime<Utc>) -> DateTime<Utc> {
    let sweep = at.date_naive().and_hms_opt(3, 17, 0).unwrap().and_utc();
    if sweep < at { sweep + Duration::days(1) } else { sweep }
}

/// The test's and the product's clock must be on the same side of a sweep.
fn not_just_before_a_sweep() -> DateTime<Utc> {
    loop {
        let now = Utc::now();
        if sweep_from(now) - now > Duration::minutes(2) {
            return now;
        }
        std::thread::sleep(std::time::Duration::from_secs(5));
    }
}

/// A process that ends with the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

on_each_engine! {
    fn the_dates_to_come_are_those_of_sweeps(engine: PrivateEngine) {
        engine.create_volume("ci-1", &[]);
        engine.create_volume("now-1", &[]);
        let now = not_just_before_a_sweep();
        let volgc = volgc(&engine, "enforce", "0s", "4");
        // No sweep has seen it: the next one, at 03:17, starts its clock, and 36 h later none sweeps before 03:17 again.
        let next = sweep_from(now);
        let story = volgc.ok(&["explain", "ci-1"]);
        let quarantine = line(&story, "to be quarantined");
        assert!(quarantine.contains("which the next sweep starts"), "{quarantine}");
        // Four sightings are the sweeps of four days.
        assert_eq!(time(&quarantine), next + Duration::days(3));
        let delete = line(&story, "to be deleted");
        assert_eq!(time(&delete), next + Duration::days(6));
        assert!(delete.contains("3d later, unless it is restored"), "{delete}");
        assert!(line(&story, "clock").contains("seen so by 0 sweeps until now (4 needed)"), "{story}");

        // The clock runs since now, and four sightings are the next sweep and two more.
        volgc.ok(&["sweep"]);
        let story = volgc.ok(&["explain", "ci-1"]);
        let quarantine = line(&story, "to be quarantined");
        assert!(quarantine.contains("that has seen it often enough"), "{quarantine}");
        assert_eq!(time(&quarantine), next + Duration::days(2));
        configure(&volgc, "enforce", "0s", "2");
        let quarantine = line(&volgc.ok(&["explain", "ci-1"]), "to be quarantined");
        assert!(quarantine.contains("by the first sweep after its grace period, unless something holds it"), "{quarantine}");
        let over = time(&quarantine);
        assert!(over == sweep_from(Utc::now() + Duration::hours(36)) || over == sweep_from(now + Duration::hours(36)), "{quarantine}");

        // What is due goes with the next sweep; what the mode does not permit has no date.
        configure(&volgc, "enforce", "0s", "2");
        let story = volgc.ok(&["explain", "now-1"]);
        assert_eq!(time(&line(&story, "to be quarantined")), next);
        assert!(line(&story, "to be quarantined").contains("by the next sweep"), "{story}");
        assert_eq!(time(&line(&story, "to be deleted")), next + Duration::days(3));
        configure(&volgc, "observe", "0s", "2");
        let story = volgc.ok(&["explain", "now-1"]);
        for topic in ["to be quarantined", "to be deleted"] {
            assert!(line(&story, topic).starts_with("not in mode \"observe\", which does not "), "{story}");
        }

        // In quarantine the clock is told, and the date of its end.
        configure(&volgc, "enforce", "0s", "2");
        volgc.ok(&["sweep"]);
        let story = volgc.ok(&["explain", "now-1"]);
        assert_eq!(line(&story, "volume"), "now-1 does not exist");
        assert!(line(&story, "clock").contains("of it watched; 3d promised"), "{story}");
        assert!(line(&story, "quarantined by").starts_with("rule now; nothing held it since 20"), "{story}");
        let over = time(&line(&story, "to be deleted"));
        assert!(over == sweep_from(Utc::now() + Duration::days(3)) || over == sweep_from(now + Duration::days(3)), "{story}");
        // The name on a new volume: both are told, and that the old data waits.
        engine.create_volume("now-1", &[]);
        let story = volgc.ok(&["explain", "now-1"]);
        assert!(line(&story, "volume").starts_with("now-1 (named"), "{story}");
        let deleted = story.lines().rev().find(|line| line.starts_with("to be deleted")).unwrap();
        assert!(deleted.contains("not while volume now-1 exists"), "{story}");
    }

    fn what_keeps_a_volume_says_what_would_have_to_change(engine: PrivateEngine) {
        for name in ["ci-held", "ci-busy", "ci-mine", "kept"] {
            engine.create_volume(name, &[]);
        }
        engine.docker(&["create", "--name", "app", "-v", "ci-held:/data", "bb", "true"]);
        let options = r#"{"Name":"ci-nfs","DriverOpts":{"type":"nfs","o":"addr=127.0.0.1","device":":/export"}}"#;
        engine.json("POST", "/volumes/create", Some(options));
        let volgc = volgc(&engine, "enforce", "0s", "2");
        let story = volgc.ok(&["explain", "ci-held"]);
        assert_eq!(line(&story, "to be quarantined"), "not while something holds it; 1d 12h after its last holder is gone, at the earliest");
        assert_eq!(line(&volgc.ok(&["explain", "kept"]), "to be quarantined"), "never, as long as the policy keeps it");
        assert_eq!(line(&volgc.ok(&["explain", "ci-nfs"]), "to be quarantined"), "never, as long as it cannot be moved");

        // A process is no reference: it is looked for when the volume is about to be moved, and here.
        let busy = Ends(Command::new("sleep").arg("1000").current_dir(engine.volume_data("ci-busy")).spawn().unwrap());
        let story = volgc.ok(&["explain", "ci-busy"]);
        let expected = format!("{} sleep is in it: working directory ", busy.0.id());
        assert!(line(&story, "processes").starts_with(&expected), "{story}");
        assert!(line(&story, "processes").ends_with("a sweep leaves it alone until it is not"), "{story}");
        drop(busy);
        assert_eq!(line(&volgc.ok(&["explain", "ci-busy"]), "processes"), "none is in it");

        // By hand: only by hand again.
        volgc.ok(&["quarantine", "ci-mine"]);
        let entry = volgc.entry_id_of("ci-mine");
        configure(&volgc, "enforce", "0s", "2");
        let story = volgc.ok(&["explain", "ci-mine"]);
        assert!(line(&story, "quarantined by").starts_with("an operator ordered it"), "{story}");
        assert!(line(&story, "way back").ends_with(&format!("volgc restore {entry}")), "{story}");

        // Another engine than the ledger's: no date counts.
        let other = Volgc::new(&engine);
        configure(&other, "enforce", "0s", "2");
        engine.stop();
        engine.move_root(&engine.dir().join("moved"));
        std::os::unix::fs::symlink("moved", engine.root()).unwrap();
        engine.restart();
        let story = volgc.ok(&["explain", "ci-busy"]);
        assert!(line(&story, "brake").starts_with("other engine: "), "{story}");
        assert!(story.contains("as long as a brake holds, nothing is moved or deleted, whatever its date is"), "{story}");
        assert!(!other.ok(&["explain", "ci-busy"]).contains("brake"));
    }
}
