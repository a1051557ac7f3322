//! Single bits that changed, of the ledger with its clocks and of a manifest.

use std::fs;
use std::time::Duration;

use crate::damage::state::site::Site;
use harness::{KEEP_IN_QUARANTINE, on_each_engine};

impl Site<'_> {
    /// Lets the entry have been in quarantine for so long: its clock, and when its manifest says that it began. Says which bits of the
    /// ledger are its row's.
    fn age(&self, watched: Duration) -> Vec<usize> {
        let since = chrono::Utc::now() - watched;
        let mut manifest: serde_json::Value =
            serde_json::from_slice(&fs::read(self.manifest()).unwrap()).unwrap();
        // Its data came to rest when it really did.
        let came_to_rest = manifest["at_rest_since"].as_str().map(str::to_owned);
        let came_to_rest = came_to_rest.unwrap_or_else(|| harness::text(&manifest["quarantined_at"]));
        manifest["at_rest_since"] = came_to_rest.into();
        manifest["quarantined_at"] = since.to_rfc3339().into();
        fs::write(self.manifest(), manifest.to_string()).unwrap();
        let since = since.to_rfc3339_opts(chrono::SecondsFormat::Nanos, true);
        let ledger = rusqlite::Connection::open(self.ledger()).unwrap();
        let change = "UPDATE entries SET watched_ms = ?1, quarantined_since = ?2 WHERE entry = ?3";
        let watched = i64::try_from(watched.as_millis()).unwrap();
        assert_eq!(ledger.execute(change, (watched, &since, &self.entry)).unwrap(), 1);
        drop(ledger);
        let (bytes, row) = (fs::read(self.ledger()).unwrap(), format!("{}{since}", self.entry));
        let at = bytes.windows(row.len()).position(|window| window == row.as_bytes()).unwrap();
        // A record has its length and types before it; behind the texts are the watched time and the sightings.
        let numbers = at + row.len();
        let is_digit = |bit: &usize| (at..numbers).contains(&(bit / 8));
        // Every bit of them, and a few of the texts.
        ((at - 8) * 8..(numbers + 5) * 8).filter(|bit| !is_digit(bit) || bit % 29 == 0).collect()
    }
}

/// Flips one bit, at a place that differs each time and is the same in each run.
fn flipped(mut bytes: Vec<u8>, nth: usize) -> Vec<u8> {
    let at = nth * 7919 % (bytes.len() * 8);
    bytes[at / 8] ^= 1 << (at % 8);
    bytes
}

const FLIPS: usize = 24;

on_each_engine! {
    /// A bit that changed is not always seen; whatever follows, no data is lost by it.
    fn a_flipped_bit_loses_nothing(engine: PrivateEngine) {
        let site = Site::new(&engine, 0);
        let (ledger, manifest) = (fs::read(site.ledger()).unwrap(), fs::read(site.manifest()).unwrap());
        let mut refused = 0;
        for nth in 0..FLIPS {
            fs::write(site.ledger(), flipped(ledger.clone(), nth)).unwrap();
            let output = site.volgc.run(&["report", "--no-sizes"]);
            assert!(matches!(output.status, Some(0 | 1 | 4)), "{nth}: {output:?}");
            assert!(!output.stderr.contains("panicked"), "{nth}: {output:?}");
            let is_named = output.stderr.contains(&site.ledger().display().to_string());
            assert!(output.status != Some(1) || is_named, "{nth}: {output:?}");
            refused += usize::from(output.status != Some(0));
        }
        fs::write(site.ledger(), &ledger).unwrap();
        for nth in 0..FLIPS {
            fs::write(site.manifest(), flipped(manifest.clone(), nth)).unwrap();
            for words in [&["list"][..], &["sweep"]] {
                let output = site.volgc.run(words);
                assert!(matches!(output.status, Some(0 | 3 | 4)), "{nth}: {words:?}: {output:?}");
                assert!(!output.stderr.contains("panicked"), "{nth}: {output:?}");
                site.assert_whole(&format!("bit {nth} of the manifest, {words:?}"));
            }
            let list = site.volgc.run(&["list"]).stdout;
            refused += usize::from(list.contains("damaged"));
        }
        fs::write(site.manifest(), &manifest).unwrap();
        assert!(refused > FLIPS / 2, "hardly any was noticed: {refused}");
        site.run("flipped bits", ("restore ENTRY", 0, &["restored volume KEPT"]));
        site.clear();
        println!("damage: {} inputs tried, 0 losses", 2 * FLIPS);
    }

    /// What is in quarantine is deleted by its clock, and its clock is in the ledger: a bit of it that changed must not end what has
    /// time left (I3, I9).
    fn a_flipped_bit_of_a_ledger_deletes_nothing_before_its_time(engine: PrivateEngine) {
        let site = Site::new(&engine, 0);
        site.volgc.config(&KEEP_IN_QUARANTINE.replace("\"quarantine\"", "\"enforce\""));
        // The other volume goes into quarantine too, and both clocks run.
        (0..3).for_each(|_| drop(site.volgc.ok(&["sweep"])));
        let row = site.age(Duration::from_mins(40));
        let (ledger, note) = (fs::read(site.ledger()).unwrap(), fs::read(site.note()).unwrap());
        let mut flips = row;
        flips.extend((0..FLIPS).map(|nth| nth * 7919 % (ledger.len() * 8)));
        let (mut early, mut refused) = (Vec::new(), 0);
        for bit in &flips {
            let mut bytes = ledger.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            // Each time it is the ledger that was used last: an older one would start its clocks anew in any case.
            fs::write(site.ledger(), bytes).unwrap();
            fs::write(site.note(), &note).unwrap();
            let output = site.volgc.run(&["sweep"]);
            assert!(matches!(output.status, Some(0 | 1 | 3 | 4)), "bit {bit}: {output:?}");
            assert!(!output.stderr.contains("panicked"), "bit {bit}: {output:?}");
            refused += usize::from(output.status != Some(0));
            if !site.entry().is_dir() {
                early.push((bit, output));
                break;
            }
            site.assert_whole(&format!("bit {bit} of the ledger"));
        }
        assert!(early.is_empty(), "deleted 20 minutes before its time: {early:#?}");
        assert!(refused > 0, "no bit of them was ever noticed");
        // With the ledger as it was, and its time over, it goes: the flips were of a ledger that decides.
        fs::write(site.ledger(), &ledger).unwrap();
        fs::write(site.note(), &note).unwrap();
        site.age(Duration::from_mins(61));
        let told = site.volgc.ok(&["sweep"]);
        assert!(!site.entry().exists(), "it is not deleted when it is due: {told}");
        println!("damage: {} inputs tried, {} losses", flips.len(), early.len());
        site.clear();
    }
}
