//! Swarm on real engines: what holds a volume there, what is held when nobody can say, and that no DELETE reaches a cluster
//! volume.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::mpsc;

use harness::node::Node;
use harness::{Contents, NO_GRACE, PrivateEngine, Version, Volgc, on_each_engine, text};
use serde_json::Value;
use volgc::gc::inventory::Inventory;
use volgc::gc::reference::{HolderKind, Reference, Witness};
use volgc::gc::volume::VolumeName;
use volgc::host::engine::endpoint::Endpoint;
use volgc::host::engine::{ChangingEngine, DeleteAnswer, Engine, Route};
use volgc::witness::observe::{Context, observe};

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(future)
}

async fn connect(engine: &PrivateEngine) -> Engine {
    Engine::connect(Endpoint::Unix(engine.socket())).await.expect("the engine answers")
}

fn inventory_of(engine: &PrivateEngine) -> Inventory {
    let acknowledged = BTreeSet::new();
    let context = Context { holds: &[], acknowledged: &acknowledged, passing: &[], now: chrono::Utc::now() };
    let observed = run(async { observe(&connect(engine).await, context).await });
    observed.unwrap_or_else(|error| panic!("{error}\n{}", engine.log_tail())).inventory
}

/// What the Swarm witness says of a volume.
fn swarm_references<'a>(inventory: &'a Inventory, volume: &str) -> Vec<&'a Reference> {
    let name = VolumeName::new(volume).expect("a name");
    inventory.references(&name).iter().filter(|one| one.witness == Witness::Swarm).collect()
}

#[track_caller]
fn assert_held_by_service(inventory: &Inventory, volumes: &[&str]) {
    for volume in volumes {
        let references = swarm_references(inventory, volume);
        assert!(!references.is_empty(), "{volume} is not held");
        assert!(references.iter().all(|one| one.holder.kind == HolderKind::Service), "{references:?}");
    }
}

#[track_caller]
fn assert_free(inventory: &Inventory, volumes: &[&str]) {
    for volume in volumes {
        let name = VolumeName::new(*volume).expect("a name");
        assert_eq!(inventory.references(&name), [], "{volume} is held");
    }
}

/// Each volume is held because nobody knows the services, for this reason, and no sweep takes any.
#[track_caller]
fn assert_blind(node: &Node, volumes: &[&str], reason: &str) {
    let inventory = &inventory_of(&node.engine);
    let mut contents = Contents::new(&node.engine);
    for volume in volumes {
        let references = swarm_references(inventory, volume);
        assert_eq!(references.len(), 1, "{references:?}");
        assert_eq!(references[0].holder.kind, HolderKind::UnknownSwarm);
        assert!(references[0].holder.name.contains(reason), "{references:?}");
        contents.note_volume(volume);
    }
    assert!(inventory.alerts().iter().any(|alert| alert.contains(reason)), "{:?}", inventory.alerts());
    let volgc = Volgc::configured(&node.engine, NO_GRACE);
    for _ in 0..4 {
        volgc.ok(&["sweep"]);
    }
    assert_eq!(volgc.entries(), Vec::<Value>::new());
    contents.assert_untouched();
}

/// Sweeps take all that there is.
#[track_caller]
fn assert_collected(engine: &PrivateEngine) {
    let volgc = Volgc::configured(engine, NO_GRACE);
    for _ in 0..4 {
        volgc.ok(&["sweep"]);
    }
    assert_eq!(engine.volume_names(), Vec::<String>::new());
}

