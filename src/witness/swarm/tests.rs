use crate::gc::volume::Class;
use std::path::PathBuf;

use super::*;
use crate::host::engine::wire::SwarmInfo;

/// Recorded from Docker 20.10.24 and 26.1.5: a service with each type of mount, updated once; one without mounts; one that runs;
/// one that waits for a node; on 26.1 one with a cluster volume.
const SERVICES: [&str; 2] = [
    include_str!("../../../tests/recorded/swarm/services-20.10.json"),
    include_str!("../../../tests/recorded/swarm/services-26.1.json"),
];
const TASKS: [&str; 2] = [
    include_str!("../../../tests/recorded/swarm/tasks-20.10.json"),
    include_str!("../../../tests/recorded/swarm/tasks-26.1.json"),
];
const INFO: [&str; 2] = [
    include_str!("../../../tests/recorded/swarm/info-20.10.json"),
    include_str!("../../../tests/recorded/swarm/info-26.1.json"),
];

/// An index without a directory, so that paths are compared as text. `#` marks an anonymous volume.
fn index(names: &[&str]) -> Arc<VolumeIndex> {
    let classes = names
        .iter()
        .map(|name| match name.strip_prefix('#') {
            Some(name) => (VolumeName::new(name).unwrap(), Class::Anonymous),
            None => (VolumeName::new(*name).unwrap(), Class::Named),
        })
        .collect();
    let index = VolumeIndex::new("/var/lib/docker", None, BTreeMap::new()).unwrap();
    Arc::new(index.with_classes(classes))
}

