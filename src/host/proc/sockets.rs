//! Unix sockets that are bound to a path, of every network namespace. `/proc/PID/net/unix` is the one place that shows the path; the
//! descriptor shows a number alone.

use std::collections::{BTreeMap, BTreeSet};

use super::{ProcError, task};

/// The path that each bound socket was given, by the number of the socket. As its process wrote it: perhaps relative, with links, and
/// of a file that was renamed since.
pub type Bound = BTreeMap<u64, Vec<u8>>;

/// Every bound socket of every network namespace that a process is in.
pub fn bound() -> Result<Bound, ProcError> {
    let mut seen = BTreeSet::new();
    let mut bound = Bound::new();
    for process in task::processes()? {
        let network = match task::link(&format!("/proc/{process}/ns/net")) {
            Ok(Some(network)) => network,
            // It ended, or the scan of its descriptors says that it cannot be looked at.
            Ok(None) | Err(ProcError::Denied { .. }) => continue,
            Err(error) => return Err(error),
        };
        if seen.contains(&network) {
            continue;
        }
        if let Some(table) = task::read_whole(&format!("/proc/{process}/net/unix"))? {
            bound.extend(parse_unix(&table));
            seen.insert(network);
        }
    }
    Ok(bound)
}

/// `Num: RefCount Protocol Flags Type St Inode Path`, below a line of titles. A socket without a path has none, an abstract one
/// begins with `@`.
#[expect(
    clippy::disallowed_methods,
    reason = "a line without a number is the rest of a path with a line break"
)]
fn parse_unix(table: &[u8]) -> impl Iterator<Item = (u64, Vec<u8>)> {
    table.split(|byte| *byte == b'\n').skip(1).filter_map(|line| {
        // The inode is padded, and the path may hold spaces.
        let mut rest = line;
        let mut field = || {
            let start = rest.iter().position(|byte| *byte != b' ')?;
            let from = rest.get(start..)?;
            let end = from.iter().position(|byte| *byte == b' ').unwrap_or(from.len());
            rest = from.get(end..)?;
            from.get(..end)
        };
        let inode = std::str::from_utf8(field().and_then(|_| {
            for _ in 0..5 {
                field()?;
            }
            field()
        })?)
        .ok()?
        .parse()
        .ok()?;
        let path = rest.strip_prefix(b" ")?;
        (!path.is_empty() && !path.starts_with(b"@")).then(|| (inode, path.to_vec()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bound_sockets_are_read_and_nameless_ones_left_out() {
        let table = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
            00000000b5c41766: 00000002 00000000 00010000 0001 01 639261 rel.sock\n\
            0000000012345678: 00000003 00000000 00000000 0001 03 12\n\
            0000000012345679: 00000002 00000000 00010000 0001 01    77 /run/a b/x.sock\n\
            000000001234567a: 00000002 00000000 00010000 0001 01 78 @/abstract\n";
        let bound: Vec<_> = parse_unix(table).collect();
        assert_eq!(bound, [(639_261, b"rel.sock".to_vec()), (77, b"/run/a b/x.sock".to_vec())]);
    }
}
