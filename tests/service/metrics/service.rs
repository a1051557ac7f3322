//! What the service serves, to whom, and for how long.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::net::TcpStream;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use crate::metrics::reader::{Running, ask, await_sample, await_that, get, get_unix, sample};
use crate::metrics::{CONFIG, documents, scene};
use harness::{Volgc, on_each_engine};

/// The names of the samples, without labels and without what makes a histogram of one.
fn names(text: &str) -> BTreeSet<String> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples.map(|line| line.split(['{', ' ']).next().unwrap().to_owned()).collect()
}

on_each_engine! {
    fn what_is_served_is_true_and_documented(engine: PrivateEngine) {
        let volgc = scene(&engine);
        let service = Running::start(&volgc);
        let address = service.address();
        await_sample(address, "volgc_quarantined_total", 3.0);
        let text = await_sample(address, "volgc_quarantine_entries{state=\"quarantined\"}", 1.0);
        let is = |name: &str, value: f64| assert_eq!(sample(&text, name), Some(value), "{name} in\n{text}");
        is("volgc_mode{mode=\"enforce\"}", 1.0);
        is("volgc_volumes{state=\"held\",class=\"named\"}", 1.0);
        is("volgc_volumes{state=\"kept\",class=\"named\"}", 2.0);
        is("volgc_volumes{state=\"grace\",class=\"named\"}", 1.0);
        is("volgc_restored_total", 1.0);
        is("volgc_deleted_total", 1.0);
        is("volgc_engine_up", 1.0);
        assert!(sample(&text, "volgc_quarantine_bytes").unwrap() >= 100_000.0);
        assert!(sample(&text, "volgc_sweeps_total{result=\"done\"}").unwrap() >= 2.0);
        let text = await_sample(address, "volgc_unmeasured_volumes", 0.0);
        assert!(sample(&text, "volgc_reclaimable_bytes{state=\"kept\",class=\"named\"}").unwrap() >= 200_000.0);
        let soon = sample(&text, "volgc_next_deletion_timestamp_seconds").unwrap();
        let taken = sample(&text, "volgc_last_look_timestamp_seconds").unwrap();
        assert!((3500.0..3700.0).contains(&(soon - taken)), "{soon} {taken}");
        assert_eq!(names(&text), documents::documented(), "README.md and what is served");
        assert!(!text.contains("kept-a") && !text.contains("due-a"), "no volume is named:\n{text}");
        assert_eq!(get(address, "/healthz").status, 200);
        assert_eq!(get(address, "/readyz").status, 200);

        // What the history adds up to survives a restart, and so does the last success; sweeps are counted anew.
        service.end();
        volgc.config(&CONFIG.replace("interval = \"1s\"", "interval = \"1h\""));
        let service = Running::start(&volgc);
        let address = service.address();
        let text = await_sample(address, "volgc_quarantined_total", 3.0);
        assert!(sample(&text, "volgc_last_success_timestamp_seconds").is_some(), "{text}");
        assert!(sample(&text, "volgc_reclaimed_bytes_total").unwrap() >= 100_000.0, "{text}");
        service.end();
    }

    fn an_engine_that_is_gone_is_seen(engine: PrivateEngine) {
        let volgc = Volgc::new(&engine);
        let config = CONFIG.replace("{socket}", "/nowhere.sock");
        volgc.config(&config);
        let service = Running::start(&volgc);
        let address = service.address();
        await_sample(address, "volgc_engine_up", 0.0);
        let ready = get(address, "/readyz");
        assert_eq!(ready.status, 503, "{ready:?}");
        assert!(ready.body.contains("no look was complete"), "{ready:?}");
        assert_eq!(get(address, "/healthz").status, 200, "the loop lives");
        let text = get(address, "/metrics").body;
        assert_eq!(sample(&text, "volgc_volumes{state=\"held\",class=\"named\"}"), None, "unknown is not 0:\n{text}");
        service.end();
    }

    fn a_brake_is_seen(engine: PrivateEngine) {
        let volgc = Volgc::new(&engine);
        volgc.config(CONFIG);
        volgc.ok(&["sweep"]);
        let set = "UPDATE meta SET engine_id = 'another'";
        let ledger = volgc.state_dir().join("ledger.db");
        rusqlite::Connection::open(ledger).unwrap().execute(set, []).unwrap();
        let service = Running::start(&volgc);
        let address = service.address();
        let text = await_sample(address, "volgc_refused{reason=\"other_engine\"}", 1.0);
        assert_eq!(sample(&text, "volgc_refused{reason=\"podman\"}"), Some(0.0));
        await_sample(address, "volgc_sweeps_total{result=\"refused\"}", 1.0);
        volgc.ok(&["acknowledge"]);
        await_sample(address, "volgc_refused{reason=\"other_engine\"}", 0.0);
        service.end();
    }

    fn nothing_but_reading_is_served_and_slow_readers_stop_nobody(engine: PrivateEngine) {
        let volgc = scene(&engine);
        let service = Running::start(&volgc);
        let address = service.address();
        let connect = || {
            let stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
            stream
        };
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            let request = format!("{method} /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
            let answer = ask(connect(), &request);
            assert_eq!(answer.status, 405, "{answer:?}");
            assert!(answer.head.to_lowercase().contains("allow: get, head"), "{answer:?}");
        }
        let answer = ask(connect(), "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{answer:?}");
        assert_eq!(get(address, "/").status, 404);
        assert_eq!(get(address, "/metrics?x=1").status, 200);
        let answer = ask(connect(), &format!("GET /metrics HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(20_000)));
        assert_eq!(answer.status, 431, "{answer:?}");
        let openmetrics = "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: application/openmetrics-text\r\n\r\n";
        let answer = ask(connect(), openmetrics);
        assert!(answer.head.contains("application/openmetrics-text; version=1.0.0"), "{answer:?}");
        assert!(answer.body.ends_with("# EOF\n"), "{answer:?}");

        // More silent connections than there are places. Sweeps go on, and the next reader gets in when they are thrown out.
        let before = sample(&get(address, "/metrics").body, "volgc_sweeps_total{result=\"done\"}").unwrap();
        let mut silent: Vec<TcpStream> = (0..40).map(|_| connect()).collect();
        let began = Instant::now();
        let text = get(address, "/metrics").body;
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
        assert!(began.elapsed() > Duration::from_secs(3), "the judge: all places were taken");
        let after = sample(&text, "volgc_sweeps_total{result=\"done\"}").unwrap();
        assert!(after > before, "{before} {after}");
        // The first has been closed.
        let mut rest = Vec::new();
        silent[0].read_to_end(&mut rest).unwrap();
        service.end();
    }

    fn a_socket_is_made_and_taken_away_and_never_taken_over(engine: PrivateEngine) {
        let volgc = Volgc::new(&engine);
        let socket = engine.dir().join("m.sock");
        let listen = format!("unix://{}", socket.display());
        let config = CONFIG.replace("127.0.0.1:0", &listen);
        volgc.config(&config);
        // One that a killed process left behind is replaced.
        drop(UnixListener::bind(&socket).unwrap());
        let service = Running::start(&volgc);
        await_that("it listens", || service.log().contains(&listen));
        assert_eq!(get_unix(&socket, "/healthz").status, 200);
        await_that("it is ready", || get_unix(&socket, "/readyz").status == 200);

        // One that is listened on is not, and the second service says so and ends.
        let second = Volgc::new(&engine);
        second.config(&config);
        let output = second.run(&["run"]);
        assert_eq!(output.status, Some(1), "{output:?}");
        assert!(output.stderr.contains("cannot serve metrics at the socket"), "{output:?}");
        assert_eq!(get_unix(&socket, "/healthz").status, 200);
        service.end();
        assert!(!socket.exists());

        // Nor is a file of somebody's.
        fs::write(&socket, "precious").unwrap();
        let output = second.run(&["run"]);
        assert_eq!(output.status, Some(1), "{output:?}");
        assert!(!fs::metadata(&socket).unwrap().file_type().is_socket());
        assert_eq!(fs::read_to_string(&socket).unwrap(), "precious");
    }

    fn other_machines_are_refused_until_that_is_said(engine: PrivateEngine) {
        let volgc = Volgc::new(&engine);
        let open = CONFIG.replace("127.0.0.1:0", "0.0.0.0:0");
        volgc.config(&open);
        let output = volgc.run(&["run"]);
        assert_eq!(output.status, Some(2), "{output:?}");
        assert!(output.stderr.contains("add `allow_non_loopback = true` if that is meant"), "{output:?}");
        volgc.config(&open.replace("[metrics]", "[metrics]\nallow_non_loopback = true"));
        let service = Running::start(&volgc);
        await_that("it listens", || service.log().contains("http://0.0.0.0:"));
        service.end();
    }
}
