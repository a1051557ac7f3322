//! Containers that begin to use a volume at the very moment it is moved. Whoever comes first, the data is whole: in the volume,
//! with the container running on it, or in quarantine.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use harness::treasure::{Place, Treasure, assert_no_husk};
use harness::{KEEP_IN_QUARANTINE, PrivateEngine, Volgc, on_each_engine};
use serde_json::{Value, json};

/// How many volumes are moved at a time.
const VOLUMES: usize = 20;

/// How many volumes are moved in all: `VOLGC_RACE_ROUNDS`, or 200.
fn rounds() -> usize {
    std::env::var("VOLGC_RACE_ROUNDS")
        .map_or(200, |text| text.parse().expect("VOLGC_RACE_ROUNDS is a number"))
}

/// What a container wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// To be created.
    Create,
    /// To be created from an image that has content where the volume is to be.
    CreateOverContent,
    /// To be created and started at once.
    Start,
}

/// Who moves the volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mover {
    /// An order by name, `volgc quarantine NAME...`.
    Order,
    /// A sweep that finds them due.
    Clock,
}

/// How often what became of a volume, by who moved it.
type Outcomes = BTreeMap<(Mover, &'static str), usize>;

/// What came of it.
#[derive(Debug)]
struct Round {
    wish: Wish,
    /// Status of the start.
    started: Option<u16>,
    container: Option<String>,
    /// Whether the data was seen where it belongs before the create, and after.
    before: bool,
    after: bool,
}

/// A small generator (xorshift64), so that a seed can be tried again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }
}

fn seed() -> u64 {
    let given = std::env::var("VOLGC_RACE_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        u64::from(now.subsec_nanos()) ^ now.as_secs()
    }) | 1
}

/// Creates a container on a volume somewhere around the time when it is moved: after the one before it was.
fn create_in_time(
    engine: &PrivateEngine,
    volumes: &[Treasure],
    number: usize,
    dice: &mut Dice,
    turn: Duration,
    over: &AtomicBool,
) -> Round {
    if let Some(before) = number.checked_sub(1) {
        let data = engine.volume_data(&volumes[before].name);
        // The one before may be left where it is; then its turn is only waited for.
        let mut patience = Duration::ZERO;
        let give_up = turn * u32::try_from(number + 1).unwrap();
        while data.exists() && patience < give_up && !over.load(Ordering::Acquire) {
            thread::sleep(Duration::from_micros(500));
            patience += Duration::from_micros(550);
        }
    }
    let most = u64::try_from(turn.as_micros()).unwrap() * 6 / 5;
    thread::sleep(Duration::from_micros(dice.below(most)));
    let wish = match dice.below(10) {
        0..5 => Wish::Start,
        5..7 => Wish::CreateOverContent,
        _ => Wish::Create,
    };
    create(engine, &volumes[number].name, wish)
}

fn create(engine: &PrivateEngine, volume: &str, wish: Wish) -> Round {
    let (image, target) = if wish == Wish::CreateOverContent { ("bbseed", "/seed") } else { ("bb", "/data") };
    let body = json!({
        "Image": image,
        "Cmd": ["cat", "/data/id"],
        "HostConfig": {
            "NetworkMode": "none",
            "Mounts": [{ "Type": "volume", "Source": volume, "Target": target }],
        },
    });
    let data = engine.volume_data(volume);
    let before = data.join("id").exists();
    let (_, text) = engine.api("POST", "/containers/create", Some(&body.to_string()));
    let after = data.join("id").exists();
    let answer: Value = serde_json::from_str(&text).unwrap_or_default();
    let container = answer["Id"].as_str().map(str::to_owned);
    let started = container
        .as_ref()
        .filter(|_| wish == Wish::Start)
        .map(|id| engine.api("POST", &format!("/containers/{id}/start"), None).0);
    Round { wish, started, container, before, after }
}