/// Sweeps in `enforce` without any grace: the first volume stays, whole and held by the Swarm witness for this reason; the second, of
/// which that is not so, goes for good.
#[track_caller]
fn assert_swept(engine: &PrivateEngine, kept: &str, reason: &str, gone: &str) {
    let mut contents = Contents::new(engine);
    contents.note_volume(kept);
    let volgc = Volgc::configured(engine, NO_GRACE);
    for _ in 0..4 {
        volgc.ok(&["sweep"]);
        let told = volgc.told_of(kept);
        assert_eq!(told["reason"], "held", "{told:#}");
        let holders = told["holders"].as_array().expect("holders");
        let is_it = |holder: &Value| {
            holder["witness"] == "swarm"
                && format!("{} {}", text(&holder["name"]), text(&holder["detail"])).contains(reason)
        };
        assert!(holders.iter().any(is_it), "{told:#}");
    }
    assert!(!engine.volume_names().iter().any(|name| name == gone), "the sweeps took nothing");
    assert_eq!(volgc.entries(), Vec::<Value>::new());
    contents.assert_untouched();
}

on_each_engine! {
    fn a_service_without_tasks_holds_its_volumes(version: Version) {
        let node = Node::manager(version);
        let engine = &node.engine;
        node.create_volumes(&["data", "before", "after", "web-1", "web-x", "other-1", "bound", "device", "free"]);
        let bind = format!("type=bind,src={},dst=/bound", engine.volume_data("bound").display());
        let below = format!("type=bind,src={}/{{{{.Task.Slot}}}},dst=/below", engine.volume_data("bound").display());
        let device = engine.volume_data("device");
        let options = format!(
            "type=volume,src=new,dst=/new,volume-driver=local,volume-opt=type=none,volume-opt=o=bind,volume-opt=device={}",
            device.display()
        );
        node.idle_service("web", &[
            "type=volume,src=data,dst=/data",
            "type=volume,src=before,dst=/changing",
            "type=volume,src={{.Service.Name}}-{{.Task.Slot}},dst=/slot",
            "type=volume,dst=/anonymous",
            "type=tmpfs,dst=/tmpfs",
            &bind,
            &below,
            &options,
        ]);
        assert_free(&inventory_of(&node.engine), &["after", "other-1", "free"]);
        engine.docker(&["service", "update", "--detach", "--no-resolve-image", "--mount-rm", "/changing", "web"]);
        engine.docker(&[
            "service", "update", "--detach", "--no-resolve-image", "--mount-add", "type=volume,src=after,dst=/changing", "web",
        ]);
        // "before" is in neither specification any more.
        let inventory = inventory_of(&node.engine);
        assert_held_by_service(&inventory, &["data", "after", "web-1", "web-x", "bound", "device", "new"]);
        assert_free(&inventory, &["before", "other-1", "free"]);

        engine.docker(&["service", "update", "--detach", "--no-resolve-image", "--mount-rm", "/changing", "web"]);
        let inventory = inventory_of(&node.engine);
        let after = swarm_references(&inventory, "after");
        assert!(after.iter().all(|one| one.holder.detail.contains("previous specification")), "{after:?}");
        assert_held_by_service(&inventory, &["after"]);
        assert_swept(engine, "after", "previous specification", "free");

        engine.docker(&["service", "rm", "web"]);
        assert_free(&inventory_of(&node.engine), &["data", "after", "web-1", "bound", "device"]);
    }

    fn a_waiting_task_holds_what_its_old_specification_mounts(version: Version) {
        let node = Node::manager(version);
        node.create_volumes(&["oldest", "free"]);
        node.engine.docker(&[
            "service", "create", "--detach", "--no-resolve-image", "--name", "stuck", "--constraint", "node.labels.no==where",
            "--update-delay", "1h", "--replicas", "3", "--mount", "type=volume,src=oldest,dst=/data", "bb", "sleep", "1000",
        ]);
        let change = |change: &[&str]| {
            let update = ["service", "update", "--detach", "--no-resolve-image"];
            node.engine.docker(&[&update[..], change, &["stuck"]].concat());
        };
        change(&["--mount-rm", "/data"]);
        change(&["--env-add", "a=b"]);
        let services = node.engine.docker(&["service", "inspect", "stuck"]);
        assert!(!services.contains("oldest"), "{services}");
        let tasks = node.engine.docker(&["service", "ps", "--quiet", "--filter", "desired-state=running", "stuck"]);
        let tasks: Vec<&str> = tasks.lines().collect();
        let specifications = node.engine.docker(&[&["inspect"][..], &tasks].concat());
        let inventory = inventory_of(&node.engine);
        assert!(specifications.contains("oldest"), "the update made every task anew: {specifications}");
        assert_held_by_service(&inventory, &["oldest"]);
        assert_free(&inventory, &["free"]);
    }

    fn a_running_service_survives_the_engines_restart(version: Version) {
        let node = Node::manager(version);
        node.create_volumes(&["data", "free"]);
        node.idle_service("web", &["type=volume,src=data,dst=/data"]);
        for _ in 0..3 {
            node.engine.kill();
            node.engine.restart();
            // At no moment after the start is the list of services believed before it is whole.
            for _ in 0..20 {
                let inventory = inventory_of(&node.engine);
                assert!(!swarm_references(&inventory, "data").is_empty());
            }
        }
        node.wait_for_services(200);
        assert_free(&inventory_of(&node.engine), &["free"]);
    }

    /// A service names volumes by 64 digits: one that was made so, and one that the engine had made for a container without a name.
    fn a_locked_manager_holds_every_volume(version: Version) {
        let node = Node::manager(version);
        let digits = "0123456789abcdef".repeat(4);
        let anonymous = node.engine.docker(&["volume", "create"]);
        node.create_volumes(&["data", &digits]);
        node.idle_service("web", &[
            &format!("type=volume,src={digits},dst=/data"), &format!("type=volume,src={anonymous},dst=/rescued"),
        ]);
        assert_held_by_service(&inventory_of(&node.engine), &[&digits, &anonymous]);
        node.engine.docker(&["swarm", "update", "--autolock=true"]);
        node.engine.restart();
        assert_blind(&node, &["data", &digits, &anonymous], "the swarm is locked");
        node.engine.docker(&["swarm", "leave", "--force"]);
        assert_free(&inventory_of(&node.engine), &["data", &digits, &anonymous]);
        assert_collected(&node.engine);
    }

    fn what_could_mean_a_volume_in_quarantine_holds_it_there(version: Version) {
        let node = Node::manager(version);
        node.create_volumes(&["web-3", "data", "free"]);
        let volgc = Volgc::configured(&node.engine, NO_GRACE);
        let sweep = |left: &[&str]| {
            for _ in 0..4 {
                volgc.ok(&["sweep"]);
            }
            assert_eq!(volgc.quarantined_names(), left);
        };
        volgc.ok(&["quarantine", "web-3", "free"]);
        node.idle_service("web", &["type=volume,src=web-{{.Task.Slot}},dst=/data", "type=volume,src=data,dst=/d"]);
        sweep(&["web-3"]);
        assert_eq!(node.engine.volume_names(), ["data"]);

        node.engine.docker(&["service", "rm", "web"]);
        volgc.ok(&["quarantine", "data"]);
        node.engine.docker(&["swarm", "update", "--autolock=true"]);
        node.engine.restart();
        sweep(&["data", "web-3"]);
        assert_eq!(node.engine.volume_names(), Vec::<String>::new());
        node.engine.docker(&["swarm", "leave", "--force"]);
        sweep(&[]);
    }

    fn a_worker_and_a_leaderless_manager_hold_every_volume(version: Version) {
        let first = Node::manager(version);
        let second = Node::worker_of(&first);
        second.create_volumes(&["data"]);
        let anonymous = second.engine.docker(&["volume", "create"]);
        first.idle_service("web", &[&format!("type=volume,src={anonymous},dst=/data")]);
        assert_blind(&second, &["data", &anonymous], "this node is a swarm worker");

        let id = second.engine.docker(&["info", "--format", "{{.Swarm.NodeID}}"]);
        first.engine.docker(&["node", "promote", &id]);
        second.wait_for_services(200);
        assert_free(&inventory_of(&second.engine), &["data"]);
        assert_held_by_service(&inventory_of(&second.engine), &[&anonymous]);

        first.engine.kill();
        second.wait_for_services(500);
        assert_blind(&second, &["data", &anonymous], "does not have a leader");
    }
}

