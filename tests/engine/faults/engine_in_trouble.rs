//! The engine in trouble while a step is done: killed, restarted, frozen, gone from its socket, and answering with errors, with half
//! an answer or not at all. Nothing is lost, the command ends with a code that is documented, and the next sweep settles
//! everything. (The DELETE alone, late and lost, is in `delete_in_doubt`.)

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::Duration;

use harness::proxy::{Proxy, Treat};
use harness::scenario::{Case, Host, Scenario};
use harness::treasure::{Place, assert_no_husk};
use harness::{Output, PrivateEngine, in_full, on_each_engine};

use super::first_of_each_group;

/// What happens to the engine while the program rests before an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// Killed, and not started before the program has ended.
    Killed,
    /// Stopped in good order and started again: what the program had of it is gone.
    Restarted,
    /// Frozen until the program has long gone on.
    Frozen,
    /// Its socket is taken away, and is back when the program has ended.
    SocketGone,
}

/// How long it is frozen.
const FROZEN: Duration = Duration::from_millis(400);

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

/// The trouble comes before each group of effects of each step.
fn endure(engine: &PrivateEngine, trouble: Trouble) {
    let host = Host::new(engine);
    let scenarios = Scenario::basic();
    let passes = host.passes(&scenarios);
    let (mut tried, mut losses) = (0, 0);
    let mut codes: BTreeMap<i32, usize> = BTreeMap::new();
    for (scenario, passes) in scenarios.iter().zip(passes) {
        let points = first_of_each_group(&passes);
        host.expect(points.len());
        let mut cases: Vec<(String, Case)> = Vec::new();
        for point in points {
            let case = host.prepare(scenario);
            let what = format!("{trouble:?}, {} at {point}", scenario.name);
            let output = meet(&host, scenario, &case, &point, trouble);
            assert_documented(&output, &what);
            *codes.entry(output.status.unwrap()).or_default() += 1;
            case.assert_nothing_lost(engine, &what);
            host.park();
            cases.push((what, case));
        }
        tried += cases.len();
        losses += host.settle(&cases, &format!("{trouble:?}"));
        host.clear();
    }
    eprintln!("trouble: {tried} times tried, {losses} losses, exit codes {codes:?}");
}

/// Runs a case whose engine gets into trouble at a point, and leaves the engine well.
fn meet(host: &Host<'_>, scenario: &Scenario, case: &Case, point: &str, trouble: Trouble) -> Output {
    let engine = host.engine;
    let resting = host.rest_at(case, point, scenario.with);
    let output = match trouble {
        Trouble::Killed => {
            engine.kill();
            let output = resting.end();
            engine.restart();
            output
        }
        Trouble::Restarted => {
            engine.restart();
            resting.end()
        }
        Trouble::Frozen => {
            engine.pause();
            let child = resting.go_on();
            // Time for its next request, if it has one; else the engine was frozen for nothing.
            thread::sleep(FROZEN);
            engine.resume();
            child.wait_with_output().unwrap()
        }
        Trouble::SocketGone => {
            let (socket, aside) = (engine.socket(), engine.dir().join("aside"));
            fs::rename(&socket, &aside).unwrap();
            let output = resting.end();
            fs::rename(&aside, &socket).unwrap();
            output
        }
    };
    Output::from(output)
}

/// Where each of its treasures is, with all that the manifests say.
fn places(engine: &PrivateEngine, case: &Case) -> Vec<Vec<Place>> {
    case.treasures.iter().map(|treasure| treasure.places(engine)).collect()
}

/// The plainest of the steps, prepared.
fn quarantine(host: &Host<'_>) -> (Scenario, Case) {
    let scenario = Scenario::named("quarantine");
    (scenario, host.prepare(&scenario))
}

/// Runs a case whose engine is frozen from a point on, and stays so.
fn frozen_at(host: &Host<'_>, case: &Case, point: &str, settings: &str) -> Output {
    let resting = host.rest_at(case, point, settings);
    host.engine.pause();
    Output::from(resting.end())
}

