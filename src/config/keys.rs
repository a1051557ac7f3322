//! Every key there is, and what is said of one there is not.

/// A table of the configuration and the keys it takes.
#[derive(Debug)]
pub(super) struct Table {
    /// As it is called in messages; empty for the top of the file.
    pub(super) title: &'static str,
    /// Its keys, in the order in which they are documented.
    pub(super) keys: &'static [&'static str],
}

const DECISION: [&str; 3] = ["keep", "quarantine_after", "delete_after"];

pub(super) static TOP: Table = Table {
    title: "",
    keys: &[
        "mode",
        "docker",
        "schedule",
        "policy",
        "rule",
        "passing",
        "limits",
        "containers_on_disk",
        "metrics",
    ],
};
pub(super) static DOCKER: Table = Table { title: "[docker]", keys: &["host"] };
pub(super) static SCHEDULE: Table =
    Table { title: "[schedule]", keys: &["cron", "timezone", "interval", "jitter"] };
pub(super) static POLICY: Table = Table { title: "[policy]", keys: &["anonymous", "named"] };
pub(super) static ANONYMOUS: Table = Table { title: "[policy.anonymous]", keys: &DECISION };
pub(super) static NAMED: Table = Table { title: "[policy.named]", keys: &DECISION };
pub(super) static RULE: Table = Table {
    title: "[[rule]]",
    keys: &["name", "match", "keep", "quarantine_after", "delete_after", "in_place"],
};
pub(super) static MATCH: Table =
    Table { title: "`match`", keys: &["volume", "label", "compose_project", "class"] };
pub(super) static PASSING: Table = Table { title: "[[passing]]", keys: &["image", "label", "container"] };
pub(super) static LIMITS: Table = Table {
    title: "[limits]",
    keys: &[
        "min_grace",
        "min_sightings",
        "max_per_sweep",
        "max_share_per_sweep",
        "max_gap",
        "sudden_orphans",
        "sudden_orphan_share",
        "reads_hold",
    ],
};
pub(super) static CONTAINERS_ON_DISK: Table =
    Table { title: "[containers_on_disk]", keys: &["acknowledged"] };
pub(super) static METRICS: Table = Table { title: "[metrics]", keys: &["listen", "allow_non_loopback"] };

/// All of them. `rule`, `docker` and the like are keys of the top as well.
pub(super) static ALL: [&Table; 12] = [
    &TOP,
    &DOCKER,
    &SCHEDULE,
    &POLICY,
    &ANONYMOUS,
    &NAMED,
    &RULE,
    &MATCH,
    &PASSING,
    &LIMITS,
    &CONTAINERS_ON_DISK,
    &METRICS,
];

impl Table {
    /// Where something in it is.
    pub(super) fn within(&self) -> String {
        match self.title {
            "" => "at the top of the file".to_owned(),
            title => format!("in {title}"),
        }
    }

    /// The key that was probably meant by one that is not known here.
    pub(super) fn meant(&self, unknown: &str) -> Option<&'static str> {
        nearest(unknown, self.keys)
    }

    /// What to do about a key that is not known here.
    pub(super) fn advice(&self, unknown: &str) -> String {
        // A TOML file has no way back out of a table, so what was appended at the end of a file lands in its last one.
        match unknown {
            "mode" => return "`mode` belongs at the top of the file, before the first [table]".to_owned(),
            "rule" => return "write each rule under a [[rule]] of its own".to_owned(),
            "passing" => return "write each of them under a [[passing]] of its own".to_owned(),
            table if TOP.keys.contains(&table) => {
                return format!("write it as a table of its own, [{table}]");
            }
            _ => {}
        }
        let homes: Vec<&str> =
            ALL.iter().filter(|table| table.keys.contains(&unknown)).map(|table| table.title).collect();
        if !homes.is_empty() {
            return format!("it belongs in {}", one_of(&homes));
        }
        match self.meant(unknown) {
            Some(key) => format!("did you mean `{key}`?"),
            None => format!("known here: {}", self.keys.join(", ")),
        }
    }
}

/// `a, b or c`.
pub(super) fn one_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// The word of `known` that `text` is a slip for, if it is close enough to one.
pub(super) fn nearest(text: &str, known: &[&'static str]) -> Option<&'static str> {
    let text = text.trim().to_lowercase();
    let (distance, word) = known.iter().map(|word| (strsim::levenshtein(&text, word), *word)).min()?;
    (distance <= (text.chars().count() / 2).min(3)).then_some(word)
}
