//! A proxy may deliver it long after its sender died: through one, nothing is forgotten.

use harness::proxy::{Proxy, Treat};
use harness::treasure::{Place, Treasure};
use harness::{Volgc, on_each_engine};

use super::{DELETE, by, ended, impatient};

on_each_engine! {
    fn nothing_is_forgotten_through_one(engine: PrivateEngine) {
        let proxy = Proxy::start(&engine);
        // The proxy is what it is, and stands for no engine.
        let volgc = Volgc::new(&engine).env("VOLGC_SETTINGS", "");
        volgc.config(&format!(
            "[docker]\nhost = \"unix://{}\"\n[limits]\nmin_grace = \"0s\"\n[[rule]]\nname = \"strays\"\n\
             match = {{ class = \"unlisted\" }}\nquarantine_after = \"0s\"\ndelete_after = \"1h\"\n",
            proxy.socket().display()
        ));
        let (db, stray) = (Treasure::make(&engine, "db"), Treasure::stray(&engine, "stray"));
        let output = volgc.run(&["quarantine", "db", "stray"]);
        ended(&output, 4);
        assert!(output.stdout.contains("left volume db: the engine is reached through a proxy"), "{output:?}");
        assert!(output.stdout.contains("the engine's own socket"), "{output:?}");
        db.assert_back(&engine, "db", "left");
        assert_eq!(proxy.seen(DELETE), 0);
        // What the engine does not list, it need not forget.
        let Place::Entry(entry, _) = stray.assert_whole(&engine, "moved") else { panic!("left: {output:?}") };
        volgc.ok(&["restore", &entry, "--as", "stray-back"]);
        stray.assert_content(&engine, "stray-back", "restored");
    }

    /// What was set aside by way of the engine's own socket comes back by way of a proxy.
    fn a_restore_goes_through_one(engine: PrivateEngine) {
        let proxy = Proxy::start(&engine);
        let db = Treasure::make(&engine, "db");
        Volgc::new(&engine).ok(&["quarantine", "db"]);
        by(&Volgc::new(&engine).env("VOLGC_SETTINGS", ""), proxy.socket()).ok(&["restore", "db"]);
        db.assert_back(&engine, "db", "restored");
    }

    /// It was on its way to the engine itself when its sender died, and something between the two has it.
    fn one_that_comes_late_is_refused_where_the_name_leads_to_data(engine: PrivateEngine) {
        let proxy = Proxy::start(&engine);
        let volgc = by(&impatient(&engine), proxy.socket());
        let db = Treasure::make(&engine, "db");
        proxy.next(DELETE, Treat::AnswerAndHold(503));
        ended(&volgc.run(&["quarantine", "db"]), 3);
        proxy.release(DELETE);
        db.assert_whole(&engine, "after the late DELETE");
        assert_eq!(proxy.delivered(DELETE), [500], "the engine refused it");
        volgc.ok(&["sweep"]);
        db.assert_back(&engine, "db", "undone");
    }
}
