//! The service as systemd and journald know it: started, watched, reloaded, stopped, and what its log looks like.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use harness::daemon::Daemon;
use harness::fake::{Answer, Fake};
use harness::{Output, Volgc, everything};
use rustix::process::Signal;

/// Everything goes as fast as it can, but only when a sweep says so; and none is due while a test runs.
const NEVER: &str = everything!("enforce", "0s", "[schedule]\ninterval = \"1d\"\n");

fn volgc(fake: &Fake, config: &str) -> Volgc {
    let volgc = Volgc::beside(fake.dir(), &fake.socket(), &fake.root());
    volgc.config(config);
    volgc
}

#[test]
fn it_is_ready_after_a_look_that_is_no_sweep() {
    let fake = Fake::start();
    let volgc = volgc(&fake, NEVER);
    for _ in 0..4 {
        let daemon = Daemon::start(&volgc);
        daemon.await_message("READY=1");
        daemon.await_message("STATUS=1 held, 1 unreferenced, 0 in quarantine, 0 due; next sweep ");
        let (status, _) = daemon.terminate();
        assert!(status.success());
    }
    // With these settings the second sweep would have moved the volume. No clock runs yet.
    assert!(fake.volume_data("orphan").is_dir());
    assert!(fake.take().iter().all(|request| request.starts_with("GET ")));
    assert_eq!(volgc.ok(&["history", "--format", "json"]).trim(), "[]");
    assert!(volgc.ok(&["report"]).contains("its clock starts"));
}

#[test]
fn it_waits_for_an_engine_and_says_so() {
    let fake = Fake::start();
    let volgc = volgc(&fake, &NEVER.replace("{socket}", "{socket}-later"));
    let started = Instant::now();
    let daemon = Daemon::start(&volgc);
    daemon.await_message("STATUS=waiting: cannot reach the Docker engine");
    let ready = daemon.await_message("READY=1");
    assert!(ready - started >= Duration::from_secs(25), "it did not wait: {:?}", ready - started);
    let (now, later) = (fake.socket(), fake.dir().join("s-later"));
    std::os::unix::fs::symlink(now, later).unwrap();
    daemon.await_message("STATUS=1 held, 1 unreferenced");
    assert_eq!(daemon.messages().iter().filter(|(_, message)| message.contains("READY=1")).count(), 1);
}

