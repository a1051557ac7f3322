//! Paths that lead nowhere or cannot be looked at. One of them never stops what it does not concern, and is named.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{chown, symlink};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use harness::{NO_GRACE, PrivateEngine, Volgc, on_each_engine};
use serde_json::Value;

use super::{assert_held, create, notes, put, shown};

/// What is free goes, and no volume is held.
#[track_caller]
fn assert_collected(engine: &PrivateEngine) -> Volgc {
    put(engine, "free");
    let volgc = Volgc::configured(engine, NO_GRACE);
    volgc.sweep_twice();
    assert_eq!(engine.volume_names(), Vec::<String>::new());
    volgc
}

fn bind(path: &std::path::Path) -> String {
    format!("{}:/data", shown(path))
}

/// A FUSE mount where the engine sees it. It is taken away at the end.
struct Pool<'a> {
    engine: &'a PrivateEngine,
    place: PathBuf,
    device: Option<File>,
}

impl<'a> Pool<'a> {
    /// With a container that binds `x` in it.
    fn with_container(engine: &'a PrivateEngine, container: &str, user: u32) -> Self {
        let place = engine.dir().join(container);
        fs::create_dir_all(place.join("x")).unwrap();
        create(engine, container, &["-v", &bind(&place.join("x"))]);
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").unwrap();
        let options = format!("fd=0,rootmode=40000,user_id={user},group_id={user}");
        // Newer `mount` of util-linux fail because they may not look at what they have mounted.
        let busybox = engine.dir().join("busybox");
        fs::copy("/bin/busybox", &busybox).unwrap();
        let output = engine
            .command_inside(&shown(&busybox))
            .args(["mount", "-i", "-t", "fuse", "-o", &options, "pool"])
            .arg(&place)
            .stdin(device.try_clone().unwrap())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        Self { engine, place, device: Some(device) }
    }

    /// Greets the kernel, and answers nothing else, ever.
    fn answer_init_alone(&self) {
        let mut device = self.device.as_ref().unwrap();
        let mut request = vec![0; 1 << 17];
        let length = device.read(&mut request).unwrap();
        assert_eq!((length > 40, request[4]), (true, 26), "it is no FUSE_INIT");
        let mut answer = [0_u8; 80];
        answer[0] = 80;
        answer[8..16].copy_from_slice(&request[8..16]);
        answer[16] = 7;
        answer[20] = 31;
        answer[36..40].copy_from_slice(&4096_u32.to_ne_bytes());
        device.write_all(&answer).unwrap();
    }
}

impl Drop for Pool<'_> {
    fn drop(&mut self) {
        self.device.take();
        self.engine.command_inside("umount").arg("-l").arg(&self.place).status().ok();
    }
}

on_each_engine! {
    fn impossible_binds_hold_nothing_and_stop_nothing(engine: PrivateEngine) {
        let place = engine.dir().join("odd");
        fs::create_dir(&place).unwrap();
        create(&engine, "loop", &["-v", &bind(&place.join("loop/x"))]);
        symlink("loop", place.join("loop")).unwrap();
        create(&engine, "name", &["-v", &bind(&place.join("n".repeat(300)).join("x"))]);
        create(&engine, "path", &["-v", &bind(&place.join("n/".repeat(2500)))]);
        create(&engine, "file", &["-v", &bind(&place.join("file/x"))]);
        fs::write(place.join("file"), "").unwrap();
        let volgc = assert_collected(&engine);
        assert!(!notes(&volgc).contains("any volume"), "{}", notes(&volgc));
    }

    /// What it needs on the way is held all the same.
    fn a_loop_in_a_volume_holds_that_volume(engine: PrivateEngine) {
        put(&engine, "knot");
        create(&engine, "loop", &["-v", &bind(&engine.volume_data("knot").join("loop/x"))]);
        symlink("loop", engine.volume_data("knot").join("loop")).unwrap();
        assert_held(&engine, &["knot"], "container", "loop");
    }

    /// A FUSE mount of a user refuses root, and the engine too.
    fn a_pool_that_refuses_us_holds_nothing_and_is_named(engine: PrivateEngine) {
        let _pool = Pool::with_container(&engine, "denied", 1000);
        let volgc = assert_collected(&engine);
        let notes = notes(&volgc);
        assert!(notes.contains("container denied") && notes.contains("FUSE"), "{notes}");
    }

    fn a_pool_that_is_dead_holds_nothing_and_is_named(engine: PrivateEngine) {
        let mut pool = Pool::with_container(&engine, "dead", 0);
        pool.device.take();
        let volgc = assert_collected(&engine);
        let notes = notes(&volgc);
        assert!(notes.contains("container dead") && notes.contains("FUSE"), "{notes}");
    }

    fn a_pool_that_hangs_holds_nothing_up(engine: PrivateEngine) {
        let pool = Pool::with_container(&engine, "hung", 0);
        create(&engine, "other", &["-v", &bind(&pool.place.join("y"))]);
        pool.answer_init_alone();
        put(&engine, "free");
        let volgc = Volgc::configured(&engine, NO_GRACE).env("VOLGC_FAULT", "look.patience=500");
        let began = Instant::now();
        volgc.sweep_twice();
        assert!(began.elapsed() < Duration::from_mins(2), "{:?}", began.elapsed());
        assert_eq!(engine.volume_names(), Vec::<String>::new());
        let notes = notes(&volgc);
        assert!(notes.contains("container hung") && notes.contains("container other"), "{notes}");
        assert!(notes.contains("does not answer"), "{notes}");
    }

    /// Elsewhere a refusal is ours alone: the engine may be let through, and a link behind it may lead into any volume.
    fn a_directory_that_refuses_us_may_lead_anywhere(engine: PrivateEngine) {
        let locked = engine.dir().join("locked");
        fs::create_dir_all(locked.join("x")).unwrap();
        create(&engine, "app", &["-v", &bind(&locked.join("x"))]);
        put(&engine, "db");
        chown(&locked, Some(1000), Some(1000)).unwrap();
        Command::new("chmod").arg("700").arg(&locked).status().unwrap();
        let volgc = Volgc::configured(&engine, NO_GRACE);
        let command = volgc.command(&["report", "--format", "json", "--no-sizes"]);
        let mut bounded = Command::new("setpriv");
        bounded.arg("--bounding-set=-dac_override,-dac_read_search").arg(command.get_program()).args(command.get_args());
        let output = bounded.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let holder = &report["volumes"][0]["holders"][0];
        assert_eq!((holder["kind"].as_str(), holder["name"].as_str()), (Some("container"), Some("app")), "{report:#}");
        let notes = report["notes"].to_string();
        assert!(notes.contains("container app") && notes.contains("locked"), "{notes}");
    }
}
