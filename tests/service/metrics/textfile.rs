//! `volgc report --textfile`.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::metrics::reader::sample;
use crate::metrics::{CONFIG, scene};
use harness::on_each_engine;
use harness::recording::Recording;

on_each_engine! {
    fn a_report_replaces_the_file_and_asks_with_get_alone(engine: PrivateEngine) {
        let volgc = scene(&engine);
        volgc.sweep_twice();
        let proxy = Recording::start(&engine.dir().join("p"), &engine.socket());
        volgc.config(&CONFIG.replace("{socket}", &proxy.socket().display().to_string()));
        let dir = engine.dir().join("collector");
        fs::create_dir(&dir).unwrap();
        let file = dir.join("volgc.prom");
        fs::write(&file, "old").unwrap();
        let words = ["report", "--textfile", file.to_str().unwrap()];
        assert_eq!(volgc.ok(&words), "", "it prints nothing");
        assert!(proxy.take().iter().all(|asked| asked.starts_with("GET ")));
        let names: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["volgc.prom"], "nothing stays beside it");
        let text = fs::read_to_string(&file).unwrap();
        let is = |name: &str, value: f64| {
            assert_eq!(sample(&text, name), Some(value), "{name} in\n{text}");
        };
        is("volgc_volumes{state=\"held\",class=\"named\"}", 1.0);
        is("volgc_volumes{state=\"kept\",class=\"named\"}", 2.0);
        is("volgc_quarantined_total", 3.0);
        is("volgc_restored_total", 1.0);
        is("volgc_deleted_total", 1.0);
        is("volgc_unmeasured_volumes", 0.0);
        is("volgc_refused{reason=\"other_engine\"}", 0.0);
        assert!(sample(&text, "volgc_reclaimed_bytes_total").unwrap() >= 100_000.0, "{text}");
        assert!(sample(&text, "volgc_reclaimable_bytes{state=\"kept\",class=\"named\"}").unwrap() >= 200_000.0);
        assert!(sample(&text, "volgc_last_success_timestamp_seconds").is_some());
        assert_eq!(sample(&text, "volgc_engine_up"), None, "only the service knows");
        assert!(!text.contains("kept-a") && !text.contains("slow-a"), "no volume is named:\n{text}");

        // As node_exporter reads it.
        let mut check = Command::new("/usr/bin/promtool");
        let mut check = check.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        check.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = check.wait_with_output().unwrap();
        assert!(output.status.success(), "{}\n{text}", harness::show(&output));

        // Without sizes they are unmeasured, and not 0.
        volgc.ok(&["report", "--no-sizes", "--textfile", file.to_str().unwrap()]);
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(sample(&text, "volgc_unmeasured_volumes"), Some(3.0), "{text}");

        // A failure leaves the file as it was: its age tells.
        volgc.config(&CONFIG.replace("{socket}", "/nowhere"));
        let output = volgc.run(&words);
        assert_eq!(output.status, Some(1), "{output:?}");
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
        volgc.config(CONFIG);
        let output = volgc.run(&["report", "--textfile", "/nowhere/volgc.prom"]);
        assert_eq!(output.status, Some(1), "{output:?}");
        assert!(output.stderr.contains("cannot write /nowhere/volgc.prom: No such file"), "{output:?}");
        assert_eq!(volgc.run(&["report", "--format", "json", "--textfile", "x"]).status, Some(2));
    }
}
