//! Services: their volumes are used by containers that come and go, and in between the engine counts no use.

use crate::holders::traps::twins::{
    BOTH, CONTENT, KEPT, LOST, assert_holder, assert_kept, assert_pruned, make,
};
use harness::node::Node;
use harness::{PrivateEngine, Version, on_each_engine, wait_until};

/// A service with one task, which waits until it is told to end.
#[track_caller]
fn serve(engine: &PrivateEngine, service: &str, mount: &str) {
    let create = [
        "service",
        "create",
        "--detach",
        "--no-resolve-image",
        "--stop-grace-period",
        "1s",
        "--name",
        service,
        "--network",
        "host",
    ];
    engine.docker(&[&create[..], &["--mount", mount, "bb", "sleep", "1000"]].concat());
    wait_until("the task runs", || !task(engine, service).is_empty());
}

/// The container of the service's task.
fn task(engine: &PrivateEngine, service: &str) -> String {
    engine.docker(&["ps", "--quiet", "--filter", &format!("label=com.docker.swarm.service.name={service}")])
}

/// No task any more, but the service stays: as overnight, or while it moves to another node.
#[track_caller]
fn scale_to_zero(engine: &PrivateEngine, service: &str) {
    engine.docker(&["service", "scale", "--detach", &format!("{service}=0")]);
    let filter = format!("label=com.docker.swarm.service.name={service}");
    wait_until("its containers are gone", || {
        engine.docker(&["ps", "--all", "--quiet", "--filter", &filter]).is_empty()
    });
}

/// What the service's task reads when there is one again.
#[track_caller]
fn read_when_scaled_up(engine: &PrivateEngine, service: &str) -> std::process::Output {
    engine.docker(&["service", "scale", "--detach", &format!("{service}=1")]);
    wait_until("the task runs again", || !task(engine, service).is_empty());
    engine.try_docker(&["exec", &task(engine, service), "cat", "/data/PG_VERSION"])
}

#[track_caller]
fn assert_trap(version: Version, source: impl Fn(&str) -> String, service: impl Fn(&str) -> String) {
    let node = Node::manager(version);
    let engine = &node.engine;
    for volume in BOTH {
        make(engine, volume);
        serve(engine, &service(volume), &format!("type=volume,source={},target=/data", source(volume)));
        scale_to_zero(engine, &service(volume));
    }
    assert_pruned(engine);
    assert!(
        !read_when_scaled_up(engine, &service(LOST)).status.success(),
        "its task works on an empty volume"
    );

    let volgc = assert_kept(engine, &[]);
    assert_holder(&volgc, KEPT, "swarm", "service", &service(KEPT));
    let read = read_when_scaled_up(engine, &service(KEPT));
    assert_eq!(String::from_utf8_lossy(&read.stdout).trim(), CONTENT);
}

on_each_engine! {
    fn a_service_is_scaled_to_zero(version: Version) {
        assert_trap(version, str::to_owned, |volume| format!("{volume}-service"));
    }

    /// The name of the volume is made where the task runs; the service does not say it.
    fn a_service_makes_the_name_of_its_volume(version: Version) {
        assert_trap(version, |_| "{{.Service.Name}}".to_owned(), str::to_owned);
    }
}
