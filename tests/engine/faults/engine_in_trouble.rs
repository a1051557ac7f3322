//! The engine in trouble while a step is done: killed, restarted, frozen, gone from its socket, and answering with errors, with half
//! an answer or not at all. Nothing is lost, the command ends with a code that is documented, and the next sweep settles
//! everything. (The DELETE alone, late and lost, is in `delete_in_doubt`.)

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::thread;
use std::time::Duration;

use harness::proxy::{Proxy, Treat};
use harness::scenario::{COMMANDS, Case, Host, Scenario};
use harness::treasure::{Place, assert_no_husk};
use harness::{Output, PrivateEngine, on_each_engine};

/// What happens to the engine while the program rests before an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// Killed, and not started before the program has ended.
    Killed,
    /// Stopped in good order, and started while the program goes on.
    Restarted,
    /// Frozen until the program has long gone on.
    Frozen,
    /// Its socket is taken away, and is back when the program has ended.
    SocketGone,
}

/// Each way of moving data once.
fn steps() -> Vec<Scenario> {
    let names = ["quarantine", "quarantine undone", "restore", "restore replacing", "delete"];
    let steps: Vec<Scenario> =
        COMMANDS.iter().filter(|scenario| names.contains(&scenario.name)).copied().collect();
    assert_eq!(steps.len(), names.len());
    steps
}

/// The first point of each group of effects that belong together, as the engine sees no difference within one.
fn first_of_each_group(passes: Vec<(String, u32)>) -> Vec<String> {
    let mut groups = BTreeSet::new();
    passes
        .into_iter()
        .map(|(point, _)| point)
        .filter(|point| {
            // Each moment around an answer of the engine counts.
            let is_own = point.starts_with("engine.") || point == "take.ask_again";
            is_own || groups.insert(point.split('.').next().unwrap().to_owned())
        })
        .collect()
}

#[track_caller]
fn assert_documented(output: &Output, what: &str) {
    let code = output.status.unwrap_or_else(|| panic!("{what}: it died: {output:?}"));
    assert!(matches!(code, 0 | 1 | 3 | 4), "{what}: exit code {code}: {output:?}");
    assert!(!output.stderr.contains("panicked"), "{what}: {output:?}");
    if code != 0 {
        let told = format!("{}{}", output.stdout, output.stderr);
        assert!(told.trim().len() > 20, "{what}: it does not say why: {output:?}");
    }
}

#[track_caller]
fn assert_nothing_lost(engine: &PrivateEngine, case: &Case, what: &str) {
    case.assert_behind(what);
    for (number, treasure) in case.treasures.iter().enumerate() {
        let is_deletion = case.is_deletion && number == 0;
        if is_deletion && matches!(treasure.places(engine).as_slice(), [] | [Place::Deleting(_)]) {
            continue;
        }
        treasure.assert_whole(engine, what);
    }
}

/// One sweep settles all that was left, and everything can be had back.
fn settle(host: &Host<'_>, cases: &[(String, Case)], when: &str) -> usize {
    host.unpark_all();
    let settled = host.volgc.ok(&["sweep"]);
    assert!(
        !settled.contains("could not be recovered") && !settled.contains("in doubt"),
        "{when}: {settled}"
    );
    host.assert_all_well(cases, when)
}

/// The trouble comes before each group of effects of each step.
fn endure(engine: &PrivateEngine, trouble: Trouble) {
    let host = Host::new(engine);
    let mut cases: Vec<(String, Case)> = Vec::new();
    let mut codes: BTreeMap<i32, usize> = BTreeMap::new();
    for scenario in steps() {
        for point in first_of_each_group(host.passes(&scenario)) {
            let case = host.prepare(&scenario);
            let what = format!("{trouble:?}, {} at {point}", scenario.name);
            let output = meet(&host, &scenario, &case, &point, trouble);
            assert_documented(&output, &what);
            *codes.entry(output.status.unwrap()).or_default() += 1;
            assert_nothing_lost(engine, &case, &what);
            host.park();
            cases.push((what, case));
        }
    }
    let losses = settle(&host, &cases, &format!("{trouble:?}"));
    eprintln!("trouble: {} times tried, {losses} losses, exit codes {codes:?}", cases.len());
}