/// Its data is in quarantine, and nobody claims to know more.
#[track_caller]
fn assert_in_doubt(engine: &PrivateEngine, case: &Case, when: &str) {
    match case.treasures[0].assert_whole(engine, when) {
        Place::Entry(_, manifest) => assert_eq!(manifest["state"], "forgetting", "{when}: {manifest:#}"),
        place @ (Place::Volume(_) | Place::Deleting(_)) => panic!("{when}: it is in {place:?}"),
    }
}

/// The requests of an undisturbed run, and the volume that they name.
fn requests(proxy: &Proxy, host: &Host<'_>, scenario: &Scenario) -> (Vec<String>, String) {
    let case = host.prepare(scenario);
    let before = proxy.requests().len();
    host.run(&case, scenario.with, None);
    let requests = proxy.requests().split_off(before);
    assert!(requests.len() > 8, "{}: {requests:?}", scenario.name);
    host.park();
    (requests, case.treasures[0].name.clone())
}

/// A question has no effect: whether it was done before its answer was lost, or not, is the same to volgc to the last byte. And of the
/// ways to get no answer the short lane tries one for each question, in turn: the one who asks reads all answers in one place.
fn is_tried_otherwise(treat: Treat, number: usize, request: &str) -> bool {
    let turn = match treat {
        Treat::Answer(_) => 0,
        Treat::HalfAnswer => 1,
        Treat::Close => 2,
        Treat::AnswerInstead(_)
        | Treat::LoseAnswer
        | Treat::Delay(_)
        | Treat::Hold
        | Treat::AnswerAndHold(_) => usize::MAX,
    };
    number % 3 != turn && request.starts_with("GET ") && !in_full()
}