/// What became of the volume, in one word; panics when it is nothing that may be.
fn judge(engine: &PrivateEngine, volume: &Treasure, round: &Round, rolled_back: bool) -> &'static str {
    let name = &volume.name;
    let place = volume.assert_whole(engine, &format!("{round:?}"));
    if round.started == Some(204) {
        let (code, read) = engine.read_from(round.container.as_deref().unwrap());
        match &place {
            Place::Volume(_) => assert_eq!((code, read.as_str()), (0, name.as_str()), "{name}: {round:?}"),
            // It came when the old volume was gone, and has an empty one.
            Place::Entry(..) | Place::Deleting(_) => assert_eq!(code, 1, "{name}: read {read:?}: {round:?}"),
        }
    }
    match place {
        Place::Volume(at) => {
            assert_eq!(&at, name);
            if let (Some(id), Some(400..)) = (&round.container, round.started) {
                // Its data was away for a moment; it is not any more.
                let (status, text) = engine.api("POST", &format!("/containers/{id}/start"), None);
                assert_eq!(status, 204, "{name} cannot be started after the roll-back: {text}");
                assert_eq!(engine.read_from(id), (0, name.clone()));
                return "rolled back, first start failed";
            }
            match (round.container.is_some(), rolled_back) {
                (true, true) => "rolled back",
                (true, false) => "left, because held",
                (false, true) => "rolled back, create failed",
                (false, false) => panic!("{name}: neither created nor moved: {round:?}"),
            }
        }
        Place::Entry(_, manifest) => {
            assert_eq!(manifest["state"], "quarantined", "{name}: {manifest:#}");
            if round.container.is_some() {
                assert!(
                    engine.volume_data(name).is_dir(),
                    "{name}: the new volume has no data directory: {round:?}"
                );
                "quarantined, then a new empty volume"
            } else {
                "quarantined, create failed"
            }
        }
        Place::Deleting(entry) => panic!("{name}: {entry}"),
    }
}