#[test]
fn it_says_when_evidence_is_missing_at_the_start_and_tries_again() {
    let fake = Fake::start();
    fake.set(|world| {
        world.replace("/containers/json", Answer::Whole(500, r#"{"message":"broken"}"#.to_owned()));
    });
    let volgc = volgc(&fake, NEVER);
    let daemon = Daemon::start(&volgc);
    daemon.await_message(
        "STATUS=waiting: the engine answered GET /v1.41/containers/json?all=1 with 500: broken",
    );
    fake.restore_answers();
    daemon.await_message("READY=1");
}

#[test]
fn an_idle_loop_feeds_the_watchdog() {
    let fake = Fake::start();
    let daemon = Daemon::watched(&volgc(&fake, NEVER), Duration::from_secs(2));
    daemon.await_message("READY=1");
    let since = Instant::now();
    sleep(Duration::from_secs(5));
    let fed = daemon.fed_since(since);
    assert!((4..=6).contains(&fed), "fed {fed} times in 5 s, and once a second is asked for");
}

/// Feeds stop, so that systemd would kill it.
fn assert_starves(daemon: &Daemon) {
    // The hang comes soon, not at once.
    sleep(Duration::from_secs(5));
    let since = Instant::now();
    sleep(Duration::from_secs(5));
    assert_eq!(daemon.fed_since(since), 0, "{}", daemon.log());
}

#[test]
fn a_loop_that_hangs_starves_the_watchdog() {
    let fake = Fake::start();
    let volgc = volgc(&fake, NEVER).env("VOLGC_FAULT", "service.loop@4=delay:600000");
    let daemon = Daemon::watched(&volgc, Duration::from_secs(2));
    daemon.await_message("READY=1");
    assert_starves(&daemon);
}

#[test]
fn a_look_that_never_comes_back_starves_the_watchdog() {
    let fake = Fake::start();
    // The first look is that of the start, the second that of the recovery; the third is the sweep's.
    let volgc =
        volgc(&fake, &NEVER.replace("1d", "2s")).env("VOLGC_FAULT", "look.directories@3=delay:600000");
    let daemon = Daemon::watched(&volgc, Duration::from_secs(2));
    daemon.await_message("READY=1");
    daemon.await_message("STATUS=sweeping");
    assert_starves(&daemon);
    daemon.await_log("has not come further");
}

#[test]
fn a_wait_that_has_an_end_feeds_the_watchdog() {
    // The list of volumes is the one that waits behind the removal of a large one; the last `/info` is that after the containers.
    for (path, answered) in [("/info", 0), ("/volumes", 0), ("/containers/json", 0), ("/info", 1)] {
        let fake = Fake::start();
        let volgc = volgc(&fake, &NEVER.replace("1d", "5s"));
        let daemon = Daemon::watched(&volgc, Duration::from_secs(2));
        daemon.await_message("READY=1");
        // Until the recovery of the start has looked too.
        sleep(Duration::from_millis(1500));
        // The engine hangs: it is waited for, for two minutes at the most.
        fake.set(|world| {
            world.replace_with(path, move |asked| (asked >= answered).then(|| Answer::Stall(Vec::new())));
        });
        daemon.await_message("STATUS=sweeping");
        let since = Instant::now();
        sleep(Duration::from_secs(6));
        assert!(daemon.fed_since(since) >= 4, "{path} {answered}: {}", daemon.log());
        let (status, took) = daemon.terminate();
        assert!(status.success());
        assert!(took < Duration::from_secs(8), "{took:?}");
    }
}

#[test]
fn a_time_that_falls_into_a_sweep_is_left_out() {
    let fake = Fake::start();
    // The looks of start and recovery come before the first sweep's, which takes as long as several intervals.
    let (interval, long) = (Duration::from_secs(2), Duration::from_secs(9));
    let fault = format!("look.directories@3=delay:{}", long.as_millis());
    let volgc = volgc(&fake, &NEVER.replace("1d", "2s").replace("\"enforce\"", "\"observe\""))
        .env("VOLGC_FAULT", fault);
    let daemon = Daemon::start(&volgc);
    daemon.await_message("READY=1");
    daemon.await_messages("STATUS=sweeping", 4);
    // When each began, and when the one before had ended: the state is told at both.
    let messages = daemon.messages();
    let states: Vec<(Instant, bool)> = messages
        .iter()
        .filter(|(_, message)| message.contains("STATUS="))
        .map(|(at, message)| (*at, message.contains("STATUS=sweeping")))
        .collect();
    let begun: Vec<usize> = (1..states.len()).filter(|at| states[*at].1 && !states[*at - 1].1).collect();
    assert_eq!(begun.len(), 4, "a sweep began while one ran: {messages:#?}");
    let ended: Vec<Instant> = begun.iter().filter_map(|at| states.get(at + 1)).map(|(at, _)| *at).collect();
    let took = ended[0] - states[begun[0]].0;
    assert!(took >= long, "it was not slow: {took:?}");
    for (number, end) in ended.iter().enumerate().take(3) {
        let pause = states[begun[number + 1]].0 - *end;
        // Both were seen with a delay, on a machine that others load.
        assert!(
            pause + Duration::from_secs(1) > interval,
            "what was left out is caught up after {pause:?}: {messages:#?}"
        );
    }
    assert_eq!(daemon.log().matches("sweep done").count(), 3, "{}", daemon.log());
}

#[test]
fn a_reload_takes_a_good_configuration_and_refuses_a_bad_one() {
    let fake = Fake::start();
    let volgc = volgc(&fake, NEVER);
    let daemon = Daemon::start(&volgc);
    daemon.await_message("READY=1");
    volgc.config(
        &NEVER
            .replace("\"1d\"", "\"1 fortnight\"")
            .replace("\"enforce\"", "\"yolo\"")
            .replace("[limits]", "[limit]"),
    );
    daemon.signal(Signal::HUP);
    daemon.await_log("the one from before stays in force");
    for mistake in ["fortnight", "yolo", "limit"] {
        assert!(daemon.log().contains(mistake), "{mistake}:\n{}", daemon.log());
    }
    daemon.await_messages("READY=1", 2);
    assert!(!daemon.log().contains("is in force"), "{}", daemon.log());
    volgc.config(&NEVER.replace("\"1d\"", "\"2h\"").replace("\"enforce\"", "\"observe\""));
    daemon.signal(Signal::HUP);
    daemon.await_log("the new configuration is in force");
    daemon.await_messages("READY=1", 3);
    let reloading =
        daemon.messages().into_iter().find(|(_, message)| message.contains("RELOADING=1")).unwrap();
    assert!(reloading.1.contains("MONOTONIC_USEC="), "{}", reloading.1);
    assert!(
        daemon.log().contains("mode=\"observe\"") && daemon.log().contains("every 2h"),
        "{}",
        daemon.log()
    );
}

#[test]
fn a_reload_before_the_first_look_is_no_start() {
    let fake = Fake::start();
    fake.set(|world| world.replace("/info", Answer::Stall(Vec::new())));
    let volgc = volgc(&fake, NEVER);
    let daemon = Daemon::start(&volgc);
    daemon.await_log("started");
    sleep(Duration::from_millis(500));
    daemon.signal(Signal::HUP);
    daemon.await_log("the new configuration is in force");
    assert!(!daemon.messages().iter().any(|(_, message)| message.contains("READY=1")));
    let (status, took) = daemon.terminate();
    assert!(status.success() && took < Duration::from_secs(8), "{status} {took:?}");
}

#[test]
fn it_says_that_it_stops() {
    let fake = Fake::start();
    let daemon = Daemon::start(&volgc(&fake, NEVER));
    daemon.await_message("READY=1");
    daemon.signal(Signal::TERM);
    daemon.await_message("STOPPING=1");
}

/// The command with a file for its stderr, which `JOURNAL_STREAM` names or not.
fn logged(volgc: &Volgc, stream: impl Fn(u64, u64) -> String) -> String {
    let path = volgc.state_dir().with_file_name("stderr");
    let file = File::create(&path).unwrap();
    let facts = file.metadata().unwrap();
    let status = volgc
        .command(&["sweep"])
        .env("JOURNAL_STREAM", stream(facts.dev(), facts.ino()))
        .env("VOLGC_LOG", "info")
        .stderr(file)
        .status()
        .unwrap();
    assert!(status.success());
    fs::read_to_string(path).unwrap()
}

/// One that has something to log: it quarantines.
fn busy(fake: &Fake) -> Volgc {
    let volgc = volgc(fake, &NEVER.replace("\"enforce\"", "\"quarantine\""));
    volgc.ok(&["sweep"]);
    volgc
}

#[test]
fn lines_for_the_journal_have_a_priority_and_no_time() {
    let fake = Fake::start();
    let log = logged(&busy(&fake), |device, inode| format!("{device}:{inode}"));
    assert!(log.contains("event=\"quarantined\""), "{log}");
    for line in log.lines() {
        let rest = line.strip_prefix("<6>").or(line.strip_prefix("<4>")).unwrap_or_else(|| panic!("{line}"));
        assert!(!rest.starts_with(|c: char| c.is_ascii_digit()) && !line.contains('\u{1b}'), "{line}");
    }
}

#[test]
fn a_stderr_that_is_not_the_journals_gets_text() {
    let fake = Fake::start();
    let log = logged(&busy(&fake), |device, inode| format!("{device}:{}", inode + 1));
    assert!(log.contains("event=\"quarantined\"") && log.starts_with("20"), "{log}");
}

#[test]
fn json_is_json() {
    let fake = Fake::start();
    let Output { stderr, .. } = busy(&fake).env("VOLGC_LOG", "info").run(&["--log-format", "json", "sweep"]);
    let lines: Vec<serde_json::Value> =
        stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["fields"]["event"] == "quarantined"), "{stderr}");
}

