//! The lines of `/proc/PID/mountinfo` (`proc_pid_mountinfo(5)`), taken apart. Pure.

/// A file system as mountinfo names it. On btrfs and overlayfs this is not the `st_dev` of its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Device {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// One mount, as far as it matters here. Paths are bytes: they need not be UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountLine {
    /// Its identifier, unique among all mounts of the machine while it exists.
    pub id: u64,
    /// The mount it is mounted on.
    pub parent: u64,
    /// Its file system.
    pub device: Device,
    /// The directory or file of that file system which is mounted, as a path within it.
    pub root: Vec<u8>,
    /// Where, seen from the root directory of the process.
    pub point: Vec<u8>,
    /// The type of the file system.
    pub kind: Vec<u8>,
    /// The directories that an overlay is made of, as they were written when it was mounted: seen by whoever mounted it, and not
    /// always absolute. Of an EROFS that was mounted straight from a file, that file.
    pub layers: Vec<Vec<u8>>,
    /// Those of them of which nothing is seen by its own name: files of others have their content there.
    pub data: Vec<Vec<u8>>,
    /// The directories that an overlay writes to.
    pub uppers: Vec<Vec<u8>>,
    /// What else could be a path in the source and the options: the branches of a FUSE pool, a cache, a journal.
    pub mentions: Vec<Vec<u8>>,
}

/// A line that cannot be understood. What it mounts is not known, so nothing is concluded from the others (I2).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no mountinfo line that this program understands")]
pub struct BadMountLine(pub String);

/// Takes a whole mountinfo apart.
///
/// # Errors
///
/// At the first line that is not understood, a last one without its newline included.
#[expect(clippy::disallowed_methods, reason = "nothing follows the last newline")]
pub fn parse_mountinfo(text: &[u8]) -> Result<Vec<MountLine>, BadMountLine> {
    let mut rest = text;
    let mut lines = Vec::new();
    while !rest.is_empty() {
        let bad = |line: &[u8]| BadMountLine(String::from_utf8_lossy(line).into_owned());
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or_else(|| bad(rest))?;
        let (line, after) = rest.split_at(end);
        lines.push(parse_line(line).ok_or_else(|| bad(line))?);
        rest = after.get(1..).unwrap_or_default();
    }
    Ok(lines)
}

fn parse_line(line: &[u8]) -> Option<MountLine> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = number(fields.next()?)?;
    let parent = number(fields.next()?)?;
    let mut device = fields.next()?.splitn(2, |byte| *byte == b':');
    let device = Device { major: number(device.next()?)?, minor: number(device.next()?)? };
    let root = unescape(fields.next()?)?;
    let point = unescape(fields.next()?)?;
    let _options = fields.next()?;
    // Any number of optional fields, up to a lone dash.
    fields.find(|field| *field == b"-")?;
    let kind = fields.next().filter(|kind| !kind.is_empty())?.to_vec();
    // The source may be empty.
    let source = unescape(fields.next().unwrap_or(b""))?;
    let options = fields.next();
    let of_overlay =
        |wanted: &[&[u8]]| if kind == b"overlay" { layers(options?, wanted) } else { Some(Vec::new()) };
    let (uppers, data) = (of_overlay(&UPPERS)?, of_overlay(&[DATA])?);
    let (layers, mentions) = match kind.as_slice() {
        b"overlay" => (layers(options?, &LOWERS)?, Vec::new()),
        b"erofs" => (backing_file(source), values(options)),
        fuse if fuse.starts_with(b"fuse") => (Vec::new(), [branches(source), values(options)].concat()),
        _ => (Vec::new(), [vec![source], values(options)].concat()),
    };
    let mentions = mentions.into_iter().filter(|text| could_be_path(&kind, text)).collect();
    (point.starts_with(b"/") && !root.is_empty()).then_some(MountLine {
        id,
        parent,
        device,
        root,
        point,
        kind,
        layers,
        data,
        uppers,
        mentions,
    })
}

const LOWERS: [&[u8]; 3] = [b"lowerdir", b"lowerdir+", b"datadir+"];
const DATA: &[u8] = b"datadir+";
const UPPERS: [&[u8]; 2] = [b"upperdir", b"workdir"];

/// The file that an EROFS was mounted from (Linux 6.12), unless it is a device.
fn backing_file(source: Vec<u8>) -> Vec<Vec<u8>> {
    let is_device = source.starts_with(b"/dev/") || source.is_empty() || source == b"none";
    if is_device { Vec::new() } else { vec![source] }
}

/// A pool of FUSE names its branches in the source, without what they begin with in common (mergerfs).
fn branches(source: Vec<u8>) -> Vec<Vec<u8>> {
    let parts = source.split(|byte| matches!(byte, b':' | b',' | b'=')).map(<[u8]>::to_vec);
    let mut branches: Vec<Vec<u8>> = parts.filter(|part| *part != source).collect();
    branches.push(source);
    branches
}

