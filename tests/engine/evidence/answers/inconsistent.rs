//! Answers that look whole and are not: a list that was cut, one that does not agree with the engine's count, a page that a proxy
//! made up. Each would hide a holder.

use serde_json::{Value, json};

use super::{due, goes_on, refused, refused_by_both};
use harness::fake::{Answer, CONTAINER_ID, Fake, container, volume};

/// At how many places an answer is cut.
const CUTS: usize = 24;

/// That many containers, the first of which holds the volume that is due.
fn many(count: usize) -> Vec<Value> {
    (0..count)
        .map(|number| {
            let name = if number == 0 { "orphan".to_owned() } else { format!("other-{number}") };
            let id = if number == 0 { CONTAINER_ID.to_owned() } else { format!("{number:064x}") };
            container(&id, &json!([{ "Type": "volume", "Name": name, "Destination": "/data" }]))
        })
        .collect()
}

fn world(fake: &Fake, counted: usize, listed: &[Value]) {
    let listed = json!(listed);
    fake.set(|world| {
        let mut info = world.info.clone();
        info["Containers"] = json!(counted);
        world.replace("/info", Answer::json(&info));
        world.replace("/containers/json", Answer::json(&listed));
    });
}

/// The list was answered before a volume was made again under the name, with a label that asks to keep it.
#[test]
fn labels_that_are_others_by_now_leave_the_volume() {
    let (fake, volgc) = due();
    let mut again = volume(&fake.root().display().to_string(), "orphan");
    again["Labels"] = json!({ "volgc.keep": "true" });
    let used = volume(&fake.root().display().to_string(), "used");
    let list = Answer::json(&json!({ "Volumes": [again, used], "Warnings": null }));
    for words in [&["sweep"][..], &["quarantine", "orphan"]] {
        // Two looks, and the witnesses of the step: then the step itself.
        let list = list.clone();
        fake.set(|world| world.replace_with("/volumes", move |asked| (asked > 2).then(|| list.clone())));
        let output = volgc.run(words);
        assert!(output.stdout.contains("the engine shows other labels by now"), "{output:?}");
        assert!(fake.volume_data("orphan").exists());
    }
    goes_on("other labels", &fake, &volgc);
}

/// Wherever it is cut, with a length that fits what is left of it: no beginning of an answer is an answer.
#[test]
fn an_answer_that_is_cut_anywhere_is_refused() {
    let (fake, volgc) = due();
    let mut whole = Vec::new();
    fake.set(|world| {
        whole = vec![
            ("/version", world.version.to_string()),
            ("/info", world.info.to_string()),
            ("/volumes", json!({ "Volumes": world.volumes, "Warnings": null }).to_string()),
            ("/containers/json", world.containers.to_string()),
        ];
    });
    for (path, body) in whole {
        for cut in 0..CUTS {
            let length = body.len() * cut / CUTS;
            let length = (0..=length).rev().find(|&at| body.is_char_boundary(at)).unwrap_or(0);
            fake.set(|world| world.replace(path, Answer::Whole(200, body[..length].to_owned())));
            refused(&format!("{path} cut after {length}"), &fake, &volgc, &["sweep"]);
            fake.restore_answers();
        }
    }
    goes_on("cut answers", &fake, &volgc);
}

#[test]
fn a_part_of_the_containers_is_refused() {
    let (fake, volgc) = due();
    let all = many(40);
    // Without the one that holds the volume that is due.
    for (what, listed) in [("none", &all[..0]), ("the second half", &all[20..]), ("all but one", &all[1..])] {
        world(&fake, 40, listed);
        let named = format!("lists {} containers but counts 40", listed.len());
        refused_by_both(what, &fake, &volgc, &named);
        fake.restore_answers();
    }
    // As many as are counted, but one of them twice: another is missing.
    let mut twice = all[1..].to_vec();
    twice.push(all[5].clone());
    world(&fake, 40, &twice);
    refused_by_both("one twice", &fake, &volgc, "is listed twice");
    fake.restore_answers();
    let mut nameless = all[1..].to_vec();
    let mut one = all[5].clone();
    one["Id"] = json!("");
    nameless.push(one);
    world(&fake, 40, &nameless);
    refused_by_both("one without ID", &fake, &volgc, "empty ID");
    goes_on("parts of a list", &fake, &volgc);
}