#[test]
fn the_journal_gets_fields_and_nothing_twice() {
    let fake = Fake::start();
    let volgc = busy(&fake);
    let directory = fake.dir().join("journal");
    fs::create_dir(&directory).unwrap();
    let journal = UnixDatagram::bind(directory.join("socket")).unwrap();
    journal.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let stderr = fake.dir().join("stderr");
    let product = volgc.command(&["sweep"]);
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c"]).arg(
        "set -e; mount -t tmpfs none /run; mkdir -p /run/systemd/journal; mount --bind \"$0\" /run/systemd/journal\n\
         exec 2>\"$1\"; shift; export JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2); exec \"$@\"",
    );
    command.arg(&directory).arg(&stderr).arg(product.get_program()).args(product.get_args()).env_clear();
    command
        .envs(product.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("VOLGC_LOG", "info");
    assert!(command.status().unwrap().success(), "{}", fs::read_to_string(&stderr).unwrap());
    assert_eq!(fs::read_to_string(&stderr).unwrap(), "");
    let mut message = vec![0; 65536];
    loop {
        let length = journal.recv(&mut message).expect("no message with these fields came");
        let text = String::from_utf8_lossy(&message[..length]);
        let has = |word: &str| text.contains(word);
        if has("VOLGC_EVENT") && has("quarantined") {
            assert!(
                has("VOLGC_VOLUME")
                    && has("orphan")
                    && has("VOLGC_ENTRY")
                    && has("PRIORITY\n\u{1}\0\0\0\0\0\0\u{0}6\n"),
                "{text}"
            );
            assert!(has("SYSLOG_IDENTIFIER") && has("volgc"), "{text}");
            break;
        }
    }
}

