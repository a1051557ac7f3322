//! Mounts that are made of a volume, however that is written.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{Contents, NO_GRACE, PrivateEngine, Volgc, on_each_engine, show, wait_until};

use super::{Holding, Mounted, assert_goes, assert_kept_as, held, make_held, mount, own, program, run};

/// Directories below the one of the test.
fn directories<const N: usize>(engine: &PrivateEngine, names: [&str; N]) -> [PathBuf; N] {
    names.map(|name| {
        let path = engine.dir().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    })
}

#[track_caller]
fn overlay(options: &str, at: &Path) -> Mounted {
    mount(&["-t", "overlay", "overlay", "-o", options].map(Path::new), at)
}

/// A pool, and a container that reads what is in it.
struct Pool<'e> {
    engine: &'e PrivateEngine,
    at: PathBuf,
}

impl Drop for Pool<'_> {
    /// The server ends by itself some time after its mount, and holds the branches until then.
    fn drop(&mut self) {
        self.engine.docker(&["rm", "-f", "reader"]);
        harness::unmount(&self.at);
        let is_server = |entry: fs::DirEntry| {
            let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let words = String::from_utf8_lossy(&words);
            words.contains("mergerfs\0") && words.contains(&*self.at.to_string_lossy())
        };
        let is_gone = || !fs::read_dir("/proc").unwrap().flatten().any(is_server);
        wait_until("the server of the pool has ended", is_gone);
    }
}

#[track_caller]
fn pool<'e>(engine: &'e PrivateEngine, branches: &[PathBuf], at: &Path) -> Pool<'e> {
    fs::create_dir_all(at).unwrap();
    let branches: Vec<String> = branches.iter().map(|branch| branch.display().to_string()).collect();
    // The machine's program, where the engine sees its mount.
    let program = engine.dir().join("mergerfs");
    fs::copy("/usr/bin/mergerfs", &program).unwrap();
    let mut command = engine.command_inside(&program.display().to_string());
    let output = command.args(["-o", "allow_other", &branches.join(":")]).arg(at).output().unwrap();
    assert!(output.status.success(), "{}", show(&output));
    let volume = format!("{}:/data", at.display());
    engine.docker(&["run", "-d", "--name", "reader", "-v", &volume, "bb", "sleep", "1000"]);
    Pool { engine, at: at.to_owned() }
}

