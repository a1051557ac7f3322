//! Podman answers the Docker API as well. Its DELETE takes the beginning of a name for the name, so volgc reports on it and
//! moves nothing.

use harness::podman::Podman;
use harness::recording::Recording;
use harness::{NO_GRACE, Volgc, fill, tree_listing};

/// What the content that the harness writes has in its file `PG_VERSION`.
const CONTENT: &str = "15";

/// Volumes of every kind, with content: held by a container that runs, by one that waits, by a bind, and by nothing.
fn scene() -> Podman {
    let podman = Podman::start();
    for (seed, name) in ["running", "waiting", "bound", "orphan", "orphan-2"].into_iter().enumerate() {
        podman.podman(&["volume", "create", name]);
        fill(&podman.volume_data(name), seed as u64);
    }
    let bound = podman.volume_data("bound").display().to_string();
    for (verb, name, source, words) in [
        ("run", "app", "running", &["sleep", "1000"][..]),
        ("create", "job", "waiting", &["cat", "/data/PG_VERSION"]),
        ("create", "reader", &bound, &["cat", "/data/PG_VERSION"]),
    ] {
        let mut arguments = podman.container(verb, name, &format!("{source}:/data"));
        if verb == "run" {
            arguments.insert(1, "--detach".to_owned());
        }
        arguments.push("/bin/busybox".to_owned());
        arguments.extend(words.iter().map(|word| (*word).to_owned()));
        podman.podman(&arguments);
    }
    podman
}

#[test]
fn podman_is_reported_on_and_not_changed() {
    let podman = scene();
    let recording = Recording::start(&podman.dir().join("recording"), &podman.socket());
    let volgc = Volgc::beside(podman.dir(), recording.socket(), &podman.root());
    volgc.config(NO_GRACE);
    let volumes = || (podman.podman(&["volume", "ls"]), tree_listing(&podman.root().join("volumes")));
    let before = volumes();

    let report = volgc.report();
    let words: Vec<&str> =
        report["refusals"].as_array().unwrap().iter().map(|one| one["reason"].as_str().unwrap()).collect();
    assert_eq!(words, ["podman"], "{report:#}");
    assert_eq!(report["engine"]["root"], podman.root().display().to_string());
    for (name, holder) in [("running", "app"), ("waiting", "job"), ("bound", "reader")] {
        let told = volgc.told_of(name);
        assert_eq!(told["reason"], "held", "{told:#}");
        let holders = told["holders"].as_array().unwrap();
        assert!(holders.iter().any(|one| one["name"] == holder), "{told:#}");
    }
    for name in ["orphan", "orphan-2"] {
        assert_eq!(volgc.reason_of(name), "first_sighting");
    }
    let table = volgc.ok(&["report"]);
    assert!(table.contains("A sweep would refuse to act (podman): this is Podman"), "{table}");
    let story = volgc.ok(&["explain", "orphan"]);
    assert!(story.contains("this is Podman"), "{story}");

    // Everything that would move data, and twice, as the first sighting alone would not be due.
    for words in [
        &["sweep"][..],
        &["sweep"],
        &["quarantine", "orphan"],
        &["restore", "orphan"],
        &["delete", "--yes", "20260101-000000-00000000"],
    ] {
        let output = volgc.run(words);
        assert_eq!(output.status, Some(4), "{words:?}: {output:?}");
        let told = output.stdout.clone() + &output.stderr;
        assert!(
            told.contains("this is Podman, which deletes any volume whose name begins"),
            "{words:?}: {told}"
        );
    }
    assert_eq!(volgc.run(&["report", "--detailed-exit-code"]).status, Some(4));
    assert_eq!(volumes(), before);
    assert!(!podman.root().join("volgc").exists(), "no quarantine was made");
    let asked = recording.take_distinct();
    assert!(asked.iter().all(|asked| asked.starts_with("GET ")), "{asked:?}");

    assert_eq!(podman.podman(&["exec", "app", "/bin/busybox", "cat", "/data/PG_VERSION"]), CONTENT);
    for name in ["job", "reader"] {
        assert_eq!(podman.podman(&["start", "--attach", name]), CONTENT);
    }
}

/// Why: an order to forget one volume that is gone already takes another one (podman issue 23943).
#[test]
fn podmans_delete_takes_the_beginning_of_a_name_for_the_name() {
    let podman = Podman::start();
    podman.podman(&["volume", "create", "database-of-the-shop"]);
    fill(&podman.volume_data("database-of-the-shop"), 1);
    let (status, told) = podman.api("GET", "/v1.41/volumes");
    assert!(status == 200 && told.contains("database-of-the-shop"), "{status} {told}");
    let (status, told) = podman.api("DELETE", "/v1.41/volumes/database");
    assert_eq!(status, 204, "if Podman has mended this, volgc may work with it: {told}");
    assert!(!podman.volume_data("database-of-the-shop").exists());
    let (_, told) = podman.api("GET", "/v1.41/volumes");
    assert!(!told.contains("database-of-the-shop"), "{told}");
}
