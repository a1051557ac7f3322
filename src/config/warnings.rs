//! What is allowed and probably not meant.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::Settings;
use super::duration::spell;
use crate::gc::policy::{LabelMatch, Match};

/// Below this grace, volumes of a stack that is only being deployed again can be taken.
const RECKLESS_GRACE: Duration = Duration::from_hours(1);

/// Where the look at the schedule begins: any date does, as it covers a year. 2026-01-01.
const SOME_DAY: Option<DateTime<Utc>> = DateTime::from_timestamp(1_767_225_600, 0);

pub(super) fn of(settings: &Settings) -> Vec<String> {
    let mut warnings = of_schedule(settings);
    let min_grace = settings.policy.limits.min_grace;
    if min_grace < RECKLESS_GRACE {
        warnings.push(format!(
            "limits.min_grace is {}: a grace that short can take the volumes of a stack that is only being \
             deployed again",
            spell(min_grace)
        ));
    }
    let rules = &settings.policy.rules;
    for (index, rule) in rules.iter().enumerate() {
        let earlier = rules.iter().take(index).find(|earlier| same(&earlier.conditions, &rule.conditions));
        if let Some(earlier) = earlier {
            warnings.push(format!(
                "rule `{}` never decides: rule `{}` before it has the same conditions, and the first match wins",
                rule.name, earlier.name
            ));
        }
    }
    for name in &settings.acknowledged_containers {
        if name.len() == 12 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            warnings.push(format!(
                "containers_on_disk.acknowledged has `{name}`, which looks like a short id: the directories are \
                 named by the full 64 digits"
            ));
        }
    }
    warnings
}

fn of_schedule(settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    let (plan, max_gap) = (&settings.schedule, settings.policy.limits.max_gap);
    warnings.extend(plan.schedule.zone().note().map(str::to_owned));
    let Some(interval) = SOME_DAY.and_then(|day| plan.schedule.longest_interval(day)) else {
        return warnings;
    };
    let longest = interval.saturating_add(plan.jitter);
    if longest > max_gap {
        warnings.push(format!(
            "up to {} pass between two sweeps (`{}`), and limits.max_gap is {}: the time above it does not count \
             as watched, so all graces take longer; sweep more often or raise max_gap",
            spell(longest),
            plan.text,
            spell(max_gap)
        ));
    }
    if plan.jitter >= interval {
        warnings.push(format!(
            "schedule.jitter is {}, and never more than {} pass between two times of `{}`: sweeps are put off \
             until after the next one is due",
            spell(plan.jitter),
            spell(interval),
            plan.text
        ));
    }
    warnings
}

/// Whether two rules have the very same conditions, in whatever order.
fn same(a: &Match, b: &Match) -> bool {
    texts(a) == texts(b)
}

fn texts(conditions: &Match) -> [Vec<String>; 4] {
    let Match { volume, label, compose_project, class } = conditions;
    let globs =
        |globs: &[globset::GlobMatcher]| globs.iter().map(|glob| glob.glob().glob().to_owned()).collect();
    let label_text = |LabelMatch { key, value }: &LabelMatch| match value {
        Some(pattern) => format!("{key}={}", pattern.glob().glob()),
        None => key.clone(),
    };
    let mut all: [Vec<String>; 4] = [
        globs(volume),
        label.iter().map(label_text).collect(),
        globs(compose_project),
        class.iter().map(|class| class.word().to_owned()).collect(),
    ];
    for texts in &mut all {
        texts.sort_unstable();
        texts.dedup();
    }
    all
}