on_each_engine! {
    fn an_overlay_keeps_its_lower_layer_however_it_is_written(engine: PrivateEngine) {
        let kept = make_held(&engine);
        let [low, at] = directories(&engine, ["low", "at"]);
        fs::write(low.join("x"), "x").unwrap();
        let link = engine.dir().join("link");
        symlink(engine.volumes_dir(), &link).unwrap();
        let volumes = engine.volumes_dir().display().to_string();
        let held = held(&engine);
        for layer in [
            format!("{}/{held}/_data", link.display()),
            format!("/{}/.//{held}/_data/.", volumes.replace('/', "//")),
            format!("{volumes}/other/../{held}/_data/base"),
            format!("{volumes}/../volumes/{held}/_data"),
        ] {
            // What `..` goes through must be there while it is mounted.
            let other = engine.volumes_dir().join("other");
            fs::create_dir(&other).unwrap();
            let mounted = overlay(&format!("lowerdir={layer}:{}", low.display()), &at);
            fs::remove_dir(&other).unwrap();
            assert_kept_as(&engine, &kept, &at.display().to_string());
            drop(mounted);
        }
        assert_goes(&engine);
    }

    /// Through a link and a mount that there are in its own namespace alone, and as what it writes to.
    fn an_overlay_in_a_namespace_of_its_own_keeps_what_it_writes_to(engine: PrivateEngine) {
        engine.create_volume(&held(&engine), &[]);
        let data = engine.volume_data(&held(&engine));
        for part in ["up", "work"] {
            fs::create_dir(data.join(part)).unwrap();
        }
        let [low, at] = directories(&engine, ["low", "at"]);
        let script = r#"
            mount -t tmpfs none /mnt; mkdir /mnt/x; ln -s x/volumes /mnt/v; mount --bind "$1" /mnt/x
            mount -t overlay overlay -o "lowerdir=$2,upperdir=/mnt/v/$4/_data/up,workdir=/mnt/v/$4/_data/work" "$3"
            echo ready; read x
        "#;
        let holding = Holding::apart(script, &[&engine.root(), &low, &at, held(&engine).as_ref()]);
        let mut kept = Contents::new(&engine);
        kept.note_volume(&held(&engine));
        assert_kept_as(&engine, &kept, &at.display().to_string());
        drop(holding);
        assert_goes(&engine);
    }

    /// What is left of the path is the directory on which the volume was mounted. What is seen in the overlay tells.
    fn an_overlay_through_a_bind_that_is_gone_keeps_its_layer(engine: PrivateEngine) {
        let kept = make_held(&engine);
        let [low, bind, at] = directories(&engine, ["low", "bind", "at"]);
        fs::write(low.join("x"), "x").unwrap();
        for layer in ["", "/base"] {
            let bound = mount(&["--bind".as_ref(), &engine.volume_data(&held(&engine))], &bind);
            let mounted = overlay(&format!("lowerdir={}{layer}:{}", bind.display(), low.display()), &at);
            drop(bound);
            assert_kept_as(&engine, &kept, "shows its files");
            drop(mounted);
        }
        assert_goes(&engine);
    }

    fn an_erofs_keeps_the_volume_with_its_file(engine: PrivateEngine) {
        let mut kept = Contents::new(&engine);
        engine.create_volume(&held(&engine), &[]);
        let [tree, at] = directories(&engine, ["tree", "at"]);
        fs::write(tree.join("x"), "x").unwrap();
        let image = engine.volume_data(&held(&engine)).join("an image");
        run("mkfs.erofs", &[&image, &tree]);
        kept.note_volume(&held(&engine));
        let link = engine.dir().join("link");
        symlink(engine.volumes_dir().join(held(&engine)), &link).unwrap();
        for path in [image, link.join("_data/../_data/an image")] {
            let output = Command::new(program(&engine)).arg("erofs").args([&path, &at]).output().unwrap();
            if show(&output).contains("Block device required") {
                println!("this kernel mounts no EROFS from a file (Linux 6.12 does): see backing_tests.rs for recorded tables");
                return;
            }
            assert!(output.status.success(), "{}", show(&output));
            let mounted = Mounted(at.clone());
            assert_kept_as(&engine, &kept, &at.display().to_string());
            drop(mounted);
        }
        assert_goes(&engine);
    }

    fn a_pool_keeps_its_branches(engine: PrivateEngine) {
        let kept = make_held(&engine);
        let [other] = directories(&engine, [&own(&engine, "other")]);
        let at = engine.dir().join("pool");
        let mounted = pool(&engine, &[engine.volume_data(&held(&engine)), other], &at);
        assert_eq!(engine.docker(&["exec", "reader", "cat", "/data/PG_VERSION"]), "15");
        // There, or where the reader has it: of two namespaces either is named.
        assert_kept_as(&engine, &kept, "mounted at /");
        drop(mounted);
        assert_goes(&engine);
    }

    /// What is made later may match, too: the server holds whatever is where the pattern begins.
    fn a_pool_keeps_what_its_pattern_may_mean(engine: PrivateEngine) {
        let mut kept = make_held(&engine);
        let [other] = directories(&engine, [&own(&engine, "other")]);
        let pattern = engine.volumes_dir().join(format!("{}*/_data", held(&engine).split_at(3).0));
        let mounted = pool(&engine, &[pattern, other], &engine.dir().join("pool"));
        assert_eq!(engine.docker(&["exec", "reader", "cat", "/data/PG_VERSION"]), "15");
        kept.volume("help");
        let volgc = Volgc::configured(&engine, NO_GRACE);
        for _ in 0..3 {
            volgc.ok(&["sweep"]);
        }
        kept.assert_untouched();
        let told = volgc.ok(&["explain", "help"]);
        assert!(told.contains("served by FUSE"), "{told}");
        drop(mounted);
        assert_goes(&engine);
    }

    /// What the branches begin with in common is left out of the source, in the middle of a name: the command line has it.
    fn a_pool_keeps_branches_that_its_source_does_not_name(engine: PrivateEngine) {
        let mut kept = make_held(&engine);
        let help = own(&engine, "help");
        kept.volume(&help);
        let at = engine.dir().join("pool");
        let mounted = pool(&engine, &[engine.volume_data(&held(&engine)), engine.volume_data(&help)], &at);
        let table = fs::read_to_string(format!("/proc/{}/mountinfo", engine.pid().unwrap())).unwrap();
        let line = table.lines().find(|line| line.contains(&at.display().to_string())).unwrap();
        assert!(!line.contains(&held(&engine)), "{line}");
        assert_kept_as(&engine, &kept, "served by FUSE");
        drop(mounted);
        assert_goes(&engine);
    }
}
