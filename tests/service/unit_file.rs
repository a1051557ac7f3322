//! The systemd units as they are installed: how hardened they are, and that volgc sees through its own sandbox or says that it
//! does not.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use harness::{NO_GRACE, Volgc, on_each_engine, show, wait_until};

fn unit(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

/// The value of a setting that is given once.
fn setting(unit: &Path, key: &str) -> String {
    let text = fs::read_to_string(unit).unwrap();
    let values: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect();
    assert_eq!(values.len(), 1, "{key} in {}: {values:?}", unit.display());
    values[0].to_owned()
}

fn analyze(arguments: &[&str], unit: &Path) -> Output {
    Command::new("systemd-analyze")
        .args(arguments)
        .arg(unit)
        .env("SYSTEMD_COLORS", "0")
        .output()
        .unwrap_or_else(|error| panic!("cannot run systemd-analyze: {error}: run tests/setup"))
}

/// What systemd says of a unit: from 0 (locked up) to 10 (as root without any limit).
fn exposure(unit: &Path) -> f64 {
    let output = analyze(&["security", "--offline=true", "--no-pager"], unit);
    assert!(output.status.success(), "{}", show(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = text.split("Overall exposure level for").nth(1).unwrap_or_else(|| panic!("{text}"));
    told.split(':').nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn the_units_are_hardened() {
    for (name, most) in [("volgc.service", 2.5), ("volgc-report.service", 2.5)] {
        let exposure = exposure(&unit(name));
        assert!(exposure <= most, "{name}: {exposure}");
    }
}

#[test]
fn the_units_are_valid() {
    // `verify` looks for the program.
    let directory = tempfile::tempdir().unwrap();
    for name in ["volgc.service", "volgc-report.service", "volgc-report.timer"] {
        let text = fs::read_to_string(unit(name)).unwrap();
        let text = text.replace("/usr/bin/volgc", "/bin/true");
        let without_pages: Vec<&str> =
            text.lines().filter(|line| !line.starts_with("Documentation=")).collect();
        fs::write(directory.path().join(name), without_pages.join("\n") + "\n").unwrap();
    }
    for name in ["volgc.service", "volgc-report.timer"] {
        let output = analyze(&["verify", "--man=no", "--recursive-errors=no"], &directory.path().join(name));
        assert!(output.status.success() && output.stderr.is_empty(), "{name}: {}", show(&output));
    }
}

#[test]
fn nothing_in_the_unit_blinds_the_witnesses_or_parts_the_data() {
    for name in ["volgc.service", "volgc-report.service"] {
        let text = fs::read_to_string(unit(name)).unwrap();
        let blinding = [
            "ProtectProc=",
            "ProcSubset=",
            "PrivatePIDs=",
            "PrivateTmp=",
            "PrivateDevices=",
            "PrivateUsers=",
            "RootDirectory=",
        ];
        for key in blinding {
            assert!(!text.lines().any(|line| line.starts_with(key)), "{name}: {key}");
        }
        assert!(setting(&unit(name), "CapabilityBoundingSet").contains("CAP_SYS_PTRACE"), "{name}");
    }
    // Two paths below the docker root would be two mounts, and no rename goes across.
    assert_eq!(setting(&unit("volgc.service"), "ReadWritePaths"), "-/var/lib/docker");
    assert_eq!(setting(&unit("volgc.service"), "Type"), "notify");
}

/// Every system call of a set, as `systemd-analyze syscall-filter` lists it; sets inside of it as well.
fn calls(set: &str) -> BTreeSet<String> {
    let output = Command::new("systemd-analyze").args(["syscall-filter", set]).output().unwrap();
    assert!(output.status.success(), "{}", show(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = text.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    words
        .flat_map(|word| if word.starts_with('@') { calls(word) } else { BTreeSet::from([word.to_owned()]) })
        .collect()
}

/// What the unit allows: its lines in order, as systemd reads them (`systemd.exec(5)`).
fn allowed(unit: &Path) -> BTreeSet<String> {
    // In every list of what is allowed, said or not.
    let mut allowed = calls("@default");
    for line in fs::read_to_string(unit).unwrap().lines() {
        let Some(value) = line.strip_prefix("SystemCallFilter=") else { continue };
        let (sets, takes) = value.strip_prefix('~').map_or((value, false), |sets| (sets, true));
        for set in sets.split(' ') {
            let calls = calls(set);
            if takes {
                allowed.retain(|call| !calls.contains(call));
            } else {
                allowed.extend(calls);
            }
        }
    }
    allowed
}

/// The system calls that a command makes.
fn made(volgc: &Volgc, arguments: &[&str], limit: &str) -> BTreeSet<String> {
    let (status, text) = volgc.traced(&["timeout", "--signal=TERM", limit], arguments);
    assert!(matches!(status.code(), Some(0 | 124)), "{status}\n{text}");
    let call = |line: &str| {
        let (_, rest) = line.split_once(' ')?;
        let (name, _) = rest.trim_start().split_once('(')?;
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_').then(|| name.to_owned())
    };
    text.lines().filter_map(call).collect()
}

/// The program with the capabilities of the unit, or fewer.
fn confined(volgc: &Volgc, without: &str, arguments: &[&str]) -> Output {
    let set = setting(&unit("volgc.service"), "CapabilityBoundingSet");
    let kept = set.split(' ').filter(|name| *name != without);
    let kept: Vec<String> =
        kept.map(|name| format!("+{}", name.strip_prefix("CAP_").unwrap().to_lowercase())).collect();
    let kept = format!("-all,{}", kept.join(","));
    let product = volgc.command(arguments);
    Command::new("setpriv")
        .args(["--no-new-privs", "--inh-caps=-all", "--bounding-set", &kept])
        .arg(product.get_program())
        .args(product.get_args())
        .env_clear()
        .envs(product.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .output()
        .unwrap_or_else(|error| panic!("cannot run setpriv: {error}: run tests/setup"))
}

/// A process in a mount namespace of its own, which has a volume mounted that no container names.
struct Elsewhere(Child);

impl Elsewhere {
    fn mount(data: &Path, ready: &Path) -> Self {
        let child = Command::new("unshare")
            .args(["--mount", "sh", "-c", "mount --bind \"$0\" /mnt && : >\"$1\" && read x"])
            .arg(data)
            .arg(ready)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        wait_until("the volume is mounted elsewhere", || ready.exists());
        Self(child)
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

on_each_engine! {
    fn with_the_units_capabilities_mounts_elsewhere_are_seen_and_volumes_moved(engine: PrivateEngine) {
        let _together = crate::no_closed_namespaces();
        for name in ["mounted", "free"] {
            engine.create_volume(name, &[]);
            engine.fill_volume(name, 5);
        }
        // Data that only its owner may read, as databases have it.
        std::os::unix::fs::chown(engine.volume_data("free"), Some(4242), Some(4242)).unwrap();
        let mounted = Elsewhere::mount(&engine.volume_data("mounted"), &engine.dir().join("ready"));
        let volgc = Volgc::configured(&engine, NO_GRACE);
        let digest = harness::tree_digest(&engine.volume_data("free"));
        volgc.config(&NO_GRACE.replace("\"enforce\"", "\"quarantine\""));
        for _ in 0..3 {
            let output = confined(&volgc, "", &["sweep"]);
            assert!(output.status.success(), "{}", show(&output));
        }
        assert_eq!(engine.volume_names(), ["mounted"]);
        let held = &volgc.told_of("mounted")["holders"][0];
        assert_eq!((&held["witness"], &held["kind"]), (&"kernel".into(), &"mount".into()), "{held}");
        // The way back needs owner and mode to be set, and deletion to look into what others own.
        let output = confined(&volgc, "", &["restore", "free"]);
        assert!(output.status.success(), "{}", show(&output));
        assert_eq!(harness::tree_digest(&engine.volume_data("free")), digest);
        drop(mounted);
        volgc.config(NO_GRACE);
        for _ in 0..4 {
            let output = confined(&volgc, "", &["sweep"]);
            assert!(output.status.success(), "{}", show(&output));
        }
        assert_eq!(engine.volume_names(), Vec::<String>::new());
        assert_eq!(volgc.entries(), Vec::<serde_json::Value>::new());
    }

    fn the_unit_allows_every_system_call_that_is_made(engine: PrivateEngine) {
        let allowed = allowed(&unit("volgc.service"));
        for denied in ["mount", "ptrace", "bpf", "reboot"] {
            assert!(!allowed.contains(denied), "{denied}");
        }
        for name in ["one", "two"] {
            engine.create_volume(name, &[]);
            engine.fill_volume(name, 5);
        }
        let volgc = Volgc::configured(&engine, &NO_GRACE.replace("\"enforce\"", "\"quarantine\""));
        let mut made = made(&volgc, &["sweep"], "100");
        made.extend(self::made(&volgc, &["sweep"], "100"));
        made.extend(self::made(&volgc, &["restore", "one"], "100"));
        volgc.config(&format!("{NO_GRACE}\n[schedule]\ninterval = \"1s\"\n"));
        made.extend(self::made(&volgc, &["run"], "20"));
        assert!(made.contains("renameat2") && made.contains("timerfd_settime") && made.contains("unlinkat"), "{made:?}");
        let missing: Vec<_> = made.difference(&allowed).collect();
        assert!(missing.is_empty(), "the unit does not allow {missing:?}");
        assert_eq!(engine.volume_names(), Vec::<String>::new());
    }

    fn without_cap_sys_ptrace_it_refuses(engine: PrivateEngine) {
        engine.create_volume("mounted", &[]);
        let _mounted = Elsewhere::mount(&engine.volume_data("mounted"), &engine.dir().join("ready"));
        let link = engine.dir().join("link");
        std::os::unix::fs::symlink(engine.volume_data("mounted"), &link).unwrap();
        engine.docker(&["create", "-v", &format!("{}:/data", link.display()), "bb", "true"]);
        let volgc = Volgc::configured(&engine, NO_GRACE);
        for command in [&["sweep"][..], &["report"], &["check"]] {
            let output = confined(&volgc, "CAP_SYS_PTRACE", command);
            let text = show(&output);
            assert!(output.status.code() == Some(4) && text.contains("CAP_SYS_PTRACE"), "{command:?}: {text}");
            // Nobody is sent to mend a path that is not broken.
            assert!(!text.contains("Mend the path") && !text.contains("/proc/1/root"), "{command:?}: {text}");
        }
        assert!(engine.volume_data("mounted").is_dir());
    }
}