#[test]
fn a_page_of_a_proxy_is_refused() {
    let (fake, volgc) = due();
    let page = "<!DOCTYPE html><html><head><title>Sign in</title></head><body>\u{1b}[2JPlease sign in.</body></html>";
    let answer = |status: &str, kind: &str, body: &[u8]| {
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len());
        Answer::Bytes([head.as_bytes(), body].concat())
    };
    let pages = [
        ("a page to sign in", answer("200 OK", "text/html; charset=utf-8", page.as_bytes())),
        ("a page that forbids", answer("403 Forbidden", "text/html", page.as_bytes())),
        ("a page of a gateway", answer("502 Bad Gateway", "text/html", page.as_bytes())),
        ("a part of the content", answer("206 Partial Content", "application/json", b"[]")),
        ("no content", answer("204 No Content", "application/json", b"")),
        ("accepted", answer("202 Accepted", "application/json", b"[]")),
        ("not modified", answer("304 Not Modified", "application/json", b"")),
        (
            "compressed",
            answer(
                "200 OK\r\nContent-Encoding: gzip",
                "application/json",
                b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x8b\x8e\x05\0\x29\xbb\x4c\x0d",
            ),
        ),
        ("text before the JSON", answer("200 OK", "application/json", b"Warning: proxy\n[]")),
        ("two answers in one", answer("200 OK", "application/json", b"[][]")),
    ];
    for path in ["/version", "/info", "/volumes", "/containers/json"] {
        for (what, page) in &pages {
            fake.set(|world| world.replace(path, page.clone()));
            refused_by_both(&format!("{what} to {path}"), &fake, &volgc, path);
            fake.restore_answers();
        }
    }
    goes_on("pages", &fake, &volgc);
}

/// A field that stands twice has two values: what one reader sees is not what another does.
#[test]
fn a_field_that_stands_twice_is_refused() {
    let (fake, volgc) = due();
    let mounts = r#"[{"Type":"volume","Name":"used","Destination":"/d"}]"#;
    let cases = [
        ("/containers/json", format!(r#"[{{"Id":"{CONTAINER_ID}","Mounts":{mounts},"Mounts":[]}}]"#)),
        (
            "/containers/json",
            format!(r#"[{{"Id":"{CONTAINER_ID}","Mounts":[{{"Name":"used","Name":"x"}}]}}]"#),
        ),
        ("/volumes", r#"{"Volumes":[],"Volumes":null}"#.to_owned()),
    ];
    for (path, body) in cases {
        fake.set(|world| world.replace(path, Answer::Whole(200, body.clone())));
        refused_by_both(&body, &fake, &volgc, "duplicate field");
        fake.restore_answers();
    }
    goes_on("fields that stand twice", &fake, &volgc);
}

/// On a manager of a swarm the services are evidence like the containers.
#[test]
fn services_and_tasks_that_are_not_whole_are_refused() {
    let (fake, volgc) = due();
    let manager = || {
        fake.set(|world| {
            let mut info = world.info.clone();
            info["Swarm"] = json!({ "LocalNodeState": "active", "ControlAvailable": true });
            world.replace("/info", Answer::json(&info));
            for path in ["/services", "/tasks"] {
                world.replace(path, Answer::Whole(200, "[]".to_owned()));
            }
        });
    };
    for path in ["/services", "/tasks"] {
        for body in ["", "[{\"ID\":", "{}", "null", "7", "[{}]", "[null]", "<html>proxy</html>"] {
            manager();
            fake.set(|world| world.replace(path, Answer::Whole(200, body.to_owned())));
            refused_by_both(&format!("{body} to {path}"), &fake, &volgc, path);
            fake.restore_answers();
        }
    }
    manager();
    let report = volgc.json(&["report", "--format", "json"]);
    assert_eq!(report["totals"]["due_quarantine"], 1, "whole answers are believed: {report:#}");
    goes_on("services", &fake, &volgc);
}