/// The values of all options, each part of a list.
fn values(options: Option<&[u8]>) -> Vec<Vec<u8>> {
    let value = |option: &[u8]| {
        let equals = option.iter().position(|byte| *byte == b'=')?;
        let value = option.get(equals + 1..)?;
        Some(unescape(value).unwrap_or_else(|| value.to_vec()))
    };
    let values = options.unwrap_or(b"").split(|byte| *byte == b',').filter_map(value);
    let parts = values.flat_map(|value| {
        let parts: Vec<Vec<u8>> = value.split(|byte| *byte == b':').map(<[u8]>::to_vec).collect();
        parts
    });
    parts.filter(|part| part.starts_with(b"/")).collect()
}

/// Of FUSE even what is relative counts. A device is no path into a volume, and `/` is none into any one of them.
fn could_be_path(kind: &[u8], text: &[u8]) -> bool {
    let is_relative = !text.starts_with(b"/");
    !text.is_empty()
        && text != b"/"
        && !text.starts_with(b"/dev/")
        && (kind.starts_with(b"fuse") || !is_relative)
}

/// The directories in these options of an overlay (kernel `Documentation/filesystems/overlayfs.rst`).
fn layers(options: &[u8], wanted: &[&[u8]]) -> Option<Vec<Vec<u8>>> {
    let mut layers = Vec::new();
    for option in options.split(|byte| *byte == b',') {
        let Some(equals) = option.iter().position(|byte| *byte == b'=') else { continue };
        let (key, value) = (option.get(..equals)?, option.get(equals + 1..)?);
        match key {
            b"lowerdir" if wanted.contains(&DATA) => {
                let (above, below) = split_layers(&unescape(value)?);
                let above = if wanted.contains(&key) { above } else { Vec::new() };
                layers.extend(above.into_iter().chain(below));
            }
            key if !wanted.contains(&key) => {}
            _ => layers.push(unescape(value)?),
        }
    }
    Some(layers)
}

/// `a:b::c`, where a backslash takes its meaning from a colon, and what follows two colons has data alone.
fn split_layers(value: &[u8]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let mut parts = vec![Vec::new()];
    let mut bytes = value.iter().copied();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b':' => {
                parts.push(Vec::new());
                continue;
            }
            b'\\' => bytes.next().unwrap_or(b'\\'),
            other => other,
        };
        if let Some(part) = parts.last_mut() {
            part.push(byte);
        }
    }
    let is_data_behind = parts.iter().position(Vec::is_empty).unwrap_or(parts.len());
    let mut data = parts.split_off(is_data_behind);
    data.retain(|part| !part.is_empty());
    (parts, data)
}

#[expect(clippy::disallowed_methods, reason = "what is not a number makes the caller refuse the line")]
fn number<T: std::str::FromStr>(field: &[u8]) -> Option<T> {
    let is_plain = field.iter().all(u8::is_ascii_digit);
    is_plain.then(|| std::str::from_utf8(field).ok()?.parse().ok()).flatten()
}

