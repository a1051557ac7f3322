//! Files that are mapped into memory. They stay so after their descriptor is closed.

use super::ProcError;
use super::mountinfo::Device;
use super::task::{self, Task};

/// One mapped file: the path is what its own root shows, so device and inode say which file it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mapped {
    pub(super) device: Device,
    pub(super) inode: u64,
    pub(super) path: Vec<u8>,
    /// Where it is in memory, which is its name in `map_files`.
    range: String,
}

/// What a task has mapped, each file once where its parts follow each other.
#[expect(clippy::disallowed_methods, reason = "what has ended maps nothing")]
pub(super) fn of(task: Task) -> Result<Vec<Mapped>, ProcError> {
    let path = task.path("maps");
    let text = task::read_whole(&path)?.unwrap_or_default();
    parse(&text).ok_or(ProcError::Strange { path })
}

/// The name in `map_files` of a mapped file; none when it is not mapped any more.
pub fn range(task: Task, (device, inode): (Device, u64)) -> Result<Option<String>, ProcError> {
    let mapped = of(task)?.into_iter().find(|file| (file.device, file.inode) == (device, inode));
    Ok(mapped.map(|file| file.range))
}

/// `7f00-7f01 r-xp 00000000 fe:00 131 /usr/lib/x.so`. Without a slash it is memory without a file.
#[expect(clippy::disallowed_methods, reason = "what is no device or inode is refused as strange")]
fn parse(text: &[u8]) -> Option<Vec<Mapped>> {
    let mut found: Vec<Mapped> = Vec::new();
    let mut last: &[u8] = b"";
    for line in text.split(|byte| *byte == b'\n') {
        let Some(start) = line.iter().position(|byte| *byte == b'/') else { continue };
        let (facts, path) = line.split_at(start);
        let mut fields = facts.split(|byte| *byte == b' ').filter(|field| !field.is_empty());
        let range = range_name(fields.next()?);
        let mut fields = fields.skip(2);
        let (device, inode) = (fields.next()?, fields.next()?);
        if path == last && found.last().is_some_and(|last| Some(last.inode) == number(inode, 10)) {
            continue;
        }
        last = path;
        let mut parts = device.splitn(2, |byte| *byte == b':');
        let (major, minor) = (number(parts.next()?, 16)?, number(parts.next()?, 16)?);
        found.push(Mapped {
            device: Device { major: u32::try_from(major).ok()?, minor: u32::try_from(minor).ok()? },
            inode: number(inode, 10)?,
            path: unescape_newline(path),
            range,
        });
    }
    Some(found)
}

/// In maps the addresses have eight digits at least, in the names of `map_files` as many as they need.
fn range_name(range: &[u8]) -> String {
    let range = String::from_utf8_lossy(range);
    let short = |address: &str| match address.trim_start_matches('0') {
        "" => "0".to_owned(),
        short => short.to_owned(),
    };
    range.split('-').map(short).collect::<Vec<_>>().join("-")
}

#[expect(clippy::disallowed_methods, reason = "what is no number is refused as strange")]
fn number(text: &[u8], radix: u32) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(text).ok()?, radix).ok()
}

/// In maps a newline, and nothing else, is written in octal.
fn unescape_newline(path: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(b"\\012") {
            plain.push(b'\n');
            rest = after;
        } else {
            plain.push(*first);
            rest = after;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_file_has_a_device_an_inode_and_a_path() {
        let text = b"000055d0-55d1 r--p 00000000 fe:00 10084747                   /usr/bin/a b\\012c\n\
            55d1-55d2 r-xp 00002000 fe:00 10084747                   /usr/bin/a b\\012c\n\
            55d2-55d3 r-xp 00002000 00:2a 12                         /usr/bin/a b\\012c\n\
            7ffd-7ffe rw-p 00000000 00:00 0                          [stack]\n\
            7f00-7f01 rw-s 00000000 00:01 1026                       /memfd:x (deleted)\n";
        let mapped = |major, minor, inode, path: &[u8], range: &str| Mapped {
            device: Device { major, minor },
            inode,
            path: path.to_vec(),
            range: range.to_owned(),
        };
        let expected = [
            mapped(254, 0, 10_084_747, b"/usr/bin/a b\nc", "55d0-55d1"),
            mapped(0, 42, 12, b"/usr/bin/a b\nc", "55d2-55d3"),
            mapped(0, 1, 1026, b"/memfd:x (deleted)", "7f00-7f01"),
        ];
        assert_eq!(parse(text).unwrap(), expected);
        assert_eq!(parse(b"55d0-55d1 r--p 0 fe 1 /x\n"), None);
    }
}
