//! Sockets, watches, swap, exports: in use without being open.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{Contents, NO_GRACE, PrivateEngine, Volgc, on_each_engine};

use super::{Holding, TakenAway, assert_goes, assert_kept_as, held, make_held, own, program, run};

/// Lines that NFS exports, in a file of their own, for as long as this is there.
struct Exports(PathBuf);

impl Exports {
    fn of(engine: &PrivateEngine, path: &Path) -> Self {
        fs::create_dir_all("/etc/exports.d").unwrap();
        let name = engine.dir().file_name().unwrap().to_string_lossy().into_owned();
        let file = Path::new("/etc/exports.d").join(format!("{name}.exports"));
        fs::write(&file, format!("# for a test\n\"{}\" *(ro)\n", path.display())).unwrap();
        Self(file)
    }
}

impl Drop for Exports {
    fn drop(&mut self) {
        fs::remove_file(&self.0).unwrap();
    }
}

on_each_engine! {
    fn a_socket_that_listens_in_a_volume_keeps_it(engine: PrivateEngine) {
        engine.create_volume(&held(&engine), &[]);
        let data = engine.volume_data(&held(&engine));
        // By an absolute path, by one relative to a directory that was left, renamed since, and by a descriptor, as conmon does.
        let [whole, relative, before, after, attach] =
            ["whole", "relative", "before", "after", "attach"].map(|name| own(&engine, name));
        let attach = format!("/proc/self/fd/13/{attach}");
        let inside = |name: &str| data.join(name).display().to_string();
        for words in [&[inside(&whole).as_str()][..], &[&relative], &[&inside(&before), &after], &[&attach]] {
            let mut kept = Contents::new(&engine);
            let holding = Holding::path(&engine, "socket", &data, words);
            kept.note_volume(&held(&engine));
            assert_kept_as(&engine, &kept, "Unix socket bound as");
            drop(holding);
        }
        assert_goes(&engine);
    }

    /// As that of a log daemon, and of a server in a network namespace of its own.
    fn a_socket_for_datagrams_or_of_another_network_keeps_its_volume(engine: PrivateEngine) {
        engine.create_volume(&held(&engine), &[]);
        let data = engine.volume_data(&held(&engine));
        let [log, server] = ["log", "server"].map(|name| own(&engine, name));
        let holder = program(&engine);
        let mut apart = Command::new("unshare");
        apart.arg("--net").arg(&holder).arg("socket").arg(&data).arg(&server);
        let mut datagrams = Command::new(&holder);
        datagrams.arg("datagrams").arg(&data).arg(&log);
        for mut command in [apart, datagrams] {
            let mut kept = Contents::new(&engine);
            let holding = Holding::start(&mut command);
            kept.note_volume(&held(&engine));
            assert_kept_as(&engine, &kept, "Unix socket bound as");
            drop(holding);
        }
        assert_goes(&engine);
    }

    fn a_watch_keeps_its_volume(engine: PrivateEngine) {
        let kept = make_held(&engine);
        for (how, place) in [("inotify", ""), ("inotify", "base"), ("fanotify", "PG_VERSION")] {
            let holding = Holding::path(&engine, how, &engine.volume_data(&held(&engine)).join(place), &[]);
            assert_kept_as(&engine, &kept, "watch (inotify or fanotify)");
            drop(holding);
        }
        assert_goes(&engine);
    }

    fn a_swap_file_keeps_its_volume(engine: PrivateEngine) {
        engine.create_volume(&held(&engine), &[]);
        let data = engine.volume_data(&held(&engine));
        let name = own(&engine, "swap");
        let swap = data.join(&name);
        fs::write(&swap, vec![0; 1 << 20]).unwrap();
        fs::set_permissions(&swap, fs::Permissions::from_mode(0o600)).unwrap();
        run("mkswap", &[&swap]);
        let mut kept = Contents::new(&engine);
        kept.note_volume(&held(&engine));
        run("swapon", &[&swap]);
        let off = TakenAway("swapoff", vec![swap.clone()]);
        assert_kept_as(&engine, &kept, "swap file");
        drop(off);
        // The namespace is gone in which it was given that name.
        let script = r#"mount --bind "$1" /mnt; swapon "/mnt/$2"; echo ready; read x"#;
        drop(Holding::apart(script, &[&data, name.as_ref()]));
        let off = TakenAway("swapoff", vec![swap]);
        assert_kept_as(&engine, &kept, "swap file");
        drop(off);
        assert_goes(&engine);
    }

    fn an_export_of_nfs_keeps_its_volume(engine: PrivateEngine) {
        let kept = make_held(&engine);
        let exports = Exports::of(&engine, &engine.volume_data(&held(&engine)).join("base"));
        assert_kept_as(&engine, &kept, "NFS exports");
        drop(exports);
        let link = engine.dir().join("a link");
        symlink(engine.volumes_dir().join(held(&engine)), &link).unwrap();
        let exports = Exports::of(&engine, &link.join("_data"));
        assert_kept_as(&engine, &kept, "NFS exports");
        drop(exports);
        // What lies above every volume holds none of them, and is told.
        let exports = Exports::of(&engine, &engine.root());
        let volgc = Volgc::configured(&engine, NO_GRACE);
        assert!(volgc.ok(&["report"]).contains("lies above every volume"));
        assert_eq!(volgc.told_of(&held(&engine))["holders"].as_array().unwrap().len(), 0);
        drop(exports);
        assert_goes(&engine);
    }
}