/// Runs a case whose engine gets into trouble at a point, and leaves the engine well.
fn meet(host: &Host<'_>, scenario: &Scenario, case: &Case, point: &str, trouble: Trouble) -> Output {
    let engine = host.engine;
    let rest = match trouble {
        // Long enough for it to be back, mostly.
        Trouble::Restarted => 2500,
        Trouble::Killed | Trouble::Frozen | Trouble::SocketGone => 400,
    };
    let child = host.rest_at(case, scenario.with, point, 1, rest);
    let (socket, aside) = (engine.socket(), engine.dir().join("aside"));
    match trouble {
        Trouble::Killed => engine.kill(),
        Trouble::Restarted => engine.restart(),
        Trouble::Frozen => {
            engine.pause();
            thread::sleep(Duration::from_millis(rest + 600));
            engine.resume();
        }
        Trouble::SocketGone => fs::rename(&socket, &aside).unwrap(),
    }
    let output = child.wait_with_output().unwrap();
    match trouble {
        Trouble::Killed => engine.restart(),
        Trouble::Restarted | Trouble::Frozen => {}
        Trouble::SocketGone => fs::rename(&aside, &socket).unwrap(),
    }
    Output {
        status: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Where each of its treasures is, with all that the manifests say.
fn places(engine: &PrivateEngine, case: &Case) -> Vec<Vec<Place>> {
    case.treasures.iter().map(|treasure| treasure.places(engine)).collect()
}

/// The plainest of the steps, prepared.
fn quarantine(host: &Host<'_>) -> (Scenario, Case) {
    let scenario = steps().remove(0);
    assert_eq!(scenario.name, "quarantine");
    (scenario, host.prepare(&scenario))
}

/// Runs a case whose engine is frozen from a point on, and stays so.
fn frozen_at(host: &Host<'_>, case: &Case, point: &str, settings: &str) -> Output {
    let child = host.rest_at(case, settings, point, 1, 800);
    host.engine.pause();
    let output = child.wait_with_output().unwrap();
    Output {
        status: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Its data is in quarantine, and nobody claims to know more.
#[track_caller]
fn assert_in_doubt(engine: &PrivateEngine, case: &Case, when: &str) {
    match case.treasures[0].assert_whole(engine, when) {
        Place::Entry(_, manifest) => assert_eq!(manifest["state"], "in_doubt", "{when}: {manifest:#}"),
        place @ (Place::Volume(_) | Place::Deleting(_)) => panic!("{when}: it is in {place:?}"),
    }
}

/// Every request of each step is treated badly once.
fn mistreat(engine: &PrivateEngine, treat: Treat) {
    let proxy = Proxy::start(engine);
    let host = Host::by(engine, proxy.socket());
    let mut cases: Vec<(String, Case)> = Vec::new();
    let mut codes: BTreeMap<i32, usize> = BTreeMap::new();
    let mut missed = 0;
    for scenario in steps() {
        let case = host.prepare(&scenario);
        let before = proxy.requests().len();
        host.run(&case, scenario.with, None);
        let requests = proxy.requests().split_off(before);
        assert!(requests.len() > 8, "{}: {requests:?}", scenario.name);
        host.park();
        for (number, request) in requests.iter().enumerate() {
            let case = host.prepare(&scenario);
            let what = format!("{treat:?}, {} at request {number} ({request})", scenario.name);
            proxy.after(number, treat);
            let output = host.run(&case, scenario.with, None);
            missed += usize::from(!proxy.treat_well());
            assert_documented(&output, &what);
            *codes.entry(output.status.unwrap()).or_default() += 1;
            assert_nothing_lost(engine, &case, &what);
            host.park();
            cases.push((what, case));
        }
    }
    let losses = settle(&host, &cases, &format!("{treat:?}"));
    // The order of some is chance, and so may their number be by one.
    assert!(missed <= steps().len(), "{missed} requests did not come");
    eprintln!("requests: {} requests tried, {losses} losses, exit codes {codes:?}", cases.len());
}

on_each_engine! {
    fn killed_in_the_middle_of_each_step(engine: PrivateEngine) {
        endure(&engine, Trouble::Killed);
    }

    fn restarted_in_the_middle_of_each_step(engine: PrivateEngine) {
        endure(&engine, Trouble::Restarted);
    }

    fn frozen_in_the_middle_of_each_step(engine: PrivateEngine) {
        endure(&engine, Trouble::Frozen);
    }

    fn its_socket_vanishes_in_the_middle_of_each_step(engine: PrivateEngine) {
        endure(&engine, Trouble::SocketGone);
    }

    fn each_request_is_answered_with_500(engine: PrivateEngine) {
        mistreat(&engine, Treat::Answer(500));
    }

    fn each_request_is_done_and_answered_with_500(engine: PrivateEngine) {
        mistreat(&engine, Treat::AnswerInstead(500));
    }

    fn each_request_gets_half_an_answer(engine: PrivateEngine) {
        mistreat(&engine, Treat::HalfAnswer);
    }

    fn each_request_is_done_and_its_answer_lost(engine: PrivateEngine) {
        mistreat(&engine, Treat::LoseAnswer);
    }

    fn each_request_is_cut_off(engine: PrivateEngine) {
        mistreat(&engine, Treat::Close);
    }

    /// It answers, but only when the one who asked was killed: what it did is found out.
    fn each_change_is_answered_after_the_client_gave_up(engine: PrivateEngine) {
        let proxy = Proxy::start(&engine);
        let host = Host::by(&engine, proxy.socket());
        let mut cases = Vec::new();
        for scenario in steps() {
            let case = host.prepare(&scenario);
            let before = proxy.requests().len();
            host.run(&case, scenario.with, None);
            let requests = proxy.requests().split_off(before);
            host.park();
            for (number, request) in requests.iter().enumerate().filter(|(_, name)| !name.starts_with("GET ")) {
                let case = host.prepare(&scenario);
                let what = format!("late, {} at request {number} ({request})", scenario.name);
                let before = proxy.requests().len();
                proxy.after(number, Treat::Delay(Duration::from_millis(1500)));
                let mut child = host.start(&case, scenario.with);
                while proxy.requests().len() <= before + number {
                    assert!(child.try_wait().unwrap().is_none(), "{what}: it ended before");
                    thread::sleep(Duration::from_millis(5));
                }
                child.kill().unwrap();
                child.wait().unwrap();
                proxy.treat_well();
                assert_nothing_lost(&engine, &case, &what);
                host.park();
                // It has arrived by then, so that the next case counts the same requests as the run before it.
                thread::sleep(Duration::from_millis(1700));
                cases.push((what, case));
            }
        }
        assert!(cases.len() >= 4, "{cases:?}");
        // All of them have arrived by now.
        thread::sleep(Duration::from_secs(2));
        let losses = settle(&host, &cases, "late");
        assert_no_husk(&engine, "late");
        eprintln!("requests: {} requests tried, {losses} losses", cases.len());
    }

    /// Longer than volgc waits for any answer: it gives up, says so, and has changed nothing.
    fn frozen_for_longer_than_anybody_waits(engine: PrivateEngine) {
        let host = Host::new(&engine);
        let mut cases: Vec<(String, Case)> = Vec::new();
        for scenario in steps() {
            let case = host.prepare(&scenario);
            let what = format!("frozen, {}", scenario.name);
            // What is parked is in quarantine when the command runs.
            host.unpark_all();
            let before = places(&engine, &case);
            host.park();
            engine.pause();
            let output = host.run(&case, &format!("engine.answer_patience=1500,{}", scenario.with), None);
            engine.resume();
            assert_eq!(output.status, Some(4), "{what}: {output:?}");
            let says_why = output.stderr.contains("did not answer") && output.stderr.contains("within 1 s");
            assert!(says_why, "{what}: {output:?}");
            assert_eq!(places(&engine, &case), before, "{what}");
            assert_nothing_lost(&engine, &case, &what);
            host.park();
            cases.push((what, case));
        }
        let losses = settle(&host, &cases, "frozen");
        eprintln!("trouble: {} times tried, {losses} losses", cases.len());
    }

    /// The same when the data is in quarantine already, and the engine was not yet asked to forget the volume: it goes back.
    fn frozen_for_longer_than_anybody_waits_in_the_middle_of_a_move(engine: PrivateEngine) {
        let host = Host::new(&engine);
        let (scenario, case) = quarantine(&host);
        let output = frozen_at(&host, &case, "take.ask_again", "engine.answer_patience=1500");
        assert_documented(&output, "frozen");
        assert_ne!(output.status, Some(0), "{output:?}");
        assert!(format!("{}{}", output.stdout, output.stderr).contains("did not answer"), "{output:?}");
        assert_eq!(case.treasures[0].assert_whole(&engine, "frozen"), Place::Volume(case.treasures[0].name.clone()));
        engine.resume();
        let losses = settle(&host, &[(scenario.name.to_owned(), case)], "frozen in the middle");
        eprintln!("trouble: 1 times tried, {losses} losses");
    }

    /// The DELETE is with an engine that is frozen: I5, its fate is not known until the engine has spoken.
    fn frozen_for_longer_than_anybody_waits_with_the_delete(engine: PrivateEngine) {
        let host = Host::new(&engine);
        let (scenario, case) = quarantine(&host);
        let output = frozen_at(&host, &case, "engine.delete", "engine.delete_patience=1500");
        assert_eq!(output.status, Some(3), "{output:?}");
        assert!(format!("{}{}", output.stdout, output.stderr).contains("no answer within 1 s"), "{output:?}");
        assert_in_doubt(&engine, &case, "given up");
        // Whoever comes next finds the engine as it is, and decides nothing.
        let next = host.volgc.clone().env("VOLGC_FAULT", "engine.answer_patience=1500").run(&["sweep"]);
        assert_eq!(next.status, Some(4), "{next:?}");
        assert!(next.stderr.contains("did not answer"), "{next:?}");
        assert_in_doubt(&engine, &case, "swept while it is frozen");
        engine.resume();
        let losses = settle(&host, &[(scenario.name.to_owned(), case)], "the engine speaks again");
        eprintln!("trouble: 1 times tried, {losses} losses");
    }

    /// The DELETE is held up on its way for longer than volgc waits; then the engine carries it out after all.
    fn a_delete_is_held_for_longer_than_anybody_waits(engine: PrivateEngine) {
        let proxy = Proxy::start(&engine);
        let host = Host::by(&engine, proxy.socket());
        let (scenario, case) = quarantine(&host);
        let name = case.treasures[0].name.clone();
        let delete = format!("DELETE /volumes/{name}");
        proxy.next(&delete, Treat::Hold);
        let output = host.run(&case, "engine.delete_patience=1500", None);
        assert_eq!(output.status, Some(3), "{output:?}");
        assert!(format!("{}{}", output.stdout, output.stderr).contains("no answer within 1 s"), "{output:?}");
        assert_in_doubt(&engine, &case, "given up");
        // Even for somebody who wants it back: the DELETE would end what is put back.
        host.volgc.ok(&["hold", &name, "--reason", "wanted after all"]);
        for round in 1..=2 {
            let swept = host.volgc.run(&["sweep"]);
            assert_eq!(swept.status, Some(3), "{swept:?}");
            assert_in_doubt(&engine, &case, &format!("swept {round} times, the order still on its way"));
        }
        assert_eq!(proxy.delivered(&delete), Vec::<u16>::new());
        proxy.release(&delete);
        assert_eq!(proxy.delivered(&delete), [204], "the engine carried it out");
        host.volgc.ok(&["release", &name]);
        let losses = settle(&host, &[(scenario.name.to_owned(), case)], "the order arrived");
        eprintln!("requests: 1 requests tried, {losses} losses");
    }
}
