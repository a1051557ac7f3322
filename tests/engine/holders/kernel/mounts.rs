//! Mounts that are made of a volume, however that is written.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{Contents, PrivateEngine, on_each_engine, show};

use super::{Holding, TakenAway, assert_goes, assert_kept_as, mount, program, run};

fn held(engine: &PrivateEngine) -> Contents<'_> {
    let mut kept = Contents::new(engine);
    kept.volume("held");
    kept
}

/// Directories below the one of the test.
fn directories<const N: usize>(engine: &PrivateEngine, names: [&str; N]) -> [PathBuf; N] {
    names.map(|name| {
        let path = engine.dir().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    })
}

#[track_caller]
fn overlay(options: &str, at: &Path) -> TakenAway {
    mount(&["-t", "overlay", "overlay", "-o", options].map(Path::new), at)
}

/// A pool, and a container that reads what is in it.
#[track_caller]
fn pool(engine: &PrivateEngine, branches: &[PathBuf], at: &Path) -> TakenAway {
    fs::create_dir_all(at).unwrap();
    let branches: Vec<String> = branches.iter().map(|branch| branch.display().to_string()).collect();
    run("mergerfs", &["-o".as_ref(), "allow_other".as_ref(), branches.join(":").as_ref(), at]);
    let volume = format!("{}:/data", at.display());
    engine.docker(&["run", "-d", "--name", "reader", "-v", &volume, "bb", "sleep", "1000"]);
    TakenAway("umount", vec![at.to_owned()])
}

on_each_engine! {
    fn an_overlay_keeps_its_lower_layer_however_it_is_written(engine: PrivateEngine) {
        let kept = held(&engine);
        let [low, at] = directories(&engine, ["low", "at"]);
        fs::write(low.join("x"), "x").unwrap();
        let link = engine.dir().join("link");
        symlink(engine.volumes_dir(), &link).unwrap();
        let volumes = engine.volumes_dir().display().to_string();
        for layer in [
            format!("{}/held/_data", link.display()),
            format!("/{}/.//held/_data/.", volumes.replace('/', "//")),
            format!("{volumes}/other/../held/_data/base"),
            format!("{volumes}/../volumes/held/_data"),
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
        engine.create_volume("held", &[]);
        let data = engine.volume_data("held");
        for part in ["up", "work"] {
            fs::create_dir(data.join(part)).unwrap();
        }
        let [low, at] = directories(&engine, ["low", "at"]);
        let script = r#"
            mount -t tmpfs none /mnt; mkdir /mnt/x; ln -s x/volumes /mnt/v; mount --bind "$1" /mnt/x
            mount -t overlay overlay -o "lowerdir=$2,upperdir=/mnt/v/held/_data/up,workdir=/mnt/v/held/_data/work" "$3"
            echo ready; read x
        "#;
        let holding = Holding::apart(script, &[&engine.root(), &low, &at]);
        let mut kept = Contents::new(&engine);
        kept.note_volume("held");
        assert_kept_as(&engine, &kept, &at.display().to_string());
        drop(holding);
        assert_goes(&engine);
    }

    /// What is left of the path is the directory on which the volume was mounted. What is seen in the overlay tells.
    fn an_overlay_through_a_bind_that_is_gone_keeps_its_layer(engine: PrivateEngine) {
        let kept = held(&engine);
        let [low, bind, at] = directories(&engine, ["low", "bind", "at"]);
        fs::write(low.join("x"), "x").unwrap();
        for layer in ["", "/base"] {
            let bound = mount(&["--bind".as_ref(), &engine.volume_data("held")], &bind);
            let mounted = overlay(&format!("lowerdir={}{layer}:{}", bind.display(), low.display()), &at);
            drop(bound);
            assert_kept_as(&engine, &kept, "shows its files");
            drop(mounted);
        }
        assert_goes(&engine);
    }

    fn an_erofs_keeps_the_volume_with_its_file(engine: PrivateEngine) {
        let mut kept = Contents::new(&engine);
        engine.create_volume("held", &[]);
        let [tree, at] = directories(&engine, ["tree", "at"]);
        fs::write(tree.join("x"), "x").unwrap();
        let image = engine.volume_data("held").join("an image");
        run("mkfs.erofs", &[&image, &tree]);
        kept.note_volume("held");
        let link = engine.dir().join("link");
        symlink(engine.volumes_dir().join("held"), &link).unwrap();
        for path in [image, link.join("_data/../_data/an image")] {
            let output = Command::new(program(&engine)).arg("erofs").args([&path, &at]).output().unwrap();
            if show(&output).contains("Block device required") {
                println!("this kernel mounts no EROFS from a file (Linux 6.12 does): see backing_tests.rs for recorded tables");
                return;
            }
            assert!(output.status.success(), "{}", show(&output));
            let mounted = TakenAway("umount", vec![at.clone()]);
            assert_kept_as(&engine, &kept, &at.display().to_string());
            drop(mounted);
        }
        assert_goes(&engine);
    }

    fn a_pool_keeps_its_branches(engine: PrivateEngine) {
        let kept = held(&engine);
        let [other] = directories(&engine, ["other"]);
        let at = engine.dir().join("pool");
        let mounted = pool(&engine, &[engine.volume_data("held"), other], &at);
        assert_eq!(engine.docker(&["exec", "reader", "cat", "/data/PG_VERSION"]), "15");
        assert_kept_as(&engine, &kept, &at.display().to_string());
        engine.docker(&["rm", "-f", "reader"]);
        drop(mounted);
        assert_goes(&engine);
    }

    /// What the branches begin with in common is left out of the source, in the middle of a name: the command line has it.
    fn a_pool_keeps_branches_that_its_source_does_not_name(engine: PrivateEngine) {
        let mut kept = held(&engine);
        kept.volume("help");
        let at = engine.dir().join("pool");
        let mounted = pool(&engine, &[engine.volume_data("held"), engine.volume_data("help")], &at);
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let line = table.lines().find(|line| line.contains(&at.display().to_string())).unwrap();
        assert!(!line.contains("held"), "{line}");
        assert_kept_as(&engine, &kept, "served by FUSE");
        engine.docker(&["rm", "-f", "reader"]);
        drop(mounted);
        assert_goes(&engine);
    }
}
