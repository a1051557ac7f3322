//! Files in use whose path says nothing of where they lie.

use std::fs;

use harness::{NO_GRACE, Volgc, on_each_engine, wait_until};

use super::{Holding, Mounted, Several, mount, program, run};

on_each_engine! {
    /// `mv` from one volume into another, while a container has them open through the directory they were in.
    fn what_was_moved_into_a_volume_while_a_container_uses_it_keeps_it(engine: PrivateEngine) {
        let mut several = Several::new(&engine);
        engine.create_volume("from", &[]);
        let from = engine.volume_data("from").join("sub");
        for (name, script) in [
            ("opened", "exec 3>>/m/opened/db; echo ready; sleep 1000"),
            ("worked-in", "cd /m/worked-in; echo ready; sleep 1000"),
        ] {
            fs::create_dir_all(from.join(name)).unwrap();
            fs::write(from.join(name).join("db"), "data").unwrap();
            let bind = format!("{}:/m", from.display());
            engine.docker(&["run", "-d", "--name", name, "-v", &bind, "bb", "sh", "-c", script]);
            wait_until("it is ready", || engine.docker(&["logs", name]).contains("ready"));
            let (data, _) = several.volume(name);
            fs::rename(from.join(name), data.join("moved")).unwrap();
        }
        several.assert_kept("(found in it: _data/moved");
        engine.docker(&["rm", "-f", "opened", "worked-in"]);
        several.assert_go();
    }

    /// Deeper than the kernel can tell.
    fn a_deep_directory_that_was_moved_into_a_volume_while_a_container_is_in_it_keeps_it(engine: PrivateEngine) {
        let name = "n".repeat(200);
        let script = format!("mkdir -p /m/top; cd /m/top; for i in $(seq 30); do mkdir {name}; cd {name}; done; echo ready; sleep 1000");
        for volume in ["canary", "from", "to"] {
            engine.create_volume(volume, &[]);
        }
        let from = engine.volume_data("from").join("sub");
        let bind = format!("{}:/m", from.display());
        fs::create_dir(&from).unwrap();
        engine.docker(&["run", "-d", "--name", "deep", "-v", &bind, "bb", "sh", "-c", &script]);
        wait_until("it is ready", || engine.docker(&["logs", "deep"]).contains("ready"));
        fs::rename(from.join("top"), engine.volume_data("to").join("top")).unwrap();
        let volgc = Volgc::configured(&engine, NO_GRACE);
        let told = [(); 4].map(|()| volgc.ok(&["sweep"]));
        assert_eq!(engine.volume_names(), ["from", "to"], "{told:?}");
        assert_eq!(volgc.entries(), Vec::<serde_json::Value>::new());
        engine.docker(&["rm", "-f", "deep"]);
        assert_eq!(volgc.run(&["quarantine", "to"]).status, Some(0));
    }

    /// Opened by handle, as NFS-Ganesha and CRIU do, through the whole disk and through a part of it; bound from there; and known by a
    /// name that was removed.
    fn a_file_that_was_opened_without_its_name_keeps_its_volume(engine: PrivateEngine) {
        let mut several = Several::new(&engine);
        let mut holding = Vec::new();
        let (data, place) = several.volume("handle");
        let file = data.join("PG_VERSION");
        holding.push(Holding::path(&engine, "handle", &file, &[place.to_str().unwrap()]));
        let (data, place) = several.volume("part");
        let part = mount(&["--bind".as_ref(), &place.join("e")], &place.join("m"));
        let file = data.join("base");
        holding.push(Holding::path(&engine, "handle", &file, &[place.join("m").to_str().unwrap()]));
        let (data, place) = several.volume("bound");
        let at = place.join("at");
        fs::write(&at, "").unwrap();
        run(program(&engine).to_str().unwrap(), &["handle-mount".as_ref(), &data.join("PG_VERSION"), &place, &at]);
        let bound = Mounted(at);
        let (data, _) = several.volume("other-name");
        let other = engine.root().join("other name");
        holding.push(Holding::path(&engine, "other-name", &data.join("db"), &[other.to_str().unwrap()]));
        several.assert_kept("(found in it: _data/");
        drop((holding, part, bound));
        several.assert_go();
    }
}