/// Cluster volumes came with Docker 23.
#[test]
fn no_delete_falls_through_to_a_cluster_volume() {
    let node = Node::manager(Version::V26_1);
    let engine = &node.engine;
    let make = |name: &str| {
        let body = format!(
            r#"{{"Name":"{name}","Driver":"none","ClusterVolumeSpec":{{"AccessMode":{{"Scope":"single","Sharing":"none","BlockVolume":{{}}}}}}}}"#
        );
        engine.json("POST", "/v1.42/volumes/create", Some(&body))["ClusterVolume"]["ID"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let version = |id: &str| {
        engine.json("GET", &format!("/v1.42/volumes/{id}"), None)["ClusterVolume"]["Version"]["Index"].clone()
    };
    let id = make("clustered");
    let before = version(&id);
    let names = ["clustered", id.as_str(), &id[..3]];
    for name in names {
        let name = VolumeName::new(name).expect("a name");
        let answer = run(async {
            ChangingEngine::new(connect(engine).await)
                .expect("a handle")
                .delete_volume(&name, Route::Direct)
                .await
        });
        assert_eq!(answer, DeleteAnswer::Forgotten, "{name}");
    }
    assert_eq!(version(&id), before, "the cluster volume was touched");
    assert_eq!(inventory_of(&node.engine).volumes().len(), 0);

    // The danger is real: under 1.42 the same call removes it, by the beginning of its ID.
    let (status, _) = engine.api("DELETE", &format!("/v1.42/volumes/{}", &id[..3]), None);
    assert_eq!(status, 204);
    let (status, text) = engine.api("GET", &format!("/v1.42/volumes/{id}"), None);
    assert!(status == 404 || version(&id) != before, "{status} {text}");
}

/// As an engine of 29.0 to 29.2, which refuses every version below 1.44, as a manager or outside of a swarm. Answers until the
/// test ends, and tells each request's first line.
fn engine_without_old_api(socket: &Path, state: &str) -> mpsc::Receiver<String> {
    let listener = UnixListener::bind(socket).expect("a socket");
    let (tell, told) = mpsc::channel();
    let state = state.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).expect("a request");
            // Who only wants to know who listens asks nothing.
            if line.is_empty() {
                continue;
            }
            let (status, body) = if line.contains("/version") {
                ("200 OK", r#"{"ApiVersion":"1.52","MinAPIVersion":"1.44"}"#.to_owned())
            } else if line.contains("/info") {
                let swarm =
                    format!(r#"{{"LocalNodeState":"{state}","ControlAvailable":{}}}"#, state == "active");
                let info = r#""ID":"e","Containers":0,"ServerVersion":"29.0.0","DockerRootDir":"/nowhere""#;
                ("200 OK", format!(r#"{{{info},"Swarm":{swarm}}}"#))
            } else {
                ("204 No Content", String::new())
            };
            tell.send(line).ok();
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            )
            .expect("an answer");
        }
    });
    told
}

#[test]
fn an_engine_that_refuses_the_old_api_is_not_asked_to_delete_in_a_swarm() {
    let dir = tempfile::tempdir().expect("a directory");
    let name = VolumeName::new("clustered").expect("a name");
    for (state, is_asked) in [("active", false), ("locked", false), ("inactive", true)] {
        let socket = dir.path().join(state);
        let told = engine_without_old_api(&socket, state);
        let answer = run(async {
            let engine = Engine::connect(Endpoint::Unix(socket)).await.expect("an engine");
            ChangingEngine::new(engine).expect("a handle").delete_volume(&name, Route::Direct).await
        });
        let asked = told.try_iter().any(|line| line.starts_with("DELETE /v1.44/volumes/clustered"));
        assert_eq!(asked, is_asked, "{state}");
        if is_asked {
            assert_eq!(answer, DeleteAnswer::Forgotten, "{state}");
        } else {
            assert!(
                matches!(&answer, DeleteAnswer::Refused(why) if why.contains("Docker 29.3")),
                "{state}: {answer:?}"
            );
        }
    }
}
