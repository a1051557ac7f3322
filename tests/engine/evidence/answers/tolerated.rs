//! What is tolerated: everything that does not decide. And what strangers may call a volume never steers a terminal.

use serde_json::{Value, json};

use super::{due, goes_on, volgc};
use harness::fake::{Answer, Fake};
use harness::fake::{CONTAINER_ID, container, volume};

/// Names that play tricks on a terminal, on a table, or on a program that counts bytes for characters. An engine takes any
/// directory that it finds for a volume, whatever its name.
const ODD: [&str; 13] = [
    "red\u{1b}[31m",
    "title\u{1b}]0;owned\u{7}",
    "two\nlines",
    "carriage\rreturn",
    "tab\tbed",
    "c1\u{9b}31m",
    "right\u{202e}to-left",
    "\u{2066}isolate\u{2069}",
    "zero\u{200b}width",
    "line\u{2028}separator",
    "\u{1f433}\u{1f433} whales",
    "日本語のボリューム",
    " spaces around ",
];

/// As when a volume plugin's program is gone, and the engine dials its socket for each request.
#[test]
fn an_engine_that_answers_late_is_waited_for_and_told_of_once() {
    let (fake, volgc) = due();
    let slow = volgc.clone().env("VOLGC_FAULT", "engine.slow_answer=150");
    for path in ["/volumes", "/containers/json"] {
        fake.set(|world| {
            world.replace_with(path, |_| {
                std::thread::sleep(std::time::Duration::from_millis(500));
                None
            });
        });
    }
    for words in [&["report"][..], &["sweep"]] {
        let output = slow.run(words);
        assert_eq!(output.status, Some(0), "{output:?}");
        let told: Vec<&str> =
            output.stderr.lines().filter(|line| line.contains("has not answered")).collect();
        assert_eq!(told.len(), 1, "{output:?}");
        for part in
            ["the engine has not answered GET /", "within 0.15 s", "docker plugin ls", "/run/docker/plugins"]
        {
            assert!(told[0].contains(part), "no {part}: {output:?}");
        }
    }
    assert_eq!(volgc.quarantined_names(), ["orphan"], "it was only slow");
    // What answers in time is not told of.
    fake.restore_answers();
    let output = slow.clone().env("VOLGC_FAULT", "engine.slow_answer=60000").run(&["report"]);
    assert!(!output.stderr.contains("has not answered"), "{output:?}");
}