fn held(answer: &Answer) -> Vec<&str> {
    let mut names: Vec<&str> = answer.references.iter().map(|one| one.volume.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

async fn answer(names: &[&str], services: &str, tasks: &str) -> Answer {
    let services: Vec<Service> = serde_json::from_str(services).unwrap();
    let tasks: Vec<Task> = serde_json::from_str(tasks).unwrap();
    references(&index(names), &claims(&services, &tasks).unwrap()).await.unwrap()
}

/// One service with these mounts, as JSON without the outer brackets.
fn service(mounts: &str) -> String {
    format!(
        r#"[{{"ID":"s","Spec":{{"Name":"web","TaskTemplate":{{"ContainerSpec":{{"Mounts":[{mounts}]}}}}}}}}]"#
    )
}

/// Which of these volumes a service with one such mount holds.
async fn held_by(kind: &str, source: &str, names: &[&str]) -> Vec<String> {
    let kind = serde_json::to_string(kind).unwrap();
    let source = serde_json::to_string(source).unwrap();
    let mounts = format!(r#"{{"Type":{kind},"Source":{source},"Target":"/t"}}"#);
    held(&answer(names, &service(&mounts), "[]").await).into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn recorded_services_hold_what_they_mount() {
    for (services, tasks) in SERVICES.iter().zip(TASKS) {
        let names = ["opt", "web-1", "web-22", "running-1", "other-1", "free"];
        let answer = answer(&names, services, tasks).await;
        let mut expected = vec!["first", "oldest", "opt", "running-1", "web-1", "web-22"];
        if services.contains("csi") {
            expected.insert(0, "csi");
        }
        assert_eq!(held(&answer), expected);
        let first = answer.references.iter().find(|one| one.volume.as_str() == "first").unwrap();
        assert_eq!(first.holder.kind, HolderKind::Service);
        assert_eq!(first.holder.name, "web");
        assert_eq!(first.holder.detail, "its previous specification mounts first at /a");
        assert_eq!(answer.notes, Vec::<String>::new());
    }
}

#[test]
fn recorded_states_are_told_apart() {
    for text in INFO {
        let states: BTreeMap<String, SwarmInfo> = serde_json::from_str(text).unwrap();
        for (name, info) in &states {
            let standing = standing(Some(info));
            match name.as_str() {
                "inactive" => assert_eq!(standing, Standing::Outside),
                // Leaderless, its lists are refused; that is told apart when they are asked for.
                "manager" | "promoted" | "leaderless" => assert_eq!(standing, Standing::Manager),
                "locked" => assert!(blindness(standing).remedy.contains("docker swarm unlock")),
                "worker" => assert!(blindness(standing).why.contains("worker")),
                "leaderless_restarted" => assert!(blindness(standing).why.contains("no leader")),
                other => panic!("{other}"),
            }
        }
    }
}

fn blindness(standing: Standing) -> Blindness {
    match standing {
        Standing::Blind(blindness) => blindness,
        other @ (Standing::Outside | Standing::Manager) => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_surely_outside_is_not_outside() {
    let state =
        |state: &str, control_available| SwarmInfo { local_node_state: state.to_owned(), control_available };
    for swarm in [
        None,
        Some(state("active", None)),
        Some(state("pending", Some(true))),
        Some(state("error", Some(false))),
        Some(state("inactive", Some(true))),
        Some(state("odd", Some(true))),
    ] {
        blindness(standing(swarm.as_ref()));
    }
    for swarm in [state("", None), state("inactive", Some(false))] {
        assert_eq!(standing(Some(&swarm)), Standing::Outside);
    }
}

#[test]
fn unknown_services_hold_every_volume_and_say_why() {
    let blindness = refused(500, "The swarm does not have a leader.\n");
    let answer = hold_all(&index(&["db", "#cache", "web"]), &blindness);
    assert_eq!(held(&answer), ["cache", "db", "web"]);
    assert_eq!(answer.witness, Witness::Swarm);
    let holder = &answer.references[0].holder;
    assert_eq!(holder.kind, HolderKind::UnknownSwarm);
    assert!(holder.name.contains("500: The swarm does not have a leader.)"), "{}", holder.name);
    assert!(holder.detail.contains("docker node ls"));
    assert_eq!(answer.alerts.len(), 1);
}

#[test]
fn a_specification_that_does_not_say_what_it_runs_is_refused() {
    let odd = |spec: &str| {
        let text = format!(r#"[{{"ID":"s","Spec":{{"Name":"web","TaskTemplate":{spec}}}}}]"#);
        let services: Vec<Service> = serde_json::from_str(&text).unwrap();
        claims(&services, &[]).map(|claims| claims.len())
    };
    assert!(odd("{}").is_err());
    assert!(odd(r#"{"Runtime":"container"}"#).is_err());
    for plain in [
        r#"{"ContainerSpec":{}}"#,
        r#"{"ContainerSpec":{"Mounts":null}}"#,
        r#"{"Runtime":"plugin"}"#,
        r#"{"PluginSpec":{"Name":"p"}}"#,
        r#"{"NetworkAttachmentSpec":{"ContainerID":"c"}}"#,
    ] {
        assert_eq!(odd(plain).unwrap(), 0, "{plain}");
    }
    for text in [
        "null",
        r#"[{"ID":"s"}]"#,
        r#"[{"ID":"s","Spec":{"Name":"web"}}]"#,
        r#"[{"ID":"s","Spec":{"TaskTemplate":{}}}]"#,
        r#"[{"ID":"s","Spec":{"Name":"w","TaskTemplate":{}},"PreviousSpec":{"Name":"w"}}]"#,
        r#"[{"ID":"s","Spec":{"Name":"w","TaskTemplate":{"ContainerSpec":{"Mounts":[7]}}}}]"#,
        r#"[{"ID":"s","Spec":{"Name":"w","TaskTemplate":{"ContainerSpec":{"Mounts":[{"Source":["a"]}]}}}}]"#,
    ] {
        assert!(serde_json::from_str::<Vec<Service>>(text).is_err(), "{text}");
    }
}

#[tokio::test]
async fn a_waiting_task_of_an_older_specification_holds() {
    let task = |state: &str| {
        format!(
            r#"[{{"ID":"t","ServiceID":"s",{state}"Spec":{{"ContainerSpec":{{"Mounts":[
                {{"Type":"volume","Source":"{{{{.Service.Name}}}}-old"}}]}}}}}}]"#
        )
    };
    let names = ["web-old", "db-old"];
    for (state, expected) in [
        (r#""DesiredState":"running","#, &["web-old"][..]),
        (r#""DesiredState":"odd","#, &["web-old"]),
        ("", &["web-old"]),
        (r#""DesiredState":"shutdown","#, &[]),
        (r#""DesiredState":"remove","#, &[]),
    ] {
        let answer = answer(&names, &service(""), &task(state)).await;
        assert_eq!(held(&answer), expected, "{state}");
        for one in &answer.references {
            assert_eq!((one.holder.id.as_str(), one.holder.name.as_str()), ("s", "web"));
            assert!(one.holder.detail.starts_with("task t of an older specification"));
        }
    }
    // Its service is gone, so its name is not known any more.
    assert_eq!(held(&answer(&names, "[]", &task("")).await), ["db-old", "web-old"]);
}

#[tokio::test]
async fn mount_types_decide_what_a_source_is() {
    let names = ["db", "srv"];
    assert_eq!(held_by("volume", "db", &names).await, ["db"]);
    assert_eq!(held_by("cluster", "db", &names).await, ["db"]);
    assert_eq!(held_by("volume", "", &names).await, Vec::<String>::new());
    for kind in ["tmpfs", "image", "npipe"] {
        assert_eq!(held_by(kind, "db", &names).await, Vec::<String>::new(), "{kind}");
        assert_eq!(held_by(kind, "/var/lib/docker/volumes/db", &names).await, Vec::<String>::new(), "{kind}");
    }
    for kind in ["", "odd"] {
        assert_eq!(held_by(kind, "db", &names).await, ["db"], "{kind}");
        assert_eq!(held_by(kind, "/var/lib/docker/volumes/db/_data", &names).await, ["db"], "{kind}");
    }
    let missing = answer(&names, &service(r#"{"Source":"db"}"#), "[]").await;
    assert_eq!(held(&missing), ["db"]);
}

#[tokio::test]
async fn templates_hold_whatever_they_can_become() {
    let names = ["web-1", "web-data", "db-1", "x_web_y", "#anonymous", "web[1]", "web*"];
    let cases: [(&str, &[&str]); 14] = [
        ("{{.Service.Name}}-{{.Task.Slot}}", &["web-1", "web-data"]),
        ("{{ .Service.Name }}-data", &["web-data"]),
        ("{{.Task.Slot}}-{{.Node.Hostname}}", &["db-1", "web-1", "web-data"]),
        ("{{index .Service.Labels \"a}}b\"}}-1", &["db-1", "web-1"]),
        ("{{index .Service.Labels `a}}b`}}-1", &["db-1", "web-1"]),
        ("{{/* }} \" */}}web-1", &["web-1"]),
        ("web {{- /* x */ -}} -{{.Task.Slot}}", &["web-1", "web-data"]),
        ("x{{.Node.ID}}w{{.Task.ID}}y", &["x_web_y"]),
        ("web[{{.Task.Slot}}]", &["web[1]"]),
        ("web*{{.Task.Name}}", &["web*"]),
        ("web-{{if eq .Task.Slot \"1\"}}1{{else}}data{{end}}", &["web-1", "web-data"]),
        ("web-{{- with .Task}}1{{end}}", &["web-1", "web-data"]),
        ("db{{.Task.Slot", &["db-1"]),
        ("{{.Service.Labels.v}}", &["anonymous", "db-1", "web*", "web-1", "web-data", "web[1]", "x_web_y"]),
    ];
    for (source, expected) in cases {
        assert_eq!(held_by("volume", source, &names).await, expected, "{source}");
    }
}

#[tokio::test]
async fn binds_hold_the_volumes_they_lead_into() {
    let names = ["db", "web", "#anonymous"];
    let all: &[&str] = &["anonymous", "db", "web"];
    let cases: [(&str, &[&str]); 15] = [
        ("/var/lib/docker/volumes/db/_data/sub", &["db"]),
        ("/srv/data", &[]),
        ("db", &[]),
        ("/var/lib/docker/volumes/db/_data/{{.Task.Slot}}", &["db"]),
        ("/var/lib/docker/volumes/{{.Service.Name}}/_data", &["web"]),
        ("/var/lib/docker/volumes/{{.Task.Slot}}/_data", all),
        ("/var/lib/docker/volumes/d{{.Task.Slot}}/_data", all),
        ("/var/lib/doc{{.Task.Slot}}", all),
        ("//var//lib/doc{{.Task.Slot}}", all),
        ("/{{.Task.Slot}}", all),
        ("/data-{{.Task.Slot}}", &[]),
        ("/srv/{{.Task.Slot}}", &[]),
        ("/srv/{{.Task.Slot}}/../../var/lib/docker/volumes/db", all),
        ("{{index .Service.Labels \"path\"}}", all),
        ("{{.Task.Slot}}/x", &[]),
    ];
    for (source, expected) in cases {
        assert_eq!(held_by("bind", source, &names).await, expected, "{source}");
    }
}

#[tokio::test]
async fn an_ancestor_is_a_note() {
    let answer = answer(&["db"], &service(r#"{"Type":"bind","Source":"/var/lib"}"#), "[]").await;
    assert_eq!(held(&answer), Vec::<&str>::new());
    assert_eq!(answer.notes, [lies_above("service web", &"/var/lib")]);
}

#[tokio::test]
async fn driver_options_hold_the_volumes_they_lead_into() {
    let with = |options: &str| {
        service(&format!(
            r#"{{"Type":"volume","Source":"n","VolumeOptions":{{"DriverConfig":{{"Options":{options}}}}}}}"#
        ))
    };
    let names = ["a", "b", "c", "n"];
    let cases: [(&str, &[&str]); 4] = [
        (r#"{"device":"/var/lib/docker/volumes/a/_data","o":"bind"}"#, &["a", "n"]),
        (
            r#"{"o":"lowerdir=/l:/var/lib/docker/volumes/a/_data,upperdir=/var/lib/docker/volumes/b/_data"}"#,
            &["a", "b", "n"],
        ),
        (r#"{"device":"/var/lib/docker/volumes/{{.Task.Slot}}/_data"}"#, &["a", "b", "c", "n"]),
        (r#"{"o":"uid={{.Task.Slot}}","device":":/export"}"#, &["n"]),
    ];
    for (options, expected) in cases {
        assert_eq!(held(&answer(&names, &with(options), "[]").await), expected, "{options}");
    }
}

#[test]
fn what_is_on_the_way_to_the_volumes_is_found_by_steps() {
    let volumes = PathBuf::from("/var/lib/docker/volumes");
    for (directory, begins, expected) in [
        ("/var/", "li", true),
        ("/var/", "", true),
        ("/var/", "lx", false),
        ("/var/lib/docker/volumes/", "x", true),
        ("/link/", "x", true),
    ] {
        assert_eq!(can_go_on(Path::new(directory), begins, &volumes), expected, "{directory} {begins}");
    }
}