/// Space, tab, newline and backslash are written as `\` and three octal digits.
#[expect(clippy::disallowed_methods, reason = "what is no byte makes the line one that is refused")]
pub(in crate::host) fn unescape(field: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(field.len());
    let mut bytes = field.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            plain.push(byte);
            continue;
        }
        let mut value: u32 = 0;
        for _ in 0..3 {
            let digit = char::from(bytes.next()?).to_digit(8)?;
            value = value * 8 + digit;
        }
        plain.push(u8::try_from(value).ok()?);
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> MountLine {
        parse_mountinfo(line.as_bytes()).unwrap().into_iter().next().unwrap()
    }

    #[test]
    fn a_line_is_taken_apart_whatever_optional_fields_it_has() {
        for optional in ["", "shared:1 ", "master:2 propagate_from:3 ", "unbindable "] {
            let line = one(&format!(
                "36 35 98:0 /mnt1 /mnt2 rw,noatime {optional}- ext3 /dev/root rw,errors=continue\n"
            ));
            assert_eq!((line.id, line.parent), (36, 35));
            assert_eq!(line.device, Device { major: 98, minor: 0 });
            assert_eq!(
                (line.root.as_slice(), line.point.as_slice(), line.kind.as_slice()),
                (&b"/mnt1"[..], &b"/mnt2"[..], &b"ext3"[..])
            );
        }
    }

    #[test]
    fn escapes_are_undone_and_other_bytes_left_alone() {
        let line = one("1 2 0:3 /a\\040b\\011c\\012d\\134e /\\134040 rw - ext4 /dev/x rw\n");
        assert_eq!(line.root, b"/a b\tc\nd\\e");
        assert_eq!(line.point, b"/\\040");
        let raw = b"1 2 0:3 /\xff\xfe /\xc3 rw - ext4 /dev/x rw\n";
        assert_eq!(parse_mountinfo(raw).unwrap().first().unwrap().root, b"/\xff\xfe");
    }

    #[test]
    fn a_source_that_is_empty_and_a_root_that_is_no_path_are_understood() {
        assert_eq!(
            one("1 2 0:3 / / rw -  tmpfs rw\n".replace("-  tmpfs", "- tmpfs ").as_str()).kind,
            b"tmpfs"
        );
        assert_eq!(one("1 2 0:4 mnt:[4026532000] /run/ns rw - nsfs nsfs rw\n").root, b"mnt:[4026532000]");
    }

    #[test]
    fn the_directories_of_an_overlay_are_told() {
        let layers = |options: &str| -> Vec<String> {
            let line = one(&format!("1 2 0:9 / /m rw - overlay overlay {options}\n"));
            let all = line.layers.iter().chain(&line.uppers);
            all.map(|layer| String::from_utf8_lossy(layer).into_owned()).collect()
        };
        assert_eq!(
            layers("rw,lowerdir=/a:/b\\040c::l/D,upperdir=/u,workdir=/w,xino=off"),
            ["/a", "/b c", "l/D", "/u", "/w"]
        );
        // A comma is written by the kernel as `\054`, a colon in a name by the user as `\:`.
        assert_eq!(layers("ro,lowerdir+=/x\\054y,datadir+=/z,lowerdir=/p\\134:q"), ["/x,y", "/z", "/p:q"]);
        assert_eq!(layers("rw"), Vec::<String>::new());
        let other = one("1 2 0:9 / /m rw - ext4 /dev/x rw,lowerdir=/a\n");
        assert!(other.layers.is_empty());
        assert!(parse_mountinfo(b"1 2 0:9 / /m rw - overlay overlay\n").is_err());
    }

    #[test]
    fn files_and_branches_that_a_mount_is_made_of_are_told() {
        let told = |line: &str| {
            let line = one(line);
            let texts = |texts: Vec<Vec<u8>>| -> Vec<String> {
                texts.into_iter().map(|text| String::from_utf8(text).unwrap()).collect()
            };
            (texts(line.layers), texts(line.mentions))
        };
        let none = Vec::<String>::new;
        // As Linux 6.18 tells them.
        let erofs = "43 27 0:41 / /em rw,relatime - erofs /r/volumes/v/_data/img\\040x ro,user_xattr,acl\n";
        assert_eq!(told(erofs), (vec!["/r/volumes/v/_data/img x".to_owned()], none()));
        assert_eq!(told("43 27 7:0 / /em rw - erofs /dev/loop0 ro\n"), (none(), none()));
        let pool = "43 27 0:39 / /pool rw - fuse.mergerfs a/_data:b/_data rw,user_id=0,group_id=0\n";
        assert_eq!(told(pool).1, ["a/_data", "b/_data", "a/_data:b/_data"]);
        assert_eq!(
            told("45 27 0:41 / /bf rw - fuse /r/volumes/a/_data rw,allow_other\n").1,
            ["/r/volumes/a/_data"]
        );
        assert_eq!(told("45 27 0:41 / /x rw - ext4 /dev/sda1 rw,errors=remount-ro\n").1, none());
        assert_eq!(
            told("45 27 0:41 / /x rw - cachefs none rw,dir=/var/cache:/srv,tag=x\n").1,
            ["/var/cache", "/srv"]
        );
    }

    #[test]
    fn what_is_not_understood_makes_the_whole_answer_an_error() {
        let good = "36 35 98:0 / / rw - ext3 /dev/root rw\n";
        for bad in [
            "36 35 98:0 / / rw - ext3 /dev/root rw", // cut off: no newline
            "\n",
            "x 35 98:0 / / rw - ext3 /dev/root rw\n",
            "36 35 98 / / rw - ext3 /dev/root rw\n",
            "36 35 98:0 / / rw shared:1 ext3 /dev/root rw\n",
            "36 35 98:0 / / rw -\n",
            "36 35 98:0 /\\04 / rw - ext3 /dev/root rw\n",
            "36 35 98:0 / relative rw - ext3 /dev/root rw\n",
            "+36 35 98:0 / / rw - ext3 /dev/root rw\n",
        ] {
            assert!(parse_mountinfo(format!("{good}{bad}").as_bytes()).is_err(), "{bad:?}");
        }
        assert_eq!(parse_mountinfo(b""), Ok(Vec::new()));
    }
}