#[test]
fn check_prints_the_next_five_sweeps() {
    let fake = Fake::start();
    let volgc =
        volgc(&fake, &NEVER.replace("interval = \"1d\"", "cron = \"30 2 * * 0\"\ntimezone = \"UTC\""));
    let Output { stdout, .. } = volgc.run(&["check"]);
    assert_eq!(stdout.lines().filter(|line| line.contains("T02:30:00Z")).count(), 5, "{stdout}");
}

#[test]
fn a_deletion_feeds_the_watchdog_for_as_long_as_it_goes_on() {
    let fake = Fake::start();
    let volgc = volgc(&fake, &NEVER.replace("1d", "1s"));
    let data = fake.volume_data("orphan");
    for directory in 0..600 {
        let directory = data.join(format!("d{directory}"));
        fs::create_dir(&directory).unwrap();
        for file in 0..100 {
            File::create(directory.join(format!("f{file}"))).unwrap();
        }
    }
    // Slowed down from outside, so that it takes many times the watchdog's limit.
    let limit = Duration::from_secs(2);
    let daemon = Daemon::watched(&volgc, limit);
    let quarantine = fake.root().join("volgc");
    let is_deleting = || {
        let entries = fs::read_dir(&quarantine).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name()).any(|name| name.to_string_lossy().starts_with("deleting-"))
    };
    harness::wait_until("its deletion begins", is_deleting);
    let began = Instant::now();
    while is_deleting() {
        daemon.signal(Signal::STOP);
        sleep(Duration::from_millis(140));
        daemon.signal(Signal::CONT);
        sleep(Duration::from_millis(10));
    }
    let took = began.elapsed();
    let fed: Vec<Instant> = daemon
        .messages()
        .into_iter()
        .filter(|(_, text)| text.contains("WATCHDOG=1"))
        .map(|(at, _)| at)
        .collect();
    let mut during: Vec<Instant> = fed.into_iter().filter(|at| *at > began && *at < began + took).collect();
    during.push(began + took);
    assert!(took > limit * 3 / 2, "too fast to tell: {took:?}");
    let mut last = began;
    for at in during {
        assert!(at - last < limit, "not fed for {:?}\n{}", at - last, daemon.log());
        last = at;
    }
}
