//! As whom the processes of a namespace act. In a user namespace of their own anybody may mount what he can reach, and name it as he
//! likes.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::ProcError;
use super::task::{self, Task};

/// Users and groups of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ids {
    /// Users.
    pub users: Vec<RangeInclusive<u64>>,
    /// Groups.
    pub groups: Vec<RangeInclusive<u64>>,
}

impl Ids {
    /// Whether this user is one of them.
    pub fn has_user(&self, user: u32) -> bool {
        self.users.iter().any(|range| range.contains(&u64::from(user)))
    }

    /// Whether this group is one of them.
    pub fn has_group(&self, group: u32) -> bool {
        self.groups.iter().any(|range| range.contains(&u64::from(group)))
    }
}

/// Everybody as whom these threads can act, when all of them are in user namespaces below ours in which nobody is this machine's root:
/// then nothing in their mount namespace was mounted by root. None when one of them may be more than that, or nothing is known (I2).
pub fn unprivileged(tasks: &[Task]) -> Result<Option<Ids>, ProcError> {
    let own = task::link("/proc/self/ns/user")?;
    let processes: BTreeSet<u32> = tasks.iter().map(|task| task.process).collect();
    let mut ids = Ids::default();
    for process in processes {
        let Some(namespace) = task::link(&format!("/proc/{process}/ns/user"))? else { continue };
        if Some(namespace) == own {
            return Ok(None);
        }
        let map = |name: &str| -> Result<Option<Vec<RangeInclusive<u64>>>, ProcError> {
            let path = format!("/proc/{process}/{name}");
            let Some(text) = task::read_whole(&path)? else { return Ok(Some(Vec::new())) };
            Ok(parse_map(&String::from_utf8_lossy(&text)))
        };
        let (Some(users), Some(groups)) = (map("uid_map")?, map("gid_map")?) else { return Ok(None) };
        if users.iter().any(|range| range.contains(&0)) {
            return Ok(None);
        }
        ids.users.extend(users);
        ids.groups.extend(groups);
        ids.groups.extend(supplementary(process)?);
    }
    Ok((!ids.users.is_empty()).then_some(ids))
}

/// As whom a process can act that no permission lets through; none when it may be more than that, or nothing is known (I2).
pub fn powerless(process: u32) -> Result<Option<Ids>, ProcError> {
    if let Some(ids) = unprivileged(&[Task { process, thread: process }])? {
        return Ok(Some(ids));
    }
    let status = task::read_whole(&format!("/proc/{process}/status"))?;
    let namespace = task::link(&format!("/proc/{process}/ns/user"))?;
    if status.is_none() || namespace != task::link("/proc/self/ns/user")? {
        return Ok(None);
    }
    Ok(status.and_then(|status| parse_powerless(&String::from_utf8_lossy(&status))))
}

#[expect(clippy::disallowed_methods, reason = "what is not understood is somebody who may be root")]
fn parse_powerless(status: &str) -> Option<Ids> {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let numbers = |name: &str| -> Option<Vec<u64>> {
        field(name)?.split_whitespace().map(|number| number.parse().ok()).collect()
    };
    let capabilities = u64::from_str_radix(field("CapPrm:")?.trim(), 16).ok()?;
    let (users, groups) = (numbers("Uid:")?, [numbers("Gid:")?, numbers("Groups:")?].concat());
    let ranges = |ids: Vec<u64>| ids.into_iter().map(|id| id..=id).collect();
    (capabilities == 0 && !users.contains(&0)).then(|| Ids { users: ranges(users), groups: ranges(groups) })
}

/// `inside outside count`, where outside are the IDs of who reads it.
#[expect(
    clippy::disallowed_methods,
    reason = "a map that is not understood is that of somebody who may be root"
)]
fn parse_map(text: &str) -> Option<Vec<RangeInclusive<u64>>> {
    let range = |line: &str| {
        let mut fields = line.split_whitespace().skip(1).map(|field| field.parse::<u64>().ok());
        let (first, count) = (fields.next()??, fields.next()??);
        Some(first..=first.checked_add(count)?.checked_sub(1)?)
    };
    text.lines().map(range).collect()
}

#[expect(clippy::disallowed_methods, reason = "who has ended is in no group")]
fn supplementary(process: u32) -> Result<Vec<RangeInclusive<u64>>, ProcError> {
    let text = task::read_whole(&format!("/proc/{process}/status"))?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let groups = text.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap_or("");
    Ok(groups.split_whitespace().filter_map(|group| group.parse().ok()).map(|group| group..=group).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_of_users_is_read_as_those_of_this_machine() {
        assert_eq!(parse_map("         0      65534          1\n"), Some(vec![65534..=65534]));
        assert_eq!(parse_map("0 1000 1\n1 100000 65536\n"), Some(vec![1000..=1000, 100_000..=165_535]));
        assert_eq!(parse_map("0 0 4294967295\n"), Some(vec![0..=4_294_967_294]));
        assert_eq!(parse_map("0 x 1\n"), None);
        let own = Task { process: std::process::id(), thread: std::process::id() };
        assert_eq!(unprivileged(&[own]).unwrap(), None);
        assert_eq!(unprivileged(&[]).unwrap(), None);
    }
    #[test]
    fn who_has_a_capability_or_can_be_root_is_let_through() {
        let status = |user: &str, capabilities: &str| {
            format!("Name:\tx\nUid:\t{user}\nGid:\t7\t7\t7\t7\nGroups:\t4 20 \nCapPrm:\t{capabilities}\n")
        };
        let ids = parse_powerless(&status("5\t5\t5\t5", "0000000000000000")).unwrap();
        assert!(ids.has_user(5) && ids.has_group(7) && ids.has_group(20) && !ids.has_user(7));
        assert_eq!(parse_powerless(&status("5\t5\t5\t5", "0000000000000002")), None);
        assert_eq!(parse_powerless(&status("5\t5\t0\t5", "0000000000000000")), None);
        assert_eq!(parse_powerless("Name:\tx\n"), None);
    }
}
