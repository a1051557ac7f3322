//! File systems that show the files of a volume, while the text of their mount leads elsewhere or there is no mount of them.

use std::fs;
use std::path::{Path, PathBuf};

use harness::on_each_engine;

use super::{Holding, Mounted, Several, program, run};

/// Runs a script with `$d`, a volume's data, and `$w`, a directory beside it with `m` to mount on and `e`, a layer of its own.
#[track_caller]
pub(super) fn mounted(script: &str, data: &Path, place: &Path) -> Mounted {
    let script = format!("d=$1; w=$2; {script}");
    run("sh", &["-ec".as_ref(), script.as_ref(), "sh".as_ref(), data, place]);
    let at = place.join("m");
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(table.contains(&format!(" {} ", at.display())), "{script}");
    Mounted(at)
}

on_each_engine! {
    /// What was written down when it was mounted means something else by now.
    fn an_overlay_whose_layer_has_another_path_by_now_keeps_it(engine: PrivateEngine) {
        let mut several = Several::new(&engine);
        engine.create_volume("links", &[]);
        let mut all = Vec::new();
        for (name, script) in [
            ("link", "ln -s $d $w/l; mount -t overlay o -o lowerdir=$w/l:$w/e $w/m; ln -sfn $w/other $w/l"),
            ("bind", "mount --bind $d $w/other; mount -t overlay o -o lowerdir=$w/other:$w/e $w/m; umount $w/other"),
            ("renamed", "ln -s $d $w/l; mount -t overlay o -o lowerdir=$w/l/base:$w/e $w/m; mkdir -p $w/n/base; touch $w/n/base/x; mv $w/l $w/x; mv $w/n $w/l"),
            ("process", "cd $d; mount -t overlay o -o lowerdir=/proc/$$/cwd/base:$w/e $w/m"),
            ("numbers", "mkdir $d/1 $d/2; touch $d/1/a $d/2/b; cd $d; mount -t overlay o -o lowerdir=1:2 $w/m"),
            ("beside", "mkdir $d/l $d/u $d/k $w/l $w/u $w/k; touch $d/u/p $w/l/x; cd $d; mount -t overlay o -o lowerdir=l,upperdir=u,workdir=k $w/m"),
            ("empty", "mkdir $d/u $d/k $w/u $w/k; touch $w/u/x; cd $d; mount -t overlay o -o lowerdir=$w/e,upperdir=u,workdir=k $w/m"),
            ("id", "i=0123456789abcdef0123456789abcdef; mkdir $d/$i; touch $d/$i/x; cd $d; mount -t overlay o -o lowerdir=$i:$w/e $w/m"),
            // What its text leads to by now is part of it, too, or has the same files.
            ("layer", "ln -s $d $w/l; mount -t overlay o -o lowerdir=$w/l:$w/e $w/m; ln -sfn $w/e $w/l"),
            ("snapshot", "mkdir -p $d/../../links/s; cp -al $d $d/../../links/s/1; rm $d/../../links/s/1/PG_VERSION; ln -s $d $w/l; mount -t overlay o -o lowerdir=$w/l:$w/e $w/m; ln -sfn $d/../../links/s/1 $w/l"),
            ("numbered", "mkdir -p $w/snapshots/1 $w/snapshots/2; touch $w/snapshots/2/x; mount --bind $d $w/snapshots/1; mount -t overlay o -o lowerdir=$w/snapshots/1:$w/snapshots/2 $w/m; umount $w/snapshots/1"),
            // Several file systems: the inodes that it shows have the number of each in them.
            ("xino", "mkdir $w/t; mount -t tmpfs t $w/t; mkdir $w/t/u $w/t/k; ln -s $d $w/l; mount -t overlay o -o xino=on,lowerdir=$w/e:$w/l,upperdir=$w/t/u,workdir=$w/t/k $w/m; umount -l $w/t; ln -sfn $w/other $w/l"),
        ] {
            let (data, place) = several.volume(name);
            all.push(mounted(script, &data, &place));
        }
        several.assert_kept("shows its files");
        drop(all);
        several.assert_go();
    }

    /// Of a layer that was given as a descriptor the kernel tells what is left of its path below its mount (Linux 6.13).
    fn an_overlay_whose_layer_was_given_without_a_path_keeps_it(engine: PrivateEngine) {
        let mut several = Several::new(&engine);
        let mut all = Vec::new();
        for (name, tree, below) in [("top", "_data", "."), ("below", ".", "_data"), ("deep", "_data", "base")] {
            let (data, place) = several.volume(name);
            let tree = data.parent().unwrap().join(tree);
            let words: [PathBuf; 5] = ["layer".into(), tree, below.into(), place.join("e"), place.join("m")];
            run(program(&engine).to_str().unwrap(), &words.each_ref().map(PathBuf::as_path));
            all.push(Mounted(place.join("m")));
        }
        several.assert_kept("shows its files");
        drop(all);
        several.assert_go();
    }

    /// Unmounted while somebody is in it, or not mounted yet.
    fn an_overlay_that_is_mounted_nowhere_keeps_its_layer_while_somebody_is_in_it(engine: PrivateEngine) {
        let mut several = Several::new(&engine);
        let mut holding = Vec::new();
        for (name, script) in [
            ("lower", "mount -t overlay o -o lowerdir=$d:$w/e $w/m; cd $w/m; umount -l $w/m"),
            ("file", "mount -t overlay o -o lowerdir=$d:$w/e $w/m; exec 3<$w/m/PG_VERSION; umount -l $w/m"),
            ("deep", "mount -t overlay o -o lowerdir=$d:$w/e $w/m; cd $w/m/base; umount -l $w/m"),
            ("written", "mkdir $d/u $d/k; mount -t overlay o -o lowerdir=$w/e,upperdir=$d/u,workdir=$d/k $w/m; exec 3>$w/m/db; umount -l $w/m"),
        ] {
            let (data, place) = several.volume(name);
            let script = format!("d=$1; w=$2; {script}; echo ready; read x");
            let words = ["sh", "-ec", &script, "sh"].map(str::to_owned);
            let mut command = std::process::Command::new(&words[0]);
            holding.push(Holding::start(command.args(&words[1..]).arg(data).arg(place)));
        }
        let (data, place) = several.volume("not-yet");
        holding.push(Holding::path(&engine, "unmounted", &data, &[place.join("e").to_str().unwrap()]));
        several.assert_kept("(found in it: ");
        drop(holding);
        several.assert_go();
    }

    /// The image was behind a link that leads to the next one by now; and one that is mounted nowhere any more.
    fn an_erofs_whose_image_has_another_path_by_now_keeps_it(engine: PrivateEngine) {
        let mut several = Several::new(&engine);
        let holder = program(&engine);
        let (data, place) = several.volume("link");
        fs::write(place.join("other/image"), "the next one").unwrap();
        let script = format!("truncate -s 40000 $w/e/f; mkfs.erofs $d/image $w/e; ln -s $d/image $w/l; {} erofs $w/l $w/m; ln -sfn $w/other/image $w/l", holder.display());
        let linked = mounted(&script, &data, &place);
        let (data, place) = several.volume("lazy");
        let script = format!("d=$1; w=$2; truncate -s 80000 $w/e/f; mkfs.erofs $d/image $w/e >&2; {} erofs $d/image $w/m; cd $w/m; umount -l $w/m; echo ready; read x", holder.display());
        let mut command = std::process::Command::new("sh");
        let lazy = Holding::start(command.args(["-ec", &script, "sh"]).args([&data, &place]));
        several.assert_kept("(found in it: _data/image");
        drop((linked, lazy));
        several.assert_go();
    }
}
