//! What is refused.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{due, goes_on, refused, refused_by_both};
use harness::fake::{Answer, CONTAINER_ID, World, container, volume};
use harness::recording::eventually;
use harness::tree_listing;

/// An answer of 200 with this head and body, written as it is.
fn raw(head: &str, body: &[u8]) -> Answer {
    let mut bytes = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n").into_bytes();
    bytes.extend_from_slice(body);
    Answer::Bytes(bytes)
}

#[test]
fn an_answer_that_is_not_whole_is_refused() {
    let (fake, volgc) = due();
    let huge = format!("X-Huge: {}\r\nContent-Length: 2", "x".repeat(2 << 20));
    let answers: [(&str, Answer); 12] = [
        ("empty body", Answer::Whole(200, String::new())),
        ("truncated JSON", Answer::Whole(200, r#"{"Volumes":[{"Name":"orphan","#.to_owned())),
        ("something behind the JSON", Answer::Whole(200, r#"{"Volumes":null} {"#.to_owned())),
        ("no JSON", Answer::Whole(200, "<html>proxy\u{1b}[2J</html>".to_owned())),
        ("shorter than its length", raw("Content-Length: 900", br#"{"Volumes":null,"Warnings":null}"#)),
        ("longer than its length", raw("Content-Length: 5", br#"{"Volumes":null,"Warnings":null}"#)),
        ("chunks that end early", raw("Transfer-Encoding: chunked", b"20\r\n{\"Volumes\":null")),
        ("a chunk of no length", raw("Transfer-Encoding: chunked", b"zz\r\n{}\r\n0\r\n\r\n")),
        ("a huge header", raw(&huge, b"{}")),
        ("no HTTP", Answer::Bytes(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec())),
        ("nothing at all", Answer::Bytes(Vec::new())),
        (
            "a redirect",
            Answer::Bytes(b"HTTP/1.1 301 X\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n".to_vec()),
        ),
    ];
    for path in ["/version", "/info", "/volumes", "/containers/json"] {
        for (what, answer) in &answers {
            fake.set(|world| world.replace(path, answer.clone()));
            refused_by_both(&format!("{what} to {path}"), &fake, &volgc, path);
            fake.restore_answers();
        }
    }
    goes_on("answers that are not whole", &fake, &volgc);
}

#[test]
fn an_answer_of_another_shape_is_refused() {
    let (fake, volgc) = due();
    for path in ["/version", "/info", "/volumes", "/containers/json"] {
        for shape in ["{}", "[[]]", "null", "true", "7", r#""text""#, r#"{"message":"?"}"#] {
            fake.set(|world| world.replace(path, Answer::Whole(200, shape.to_owned())));
            refused_by_both(&format!("{shape} to {path}"), &fake, &volgc, path);
            fake.restore_answers();
        }
    }
    // A list where an object belongs, as after a version that was rewritten.
    for path in ["/version", "/info", "/volumes"] {
        fake.set(|world| world.replace(path, Answer::Whole(200, "[]".to_owned())));
        refused_by_both(&format!("[] to {path}"), &fake, &volgc, path);
        fake.restore_answers();
    }
    let mounts = |mounts: Value| json!([container(CONTAINER_ID, &mounts)]);
    let without = |key: &str| {
        let mut one = container(CONTAINER_ID, &json!([]));
        one.as_object_mut().unwrap().remove(key);
        json!([one])
    };
    let lists: [(&str, Value, &str); 8] = [
        ("mounts missing", without("Mounts"), "Mounts"),
        ("mounts null", mounts(Value::Null), "null"),
        ("mounts a text", mounts(json!("none")), "expected a sequence"),
        ("ID missing", without("Id"), "Id"),
        ("volume without name", mounts(json!([{ "Type": "volume", "Destination": "/d" }])), "container web"),
        ("volume with an empty name", mounts(json!([{ "Type": "volume", "Name": "" }])), "container web"),
        ("mount of no kind", mounts(json!([{}])), "container web"),
        ("mount that is null", mounts(json!([null])), "null"),
    ];
    for (what, list, named) in lists {
        fake.set(|world| world.replace("/containers/json", Answer::json(&list)));
        refused_by_both(what, &fake, &volgc, named);
        fake.restore_answers();
    }
    let volumes = |change: fn(&mut Value)| {
        let mut one = volume("/r", "orphan");
        change(&mut one);
        json!({ "Volumes": [one], "Warnings": null })
    };
    let lists: [(&str, Value, &str); 5] = [
        (
            "volume without name",
            volumes(|v| {
                v.as_object_mut().unwrap().remove("Name");
            }),
            "Name",
        ),
        (
            "volume without driver",
            volumes(|v| {
                v.as_object_mut().unwrap().remove("Driver");
            }),
            "Driver",
        ),
        (
            "volume without scope",
            volumes(|v| {
                v.as_object_mut().unwrap().remove("Scope");
            }),
            "Scope",
        ),
        (
            "volume without labels",
            volumes(|v| {
                v.as_object_mut().unwrap().remove("Labels");
            }),
            "Labels",
        ),
        (
            "volume listed twice",
            json!({ "Volumes": [volumes(|_| ())["Volumes"][0], volumes(|_| ())["Volumes"][0]] }),
            "twice",
        ),
    ];
    for (what, list, named) in lists {
        fake.set(|world| world.replace("/volumes", Answer::json(&list)));
        refused_by_both(what, &fake, &volgc, named);
        fake.restore_answers();
    }
    goes_on("answers of another shape", &fake, &volgc);
}

#[test]
fn an_error_to_any_call_is_refused_with_the_engines_words() {
    let (fake, volgc) = due();
    for path in ["/version", "/info", "/volumes", "/containers/json"] {
        for status in [400, 401, 403, 404, 500, 502, 503] {
            let body = json!({ "message": format!("the engine's words \u{1b}[31m {status}") }).to_string();
            fake.set(|world| world.replace(path, Answer::Whole(status, body)));
            refused_by_both(&format!("{status} to {path}"), &fake, &volgc, "the engine's words");
            fake.restore_answers();
        }
    }
    goes_on("errors", &fake, &volgc);
}

#[test]
fn a_list_that_disagrees_with_the_engines_own_count_is_refused() {
    let (fake, volgc) = due();
    fake.set(|world| world.info["Containers"] = json!(2));
    refused_by_both("a list that is too short", &fake, &volgc, "lists 1 containers but counts 2");
    fake.set(|world| world.info["Containers"] = json!(0));
    refused_by_both("a list that is too long", &fake, &volgc, "lists 1 containers but counts 0");
    fake.set(|world| {
        world.info["Containers"] = json!(1);
        world.replace("/containers/json", Answer::Whole(200, "[]".to_owned()));
    });
    refused_by_both("an empty list", &fake, &volgc, "lists 0 containers but counts 1");
    fake.set(|world| world.info["Containers"] = json!(1));
    goes_on("counts", &fake, &volgc);
}

/// What was counted long before the list is no witness of what it is to hold.
#[test]
fn a_count_from_before_a_long_wait_is_asked_for_again() {
    let (fake, volgc) = due();
    volgc.ok(&["report"]);
    let quick = fake.take();
    fake.set(|world| {
        let version = Answer::json(&world.version);
        world.replace_with("/version", move |_| {
            sleep(Duration::from_millis(1500));
            Some(version.clone())
        });
    });
    volgc.ok(&["report"]);
    let slow = fake.take();
    let count = |asked: &[String]| {
        let list = asked.iter().position(|asked| asked.contains("/containers/json")).unwrap();
        asked[..list].iter().filter(|asked| asked.ends_with("/info")).count()
    };
    assert_eq!((count(&quick), count(&slow)), (1, 2), "{quick:?} {slow:?}");
}

#[test]
fn an_engine_that_changes_between_two_calls_is_refused() {
    let (fake, volgc) = due();
    let another_part = json!({ "LocalNodeState": "active", "ControlAvailable": true });
    for (key, other) in [
        ("ID", json!("ANOTHER")),
        ("DockerRootDir", json!("/elsewhere")),
        ("Driver", json!("btrfs")),
        ("Swarm", another_part),
    ] {
        fake.set(|world| {
            let mut second = world.info.clone();
            second[key] = other.clone();
            world.replace_with("/info", move |asked| (asked % 2 == 1).then(|| Answer::json(&second)));
        });
        refused_by_both(&format!("another {key}"), &fake, &volgc, "changed between two calls");
        fake.restore_answers();
    }
    // The same, but consistently so: another engine than the ledger knows. A report may be had of it.
    fake.set(|world| world.info["ID"] = json!("ANOTHER"));
    let output = refused("another engine", &fake, &volgc, &["report", "--detailed-exit-code"]);
    assert!(output.stdout.contains("(other engine)"), "{output:?}");
    fake.take();
    let listing = tree_listing(&fake.root());
    let output = volgc.run(&["sweep"]);
    assert!(output.status == Some(4) && output.stdout.contains("volgc acknowledge"), "{output:?}");
    assert_eq!(tree_listing(&fake.root()), listing);
}

#[test]
fn an_answer_that_stalls_is_waited_for_and_a_signal_ends_the_wait() {
    use rustix::process::{Pid, Signal, kill_process};
    let (fake, volgc) = due();
    let before = tree_listing(&fake.root());
    let heads: [&[u8]; 3] = [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Type: appl",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"Volumes\":",
    ];
    for (words, head) in
        [&["report"][..], &["sweep"]].into_iter().flat_map(|words| heads.map(|head| (words, head)))
    {
        fake.set(|world| world.replace("/volumes", Answer::Stall(head.to_vec())));
        fake.take();
        let mut child = volgc.spawn(words);
        let asked = || fake.take().iter().any(|asked| asked.ends_with("/volumes"));
        assert!(eventually(Duration::from_mins(1), asked), "{words:?} never asked");
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(child.try_wait().unwrap(), None, "{words:?} did not wait");
        let told = Instant::now();
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        let status = child.wait().unwrap();
        assert!(told.elapsed() < Duration::from_secs(5), "{words:?} took {:?} to end", told.elapsed());
        assert!(!status.success(), "{words:?}: {status}");
        assert_eq!(tree_listing(&fake.root()), before, "{words:?}");
    }
    goes_on("stalled answers", &fake, &volgc);
}

#[test]
fn a_step_in_hand_is_finished_after_one_signal_and_left_after_two() {
    use rustix::process::{Pid, Signal, kill_process};
    let (fake, volgc) = due();
    let before = tree_listing(&fake.volume_data("orphan"));
    // The last look at the volume before it is moved.
    fake.set(|world| world.replace_with("/volumes", |asked| (asked > 2).then(|| Answer::Stall(Vec::new()))));
    let mut child = volgc.spawn(&["sweep"]);
    let lists = std::cell::Cell::new(0);
    let asked = || {
        lists.set(lists.get() + fake.take().iter().filter(|asked| asked.contains("/volumes")).count());
        lists.get() > 3
    };
    assert!(eventually(Duration::from_mins(1), asked), "never asked");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(child.try_wait().unwrap(), None, "the step in hand was not finished");
    let told = Instant::now();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert!(!child.wait().unwrap().success());
    assert!(told.elapsed() < Duration::from_secs(5), "took {:?} to end", told.elapsed());
    assert_eq!(tree_listing(&fake.volume_data("orphan")), before);
    goes_on("a sweep that was ended", &fake, &volgc);
}

#[test]
fn an_answer_that_fails_only_when_the_witnesses_are_asked_again_leaves_the_volume() {
    // Which of the container lists of one sweep fails: under the lock, before the step, and after the rename.
    for nth in 1..4 {
        let (fake, volgc) = due();
        let before = tree_listing(&fake.volume_data("orphan"));
        fake.set(|world| {
            let broken = Answer::Whole(200, "[{\"Id\":".to_owned());
            world.replace_with("/containers/json", move |asked| (asked == nth).then(|| broken.clone()));
        });
        let output = volgc.run(&["sweep"]);
        assert!(!matches!(output.status, None | Some(1 | 101)), "list {nth}: {output:?}");
        assert_eq!(tree_listing(&fake.volume_data("orphan")), before, "list {nth}: {output:?}");
        assert!(fake.take().iter().all(|asked| asked.starts_with("GET ")), "list {nth}: {output:?}");
        assert_eq!(volgc.json(&["list", "--format", "json"]), json!([]), "list {nth}");
        goes_on("a list that failed once", &fake, &volgc);
    }
}

fn answers_to(path: &'static str, world: &mut World, change: impl FnOnce(&mut Value)) {
    let mut answer = match path {
        "/info" => world.info.clone(),
        _ => world.version.clone(),
    };
    change(&mut answer);
    world.replace(path, Answer::json(&answer));
}

#[test]
fn engines_that_are_too_old_or_not_docker_are_not_changed() {
    let (fake, volgc) = due();
    for newest in ["1.40", "1.9", "0.1", "one", ""] {
        fake.set(|world| answers_to("/version", world, |version| version["ApiVersion"] = json!(newest)));
        refused_by_both(&format!("API {newest:?}"), &fake, &volgc, "1.41 (Docker 20.10) or newer");
        fake.restore_answers();
    }
    // An engine that no longer serves 1.41 is spoken to in its own oldest version.
    fake.set(|world| answers_to("/version", world, |version| version["MinAPIVersion"] = json!("1.44")));
    volgc.ok(&["report"]);
    let asked = fake.take();
    // What was asked while the version was not known yet is asked again.
    let (first, then): (Vec<_>, Vec<_>) = asked.iter().partition(|asked| !asked.starts_with("GET /v1.44/"));
    assert!(then.len() > 3, "{asked:?}");
    assert!(
        first
            .iter()
            .all(|asked| ["GET /version", "GET /v1.41/info", "GET /v1.41/volumes"].contains(&asked.as_str())),
        "{asked:?}"
    );
    fake.restore_answers();

    // Podman deletes by prefix: reported on, and nothing else.
    for components in
        [json!([{ "Name": "Podman Engine", "Details": {} }]), json!([{ "Name": "a" }, { "Name": "podman" }])]
    {
        fake.set(|world| answers_to("/version", world, |version| version["Components"] = components));
        let output = volgc.run(&["report"]);
        assert!(output.status == Some(0) && output.stdout.contains("(podman)"), "{output:?}");
        let listing = tree_listing(&fake.root());
        for words in [&["sweep"][..], &["quarantine", "orphan"]] {
            let output = volgc.run(words);
            assert!(output.status == Some(4) && output.stdout.contains("Podman"), "{words:?}: {output:?}");
        }
        assert_eq!(tree_listing(&fake.root()), listing);
        assert!(fake.take().iter().all(|asked| asked.starts_with("GET ")));
        fake.restore_answers();
    }
    goes_on("other engines", &fake, &volgc);
}

#[test]
fn a_docker_root_that_is_not_here_is_reported_on_and_not_changed() {
    let (fake, volgc) = due();
    fake.set(|world| {
        answers_to("/info", world, |info| {
            info.as_object_mut().unwrap().remove("DockerRootDir");
        });
    });
    refused_by_both("no docker root", &fake, &volgc, "DockerRootDir");
    fake.restore_answers();
    // Where a root that is no absolute path leads depends on who looks.
    let here = Path::new("volumes");
    assert!(!here.exists(), "the test's own directory has volumes");
    for root in ["root", "./root", "", "/nowhere/docker", "/proc/1/cmdline", "/"] {
        fake.set(|world| answers_to("/info", world, |info| info["DockerRootDir"] = json!(root)));
        let report = volgc.run(&["report"]);
        assert!(matches!(report.status, Some(0 | 4)), "{root:?}: {report:?}");
        let listing = tree_listing(&fake.root());
        for words in [&["sweep"][..], &["quarantine", "orphan"]] {
            let output = volgc.run(words);
            assert_eq!(output.status, Some(4), "{root:?} {words:?}: {output:?}");
        }
        assert_eq!(tree_listing(&fake.root()), listing, "{root:?}");
        assert!(fake.take().iter().all(|asked| asked.starts_with("GET ")), "{root:?}");
        fake.restore_answers();
    }
    goes_on("docker roots elsewhere", &fake, &volgc);
}