/// One sweep over a set of volumes, with containers created on every one of them meanwhile.
fn sweep(
    engine: &PrivateEngine,
    volgc: &Volgc,
    number: usize,
    mover: Mover,
    dice: &mut Dice,
    turn: &mut Duration,
    outcomes: &mut Outcomes,
) {
    let volumes: Vec<Treasure> =
        (0..VOLUMES).map(|volume| Treasure::make(engine, &format!("r{number:03}-{volume:02}"))).collect();
    let names: Vec<&str> = volumes.iter().map(|volume| volume.name.as_str()).collect();
    let arguments = match mover {
        Mover::Order => [&["quarantine"][..], &names].concat(),
        // Two sweeps have seen them by then: the next one finds them due.
        Mover::Clock => {
            volgc.ok(&["sweep"]);
            vec!["sweep"]
        }
    };
    let over = AtomicBool::new(false);
    let started = Instant::now();
    let child = volgc.spawn(&arguments);
    let seeds: Vec<u64> = volumes.iter().map(|_| dice.below(u64::MAX) | 1).collect();
    let (output, rounds) = thread::scope(|scope| {
        let creators: Vec<_> = seeds
            .iter()
            .enumerate()
            .map(|(number, seed)| {
                let (volumes, over, turn) = (&volumes, &over, *turn);
                scope.spawn(move || create_in_time(engine, volumes, number, &mut Dice(*seed), turn, over))
            })
            .collect();
        let output = child.wait_with_output().unwrap();
        over.store(true, Ordering::Release);
        // How long one volume takes, half from now and half from before.
        *turn = (*turn + started.elapsed() / u32::try_from(VOLUMES).unwrap()) / 2;
        let rounds: Vec<Round> = creators.into_iter().map(|creator| creator.join().unwrap()).collect();
        (output, rounds)
    });
    let (stdout, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // 4: something was left, as it was ordered by name.
    let expected: &[i32] = if mover == Mover::Order { &[0, 4] } else { &[0] };
    assert!(output.status.code().is_some_and(|code| expected.contains(&code)), "{stdout}{log}");
    assert_no_husk(engine, "after a sweep");
    for (volume, round) in volumes.iter().zip(&rounds) {
        let rolled_back = log.lines().any(|line| {
            line.contains("event=\"rolled_back\"") && line.contains(&format!("volume=\"{}\"", volume.name))
        });
        *outcomes.entry((mover, judge(engine, volume, round, rolled_back))).or_default() += 1;
        if round.before != round.after {
            *outcomes.entry((mover, "(of these: moved or put back during the create)")).or_default() += 1;
        }
        if round.wish != Wish::Create {
            *outcomes.entry((mover, "(of these: started, or over content of the image)")).or_default() += 1;
        }
    }
    tidy(engine, volgc, &volumes, &rounds);
}

/// What is in the volume is whole still; of what is in quarantine, which was looked at too, every fourth is brought back.
fn tidy(engine: &PrivateEngine, volgc: &Volgc, volumes: &[Treasure], rounds: &[Round]) {
    for id in rounds.iter().filter_map(|round| round.container.as_ref()) {
        engine.json("DELETE", &format!("/containers/{id}?force=1"), None);
    }
    for (number, volume) in volumes.iter().enumerate() {
        if let Place::Entry(entry, _) = volume.assert_whole(engine, "containers removed") {
            // The new empty one, if there is one.
            engine.api("DELETE", &format!("/volumes/{}", volume.name), None);
            if number % 4 > 0 {
                fs::remove_dir_all(engine.root().join("volgc").join(entry)).unwrap();
                continue;
            }
            volgc.ok(&["restore", &entry]);
        }
        volume.assert_back(engine, &volume.name, "at the end");
        engine.json("DELETE", &format!("/volumes/{}", volume.name), None);
    }
}

/// Whether containers and moves were in time, some of each, by either mover.
fn has_both(outcomes: &Outcomes) -> bool {
    let count = |mover, begins: &str| -> usize {
        let is_it =
            |((by, what), _): &(&(Mover, &'static str), &usize)| *by == mover && what.starts_with(begins);
        outcomes.iter().filter(is_it).map(|(_, count)| count).sum()
    };
    [Mover::Order, Mover::Clock]
        .into_iter()
        .all(|mover| ["rolled back", "quarantined"].into_iter().all(|begins| count(mover, begins) >= 5))
}

on_each_engine! {
    fn a_thousand_containers_against_a_sweep(engine: PrivateEngine) {
        let seed = seed();
        eprintln!("VOLGC_RACE_SEED={seed}");
        let volgc = Volgc::new(&engine).env("VOLGC_LOG", "info");
        // In its last section.
        volgc.config(&format!("{KEEP_IN_QUARANTINE}sudden_orphans = 100000\n"));
        let mut outcomes = BTreeMap::new();
        let (mut dice, mut turn) = (Dice(seed), Duration::from_millis(60));
        let (mut sweeps, planned) = (0, rounds().div_ceil(VOLUMES));
        // On a busy machine one side may win each time: some more rounds, then.
        while sweeps < planned || (sweeps < 3 * planned && !has_both(&outcomes)) {
            let mover = if sweeps % 2 == 0 { Mover::Order } else { Mover::Clock };
            sweep(&engine, &volgc, sweeps, mover, &mut dice, &mut turn, &mut outcomes);
            sweeps += 1;
        }
        // Each volume was seen whole, and is in one of these words; those in brackets are of the others.
        let judged: usize =
            outcomes.iter().filter(|((_, what), _)| !what.starts_with('(')).map(|(_, count)| count).sum();
        let rounds = sweeps * VOLUMES;
        eprintln!("races: {rounds} rounds tried, {} losses: {outcomes:#?}", rounds - judged);
        assert!(has_both(&outcomes), "one side was never in time: seed {seed}: {outcomes:#?}");
    }
}
