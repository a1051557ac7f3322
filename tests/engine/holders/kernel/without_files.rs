//! Sockets, watches, swap, exports: in use without being open.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use harness::{Contents, NO_GRACE, PrivateEngine, Volgc, on_each_engine};

use super::{Holding, TakenAway, assert_goes, assert_kept_as, run};

fn held(engine: &PrivateEngine) -> Contents<'_> {
    let mut kept = Contents::new(engine);
    kept.volume("held");
    kept
}

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
        engine.create_volume("held", &[]);
        let data = engine.volume_data("held");
        // By an absolute path, by one relative to a directory that was left, and renamed since.
        let whole = data.join("whole.sock").display().to_string();
        for words in [&[whole.as_str()][..], &["relative.sock"], &[&data.join("x.tmp").display().to_string(), "x.sock"]] {
            let mut kept = Contents::new(&engine);
            let holding = Holding::path(&engine, "socket", &data, words);
            kept.note_volume("held");
            assert_kept_as(&engine, &kept, "Unix socket bound as");
            drop(holding);
        }
        assert_goes(&engine);
    }

    fn a_watch_keeps_its_volume(engine: PrivateEngine) {
        let kept = held(&engine);
        for (how, place) in [("inotify", ""), ("inotify", "base"), ("fanotify", "PG_VERSION")] {
            let holding = Holding::path(&engine, how, &engine.volume_data("held").join(place), &[]);
            assert_kept_as(&engine, &kept, "watch (inotify or fanotify)");
            drop(holding);
        }
        assert_goes(&engine);
    }

    fn a_swap_file_keeps_its_volume(engine: PrivateEngine) {
        engine.create_volume("held", &[]);
        let data = engine.volume_data("held");
        let swap = data.join("swap");
        fs::write(&swap, vec![0; 1 << 20]).unwrap();
        fs::set_permissions(&swap, fs::Permissions::from_mode(0o600)).unwrap();
        run("mkswap", &[&swap]);
        let mut kept = Contents::new(&engine);
        kept.note_volume("held");
        run("swapon", &[&swap]);
        let off = TakenAway("swapoff", vec![swap.clone()]);
        assert_kept_as(&engine, &kept, "swap file");
        drop(off);
        // The namespace is gone in which it was given that name.
        let script = r#"mount --bind "$1" /mnt; swapon /mnt/swap; echo ready; read x"#;
        drop(Holding::apart(script, &[&data]));
        let off = TakenAway("swapoff", vec![swap]);
        assert_kept_as(&engine, &kept, "swap file");
        drop(off);
        assert_goes(&engine);
    }

    fn an_export_of_nfs_keeps_its_volume(engine: PrivateEngine) {
        let kept = held(&engine);
        let exports = Exports::of(&engine, &engine.volume_data("held").join("base"));
        assert_kept_as(&engine, &kept, "NFS exports");
        drop(exports);
        let link = engine.dir().join("a link");
        symlink(engine.volumes_dir().join("held"), &link).unwrap();
        let exports = Exports::of(&engine, &link.join("_data"));
        assert_kept_as(&engine, &kept, "NFS exports");
        drop(exports);
        // What lies above every volume holds none of them, and is told.
        let exports = Exports::of(&engine, &engine.root());
        let volgc = Volgc::configured(&engine, NO_GRACE);
        assert!(volgc.ok(&["report"]).contains("lies above every volume"));
        assert_eq!(volgc.told_of("held")["holders"].as_array().unwrap().len(), 0);
        drop(exports);
        assert_goes(&engine);
    }
}
