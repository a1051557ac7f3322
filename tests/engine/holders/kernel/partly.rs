//! Overlays and images of which only a part is seen, or which show something else than the file that lies in the volume.

use std::fs;
use std::path::Path;
use std::process::Command;

use harness::{PrivateEngine, on_each_engine};

use super::shown::mounted;
use super::{Holding, Mounted, Several, program, run};

/// A shell that runs a script with `$d`, `$w` and `$h`, the program that holds files, and stays.
#[track_caller]
fn staying(engine: &PrivateEngine, script: &str, data: &Path, place: &Path) -> Holding {
    let script = format!("d=$1; w=$2; h=$3; {script}; echo ready; read x");
    let mut command = Command::new("sh");
    Holding::start(command.args(["-ec", &script, "sh"]).args([data, place, &program(engine)]))
}

on_each_engine! {
    /// A bind of a part of it comes first in the table.
    fn an_overlay_keeps_its_layer_when_a_part_of_it_is_mounted_too(engine: PrivateEngine) {
        let mut several = Several::new(&engine);
        let over = "ln -s $d $w/l; mkdir -p $w/e/sub $w/x; touch $w/e/sub/y $w/first; mount -t overlay o -o lowerdir=$w/l:$w/e $w/x; ln -sfn $w/other $w/l";
        let mut all = Vec::new();
        for (name, script) in [
            ("directory", "rm $w/first; mkdir $w/first; mount --bind $w/x/sub $w/first; mount --bind $w/x $w/m; umount $w/x"),
            ("file", "mount --bind \"$w/x/an e\" $w/first; mount --bind $w/x $w/m; umount $w/x"),
            ("parts", "rm $w/first; mkdir $w/first; mount --bind $w/x/sub $w/first; mount --bind $w/x/base $w/m; umount $w/x"),
            ("covered", "rm $w/first; mkdir $w/first; mount --bind $w/x $w/first; mount -t tmpfs t $w/first; mount --bind $w/x $w/m; umount $w/x"),
        ] {
            let (data, place) = several.volume(name);
            all.push(Mounted(place.join("first")));
            all.push(mounted(&format!("{over}; {script}"), &data, &place));
        }
        several.assert_kept("shows its files");
        run("umount", &[&engine.dir().join("covered/first")]);
        drop(all);
        several.assert_go();
    }

    /// What is copied up keeps its inode and gets another time of change.
    fn an_overlay_keeps_a_layer_whose_files_were_copied_up(engine: PrivateEngine) {
        let mut several = Several::new(&engine);
        let mut all = Vec::new();
        for (name, script) in [
            ("touched", "ln -s $d $w/l; mkdir $w/u $w/k; mount -t overlay o -o metacopy=on,lowerdir=$w/l,upperdir=$w/u,workdir=$w/k $w/m; chmod -R go-w,u+s $w/m; ln -sfn $w/other $w/l"),
            ("owned", "ln -s $d $w/l; mkdir $w/u $w/k; mount -t overlay o -o metacopy=on,lowerdir=$w/l:$w/e,upperdir=$w/u,workdir=$w/k $w/m; chown -R 7:7 $w/m; ln -sfn $w/other $w/l"),
            ("bound", "mkdir $d/u $d/k $w/x; ln -s $d $w/l; mount -t overlay o -o lowerdir=$w/e,upperdir=$w/l/u,workdir=$w/l/k $w/x; echo more >>\"$w/x/an e\"; rmdir $w/m; touch $w/m; mount --bind \"$w/x/an e\" $w/m; umount $w/x; ln -sfn $w/other $w/l"),
        ] {
            let (data, place) = several.volume(name);
            all.push(mounted(script, &data, &place));
        }
        several.assert_kept("shows its files");
        drop(all);
        several.assert_go();
    }

    /// The one file that is open is that of the upper layer, with the inode of the lower one.
    fn a_file_that_is_written_in_an_overlay_without_a_mount_keeps_its_volume(engine: PrivateEngine) {
        let mut several = Several::new(&engine);
        let over = "mkdir $d/u $d/k; mount -t overlay o -o lowerdir=$w/e,upperdir=$d/u,workdir=$d/k $w/m";
        let mut all = Vec::new();
        for (name, script) in [
            ("written", "exec 3>>\"$w/m/an e\"; echo more >&3; umount -l $w/m"),
            ("changing", "exec 3>>\"$w/m/an e\"; umount -l $w/m; (while sleep 0.05; do chmod 644 /dev/fd/3; done) & exec 3>&-"),
        ] {
            let (data, place) = several.volume(name);
            all.push(staying(&engine, &format!("{over}; {script}"), &data, &place));
        }
        several.assert_kept("(found in it: ");
        run("pkill", &["-P".as_ref(), all[1].id().to_string().as_ref()]);
        drop(all);
        several.assert_go();
    }

    /// A file that is larger than the file system in it, and one that is as large and none.
    fn an_erofs_keeps_the_volume_with_its_image_and_no_other(engine: PrivateEngine) {
        let mut several = Several::new(&engine);
        let holder = program(&engine);
        let (data, place) = several.volume("padded");
        let mount = format!("ln -s $d/image $w/l; {} erofs $w/l $w/m; ln -sfn $w/other/image $w/l", holder.display());
        let make = "truncate -s 40000 $w/e/f; mkfs.erofs $d/image $w/e";
        let padded = mounted(&format!("{make}; truncate -s +1M $d/image; {mount}"), &data, &place);
        let (data, place) = several.volume("lazy");
        let lazy = staying(&engine, "truncate -s 80000 $w/e/f; mkfs.erofs $d/image $w/e >&2; echo more >>$d/image; $h erofs $d/image $w/m; cd $w/m; umount -l $w/m", &data, &place);
        engine.create_volume("as-large", &[]);
        engine.create_volume("another", &[]);
        for image in ["padded", "lazy"].map(|name| engine.volume_data(name).join("image")) {
            let size = fs::metadata(&image).unwrap().len();
            for size in [size, size - (1 << 20).min(size / 2)] {
                fs::write(engine.volume_data("as-large").join(format!("f{size}")), vec![7; usize::try_from(size).unwrap()]).unwrap();
            }
        }
        let other = engine.volume_data("another").join("image");
        run("sh", &["-ec".as_ref(), "truncate -s 40000 $1/e/f; touch $1/e/g; mkfs.erofs $2 $1/e".as_ref(), "sh".as_ref(), &place, &other]);
        several.assert_kept("(found in it: _data/image");
        assert_eq!(engine.volume_names(), ["lazy", "padded"]);
        drop((padded, lazy));
        several.assert_go();
    }

    /// Nothing of it is seen by its own name.
    fn an_overlay_keeps_a_layer_of_data_alone(engine: PrivateEngine) {
        let mut several = Several::new(&engine);
        let meta = "mkdir $w/a $w/u $w/k $w/x; mount -t overlay o -o metacopy=on,redirect_dir=on,lowerdir=$w/l/in,upperdir=$w/a,workdir=$w/k $w/x; chmod u+s $w/x/it; mkdir $w/x/s; mv $w/x/it $w/x/s/other; umount $w/x";
        let mut all = Vec::new();
        for (name, script) in [
            ("data", "mkdir $d/in; cp $d/PG_VERSION $d/in/it; ln -s $d $w/l; {meta}; mount -t overlay o -o metacopy=on,redirect_dir=on,lowerdir=$w/a::$w/l/in $w/m; ln -sfn $w/other $w/l; cat $w/m/s/other"),
            ("several", "mkdir $d/in; cp $d/PG_VERSION $d/in/it; ln -s $d $w/l; {meta}; mount -t overlay o -o metacopy=on,redirect_dir=on,lowerdir=$w/e:$w/a::$w/other::$w/l/in $w/m; ln -sfn $w/e $w/l; cat $w/m/s/other"),
        ] {
            let (data, place) = several.volume(name);
            all.push(mounted(&script.replace("{meta}", meta), &data, &place));
        }
        several.assert_kept("shows its files");
        drop(all);
        several.assert_go();
    }

    /// Its descriptor was closed; and what is no file with content.
    fn what_else_is_in_use_of_an_overlay_without_a_mount_keeps_its_layer(engine: PrivateEngine) {
        let mut several = Several::new(&engine);
        let mut all = Vec::new();
        for (name, script) in [
            ("fifo", "mkfifo $d/pipe; mount -t overlay o -o lowerdir=$d:$w/e $w/m; exec 3<>$w/m/pipe; umount -l $w/m"),
            ("device", "mknod $d/null c 1 3; mount -t overlay o -o lowerdir=$d:$w/e $w/m; exec 3<>$w/m/null; umount -l $w/m"),
        ] {
            let (data, place) = several.volume(name);
            all.push(staying(&engine, script, &data, &place));
        }
        for (name, script, file) in [
            ("mapped", "mount -t overlay o -o lowerdir=$d:$w/e $w/m", "PG_VERSION"),
            ("written-map", "mkdir $d/u $d/k; mount -t overlay o -o lowerdir=$w/e,upperdir=$d/u,workdir=$d/k $w/m; echo more >>\"$w/m/an e\"", "an e"),
        ] {
            let (data, place) = several.volume(name);
            let over = mounted(script, &data, &place);
            all.push(Holding::path(&engine, "map", &place.join("m").join(file), &[]));
            run("umount", &["-l".as_ref(), &over.0]);
        }
        several.assert_kept("(found in it: ");
        drop(all);
        several.assert_go();
    }

    /// What is in the volume comes after thousands of other files.
    fn an_overlay_with_many_files_keeps_its_layer(engine: PrivateEngine) {
        let mut several = Several::new(&engine);
        let over = "mkdir -p $d/in/a/b/c $w/e/a/b; touch $d/in/a/b/c/it $w/e/a/b/y; (cd $w/e; touch $(seq 5000)); ln -s $d $w/l; mount -t overlay o -o lowerdir=$w/e:$w/l/in $w/m; ln -sfn $w/other $w/l";
        let (data, place) = several.volume("mounted");
        let many = mounted(over, &data, &place);
        let (data, place) = several.volume("lazy");
        let lazy = staying(&engine, &format!("{over}; cd $w/m/a; umount -l $w/m"), &data, &place);
        several.assert_kept("(found in it: ");
        drop((many, lazy));
        several.assert_go();
    }
}