/// Every request of each step is treated badly once.
fn mistreat(engine: &PrivateEngine, treat: Treat) {
    let proxy = Proxy::start(engine);
    let host = Host::by(engine, proxy.socket());
    let mut codes: BTreeMap<i32, usize> = BTreeMap::new();
    let (mut tried, mut losses, mut missed) = (0, 0, 0);
    for scenario in Scenario::basic() {
        let (requests, volume) = requests(&proxy, &host, &scenario);
        let mut requests: Vec<_> = requests.into_iter().enumerate().collect();
        requests.retain(|(number, request)| !is_tried_otherwise(treat, *number, request));
        host.expect(requests.len());
        let mut cases: Vec<(String, Case)> = Vec::new();
        for (number, request) in requests {
            let case = host.prepare(&scenario);
            let what = format!("{treat:?}, {} at request {number} ({request})", scenario.name);
            // The order of questions is chance, so a change is known by its name.
            match request.strip_prefix("GET ") {
                Some(_) => proxy.after(number, treat),
                None => proxy.next(&request.replace(&volume, &case.treasures[0].name), treat),
            }
            let output = host.run(&case, scenario.with, None);
            missed += usize::from(!proxy.treat_well());
            assert_documented(&output, &what);
            *codes.entry(output.status.unwrap()).or_default() += 1;
            case.assert_nothing_lost(engine, &what);
            host.park();
            cases.push((what, case));
        }
        tried += cases.len();
        losses += host.settle(&cases, &format!("{treat:?}"));
        host.clear();
    }
    // Nor is their number the same each time.
    assert!(missed <= Scenario::basic().len(), "{missed} requests did not come");
    eprintln!("requests: {tried} requests tried, {losses} losses, exit codes {codes:?}");
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
        let (mut tried, mut losses) = (0, 0);
        for scenario in Scenario::basic() {
            let mut cases = Vec::new();
            let (requests, _) = requests(&proxy, &host, &scenario);
            for (number, request) in requests.iter().enumerate().filter(|(_, name)| !name.starts_with("GET ")) {
                let case = host.prepare(&scenario);
                let what = format!("late, {} at request {number} ({request})", scenario.name);
                let before = proxy.requests().len();
                proxy.after(number, Treat::Hold);
                let mut child = host.start(&case, scenario.with);
                while proxy.requests().len() <= before + number {
                    assert!(child.try_wait().unwrap().is_none(), "{what}: it ended before");
                    thread::sleep(Duration::from_millis(5));
                }
                child.kill().unwrap();
                child.wait().unwrap();
                proxy.treat_well();
                case.assert_nothing_lost(&engine, &what);
                proxy.release(&proxy.requests()[before + number]);
                case.assert_nothing_lost(&engine, &what);
                host.park();
                cases.push((what, case));
            }
            tried += cases.len();
            losses += host.settle(&cases, "late");
            assert_no_husk(&engine, "late");
            host.clear();
        }
        assert!(tried >= 4, "{tried}");
        eprintln!("requests: {tried} requests tried, {losses} losses");
    }

    /// Longer than volgc waits for any answer: it gives up, says so, and has changed nothing.
    fn frozen_for_longer_than_anybody_waits(engine: PrivateEngine) {
        let host = Host::new(&engine);
        let mut cases: Vec<(String, Case)> = Vec::new();
        for scenario in Scenario::basic() {
            let case = host.prepare(&scenario);
            let what = format!("frozen, {}", scenario.name);
            // What is parked is in quarantine when the command runs.
            host.unpark_all();
            let before = places(&engine, &case);
            host.park();
            engine.pause();
            let output = host.run(&case, &format!("engine.answer_patience=2500,{}", scenario.with), None);
            engine.resume();
            assert_eq!(output.status, Some(4), "{what}: {output:?}");
            let says_why = output.stderr.contains("did not answer") && output.stderr.contains("within 2 s");
            assert!(says_why, "{what}: {output:?}");
            assert_eq!(places(&engine, &case), before, "{what}");
            case.assert_nothing_lost(&engine, &what);
            host.park();
            cases.push((what, case));
        }
        let losses = host.settle(&cases, "frozen");
        eprintln!("trouble: {} times tried, {losses} losses", cases.len());
    }

    /// The same when the data is in quarantine already, and the engine was not yet asked to forget the volume: it goes back.
    fn frozen_for_longer_than_anybody_waits_in_the_middle_of_a_move(engine: PrivateEngine) {
        let host = Host::new(&engine);
        let (scenario, case) = quarantine(&host);
        let output = frozen_at(&host, &case, "exchange.look_again", "engine.answer_patience=2500");
        assert_documented(&output, "frozen");
        assert_ne!(output.status, Some(0), "{output:?}");
        assert!(format!("{}{}", output.stdout, output.stderr).contains("did not answer"), "{output:?}");
        assert_eq!(case.treasures[0].assert_whole(&engine, "frozen"), Place::Volume(case.treasures[0].name.clone()));
        engine.resume();
        let losses = host.settle(&[(scenario.name.to_owned(), case)], "frozen in the middle");
        eprintln!("trouble: 1 times tried, {losses} losses");
    }

    /// The DELETE is with an engine that is frozen: I5, its fate is not known until the engine has spoken.
    fn frozen_for_longer_than_anybody_waits_with_the_delete(engine: PrivateEngine) {
        let host = Host::new(&engine);
        let (scenario, case) = quarantine(&host);
        let output = frozen_at(&host, &case, "engine.delete", "engine.delete_patience=2500");
        assert_eq!(output.status, Some(3), "{output:?}");
        assert!(format!("{}{}", output.stdout, output.stderr).contains("no answer within 2 s"), "{output:?}");
        assert_in_doubt(&engine, &case, "given up");
        // Whoever comes next finds the engine as it is, and decides nothing.
        let next = host.volgc.clone().env("VOLGC_FAULT", "engine.answer_patience=2500").run(&["sweep"]);
        assert_eq!(next.status, Some(4), "{next:?}");
        assert!(next.stderr.contains("did not answer"), "{next:?}");
        assert_in_doubt(&engine, &case, "swept while it is frozen");
        engine.resume();
        let losses = host.settle(&[(scenario.name.to_owned(), case)], "the engine speaks again");
        eprintln!("trouble: 1 times tried, {losses} losses");
    }
}