#[test]
fn what_does_not_decide_may_be_anything() {
    let (fake, volgc) = due();
    let root = fake.root().display().to_string();
    fake.set(|world| {
        let odd = |change: fn(&mut Value)| {
            let mut one = volume("/plugin", "plugin");
            one["Driver"] = json!("example/plugin:latest");
            change(&mut one);
            one
        };
        world.volumes.extend([
            odd(|v| v["Status"] = json!({ "hello": "world", "n": [1, null, {}] })),
            odd(|v| { v["Name"] = json!("p2"); v["Status"] = json!("text"); v["CreatedAt"] = json!("yesterday"); }),
            odd(|v| { v["Name"] = json!("p3"); v["CreatedAt"] = Value::Null; v["Mountpoint"] = Value::Null; }),
            odd(|v| { v["Name"] = json!("p4"); v["Scope"] = json!("galaxy"); v["UsageData"] = json!(7); }),
            odd(|v| { v["Name"] = json!("p5"); v.as_object_mut().unwrap().remove("Options"); v["New"] = json!([]); }),
            odd(|v| v["Name"] = json!("../used")),
        ]);
        let mounts = json!([
            { "Type": "volume", "Name": "used", "Source": format!("{root}/volumes/used/_data"), "Destination": "/d" },
            { "Type": "tmpfs", "Source": "", "Destination": "/t" },
            { "Type": "image", "Name": "registry.example/a/b:latest", "Source": "/layers", "Destination": "/i" },
            { "Type": "volume", "Name": "../x", "Destination": "/x" },
            { "Type": "quantum", "Name": "used", "Destination": "/q", "Extra": { "deep": [null] } },
            { "Type": "", "Name": "used", "Destination": "/old" },
            { "Type": "bind", "Source": "/nowhere/at/all", "Destination": "/b" },
        ]);
        let mut web = container(CONTAINER_ID, &mounts);
        web["State"] = json!("initialized");
        web["Labels"] = Value::Null;
        web["Names"] = Value::Null;
        web["Image"] = Value::Null;
        web["Ports"] = json!("none");
        web["Health"] = json!({ "Status": "quantum" });
        world.containers = json!([web]);
        world.info["Warnings"] = json!(["a", 7, null]);
        world.info["Swarm"]["Cluster"] = json!("?");
        world.version["Experimental"] = json!("maybe");
        let list = json!({ "Volumes": world.volumes, "Warnings": ["driver gone"], "NextPage": "" });
        world.replace("/volumes", Answer::json(&list));
    });
    let report = volgc.json(&["report", "--format", "json"]);
    assert_eq!(report["totals"]["volumes"], 8, "{report:#}");
    let held: Vec<&Value> = report["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|v| v["reason"] == "held")
        .map(|v| &v["name"])
        .collect();
    assert_eq!(held, ["used"], "{report:#}");
    assert!(report["notes"].as_array().unwrap().iter().any(|note| note == "the engine warns: driver gone"));
    goes_on("odd answers", &fake, &volgc);
}

#[test]
fn no_volumes_and_no_containers_are_written_as_null_by_some() {
    let fake = Fake::start();
    let volgc = volgc(&fake);
    fake.set(|world| {
        world.info["Containers"] = json!(0);
        world.containers = json!([]);
        world.replace("/volumes", Answer::Whole(200, r#"{"Volumes":null,"Warnings":null}"#.to_owned()));
    });
    let report = volgc.json(&["report", "--format", "json"]);
    // Their directories are there all the same.
    let volumes = report["volumes"].as_array().unwrap();
    assert!(
        volumes.iter().all(|volume| volume["class"] == "unlisted" && volume["action"] == "keep"),
        "{report:#}"
    );
    volgc.ok(&["sweep"]);
}

#[test]
fn names_labels_and_images_never_steer_a_terminal() {
    let fake = Fake::start();
    let volgc = volgc(&fake);
    let long = "x".repeat(240);
    let names: Vec<&str> = ODD.into_iter().chain([long.as_str()]).collect();
    for name in &names {
        fake.add_volume(name);
    }
    fake.set(|world| {
        for one in &mut world.volumes {
            one["Labels"] = json!({ "a\u{1b}[1m": "b\u{202e}\n", "volgc.k\u{1b}eep": "\u{9b}1m", "long": "y".repeat(3000) });
        }
        let mut web = container(
            CONTAINER_ID,
            &json!([
                { "Type": "volume", "Name": "used", "Destination": "/a\u{1b}[2J\nb" },
                { "Type": "volume", "Name": names[0], "Destination": "/" },
                { "Type": "volume", "Name": "gone\u{202e}", "Destination": "/" },
                { "Type": "bind", "Source": "/x\u{1b}[2J", "Destination": "/" },
            ]),
        );
        web["Names"] = json!(["/web\u{1b}[31m\n"]);
        web["Image"] = json!("image\u{1b}]0;x\u{7}\u{202e}");
        world.containers = json!([web]);
        world.info["ServerVersion"] = json!("26.1.5\u{1b}[31m");
        world.info["ID"] = json!("ID\n\u{202e}");
        let list = json!({ "Volumes": world.volumes, "Warnings": ["w\u{1b}[31m\nx"] });
        world.replace("/volumes", Answer::json(&list));
    });
    let table = volgc.ok(&["report"]);
    is_plain(&table);
    let rows = table
        .lines()
        .skip_while(|line| !line.starts_with("VOLUME"))
        .skip(1)
        .take_while(|line| !line.is_empty());
    assert_eq!(rows.count(), names.len() + 2, "one line a volume:\n{table}");
    assert!(table.contains("日本語のボリューム") && table.contains("\u{1f433}"), "text stays text:\n{table}");
    assert!(table.contains(r"right\u{202e}to-left"), "the rest is spelt out:\n{table}");

    let json = volgc.ok(&["report", "--format", "json"]);
    let report: Value = serde_json::from_str(&json).unwrap();
    let told: Vec<&str> =
        report["volumes"].as_array().unwrap().iter().map(|volume| volume["name"].as_str().unwrap()).collect();
    assert!(names.iter().all(|name| told.contains(name)), "programs get the names as they are: {told:?}");
    assert!(json.bytes().all(|byte| byte == b'\n' || byte >= b' '), "and escaped");

    for name in &names {
        is_plain(&volgc.ok(&["explain", name]));
    }
    is_plain(&volgc.ok(&["check"]));
    let gone = volgc.run(&["explain", "no\u{1b}[31mne\u{202e}"]);
    assert_eq!(gone.status, Some(1), "{gone:?}");
    is_plain(&gone.stderr);
    let bad = volgc.run(&["delete", "--yes", "no\u{1b}[31mne"]);
    assert_eq!(bad.status, Some(2), "{bad:?}");
    is_plain(&bad.stderr);

    // And what is remembered of them.
    is_plain(&volgc.ok(&["hold", "orphan", "--reason", "because\u{1b}[31m\n\u{202e}"]));
    let sweep = volgc.run(&["sweep"]);
    is_plain(&sweep.stdout);
    is_plain(&sweep.stderr);
    is_plain(&volgc.ok(&["holds"]));
    is_plain(&volgc.ok(&["history"]));
    is_plain(&volgc.ok(&["list"]));
}

/// Nothing but text and line breaks.
#[track_caller]
fn is_plain(text: &str) {
    for (number, line) in text.lines().enumerate() {
        let odd: Vec<char> = line
            .chars()
            .filter(|&c| {
                c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            })
            .collect();
        assert!(odd.is_empty(), "line {number}: {odd:?} in {line:?}");
    }
}
