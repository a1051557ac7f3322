//! What an ordinary host has beside its volumes: none of it keeps one.

use std::fs;
use std::os::unix::fs::symlink;

use harness::{NO_GRACE, Volgc, on_each_engine};

use super::{create, mount_volume, notes, put, shown};

on_each_engine! {
    fn an_ordinary_host_is_collected(engine: PrivateEngine) {
        let host = engine.dir().join("host");
        fs::create_dir_all(host.join("srv/config")).unwrap();
        symlink("srv/config", host.join("current")).unwrap();
        let share = shown(&host.join("srv"));
        mount_volume(&engine, "local", &[("type", "none"), ("o", "bind"), ("device", &share)]);
        mount_volume(&engine, "nfs", &[("type", "nfs"), ("o", "addr=10.0.0.1,rw,soft"), ("device", ":/export/db")]);
        mount_volume(&engine, "memory", &[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=10m,uid=1000")]);
        let bind = |path: &str, to: &str| format!("{path}:{to}");
        create(&engine, "monitor", &["-v", "/etc/mtab:/mtab:ro", "-v", "/proc:/host/proc:ro", "-v", "/sys:/host/sys:ro"]);
        create(&engine, "agent", &["-v", "/:/host:ro", "-v", &bind(&shown(&engine.socket()), "/s")]);
        create(&engine, "web", &["-v", &bind(&shown(&host.join("current")), "/etc/web"), "-v", "used:/data"]);
        create(&engine, "devices", &["--device", "/dev/null", "--device", "/dev/fuse", "--tmpfs", "/run"]);
        create(&engine, "logs", &["--log-opt", "max-size=1m", "--log-opt", "tag={{.Name}}/{{.ID}}"]);
        create(&engine, "shares", &["-v", "local:/a", "-v", "nfs:/b", "-v", "memory:/c"]);
        for free in ["free", "srv", "config"] {
            put(&engine, free);
        }
        let volgc = Volgc::configured(&engine, NO_GRACE);
        volgc.sweep_twice();
        assert_eq!(engine.volume_names(), ["local", "memory", "nfs", "used"]);
        let notes = notes(&volgc);
        assert!(!notes.contains("any volume") && !notes.contains("cannot"), "{notes}");
        // Each holder once.
        let told = volgc.told_of("used");
        assert_eq!(told["holders"].as_array().unwrap().len(), 1, "{told:#}");
    }
}
