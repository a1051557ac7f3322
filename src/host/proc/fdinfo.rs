//! What `/proc/PID/fdinfo/N` says of a descriptor beside its mount (`proc_pid_fdinfo(5)`): inotify and fanotify marks, and the files
//! that an `io_uring` keeps open although no descriptor does. Pure.

use super::mountinfo::{Device, unescape};

/// One fdinfo.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FdInfo {
    /// The mount through which the file was opened; none when the kernel does not say.
    pub mount: Option<u64>,
    /// Inodes that inotify or fanotify watches. The kernel keeps them, and no descriptor shows them.
    pub marks: Vec<Mark>,
    /// Files registered with an `io_uring`; none when the kernel left them out, because the ring was busy.
    pub registered: Option<Registered>,
}

/// The files that are registered with an `io_uring`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// How many places there are for them; some or all may be free.
    pub places: u64,
    /// Their paths, or before Linux 6.10 their names.
    pub files: Vec<Vec<u8>>,
}

/// One watched inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// Its file system, as mountinfo names it.
    pub device: Device,
    /// Its number there.
    pub inode: u64,
}

/// A line that this program does not understand: what it watches or keeps open is not known (I2).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no line of an fdinfo that this volgc knows")]
pub struct BadFdInfo(pub String);

/// Takes an fdinfo apart. What describes neither mount, mark nor registered file is skipped.
///
/// # Errors
///
/// At a mark or a registered file that is not understood.
pub fn parse_fdinfo(text: &[u8]) -> Result<FdInfo, BadFdInfo> {
    let mut info = FdInfo::default();
    let mut lines = text.split(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let bad = || BadFdInfo(String::from_utf8_lossy(line).into_owned());
        if let Some(id) = line.strip_prefix(b"mnt_id:") {
            info.mount = decimal(id);
        } else if line.starts_with(b"inotify ") || line.starts_with(b"fanotify ") {
            info.marks.extend(mark(line).map_err(|()| bad())?);
        } else if let Some(places) = line.strip_prefix(b"UserFiles:") {
            let places = decimal(places).ok_or_else(bad)?;
            let mut files = Vec::new();
            while let Some(file) = lines.next_if(|line| is_numbered(line)) {
                let bad = || BadFdInfo(String::from_utf8_lossy(file).into_owned());
                match registered_file(file).ok_or_else(bad)? {
                    Place::Free => {}
                    Place::Taken(name) => files.push(name),
                }
            }
            info.registered = Some(Registered { places, files });
        }
    }
    Ok(info)
}

/// `    7: file`, with a number as wide as it has to be.
fn is_numbered(line: &[u8]) -> bool {
    let line = line.trim_ascii_start();
    let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && line.get(digits..).is_some_and(|rest| rest.starts_with(b": "))
}

/// `inotify wd:1 ino:99e18b sdev:fe00000 mask:...`. A mark on a whole mount or file system has no inode, and holds none.
fn mark(line: &[u8]) -> Result<Option<Mark>, ()> {
    let field = |name: &[u8]| {
        line.split(|byte| *byte == b' ').find_map(|field| field.strip_prefix(name)).map(hexadecimal)
    };
    match (field(b"ino:"), field(b"sdev:")) {
        (None, _) => Ok(None),
        // The kernel's own form of a device number: 12 bits and 20 bits (Linux `include/linux/kdev_t.h`).
        (Some(Some(inode)), Some(Some(device))) => Ok(Some(Mark {
            device: Device {
                major: u32::try_from(device >> 20).map_err(drop)?,
                minor: u32::try_from(device & 0xf_ffff).map_err(drop)?,
            },
            inode,
        })),
        (Some(_), _) => Err(()),
    }
}

/// One of the places that a ring has for files.
enum Place {
    Free,
    Taken(Vec<u8>),
}

/// `    0: /path` or `    0: <none>`. Before Linux 6.10 the file's name alone.
fn registered_file(line: &[u8]) -> Option<Place> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    decimal(line.get(..colon)?)?;
    let name = line.get(colon + 1..)?.strip_prefix(b" ")?;
    if name == b"<none>" { Some(Place::Free) } else { unescape(name).map(Place::Taken) }
}

#[expect(clippy::disallowed_methods, reason = "what is no number makes a mark or file one that is refused")]
fn decimal(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

#[expect(clippy::disallowed_methods, reason = "what is no number makes the mark one that is refused")]
fn hexadecimal(text: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_inotify_and_fanotify_are_read() {
        let text = b"pos:\t0\nflags:\t00\nmnt_id:\t17\nino:\t1038\n\
            inotify wd:2 ino:99e18b sdev:fe00000 mask:fff ignored_mask:0 fhandle-bytes:8 fhandle-type:1 f_handle:8be1\n\
            fanotify flags:0 event-flags:0\n\
            fanotify mnt_id:12 mflags:40 mask:38 ignored_mask:40000003\n\
            fanotify ino:4f969 sdev:800013 mflags:0 mask:3b ignored_mask:40000000 fhandle-bytes:8\n";
        let info = parse_fdinfo(text).unwrap();
        let mark = |major, minor, inode| Mark { device: Device { major, minor }, inode };
        assert_eq!(info.marks, [mark(254, 0, 0x99_e18b), mark(8, 19, 0x4_f969)]);
        assert_eq!((info.mount, info.registered), (Some(17), None));
        assert!(parse_fdinfo(b"inotify wd:1 ino:xyz sdev:1 mask:0\n").is_err());
        assert!(parse_fdinfo(b"inotify wd:1 ino:12 mask:0\n").is_err());
    }

    #[test]
    fn the_files_of_a_ring_are_read_in_both_forms_of_the_kernel() {
        let ring = |files: &str| {
            let text = format!("mnt_id:\t17\nSqMask:\t0x3\nUserFiles:\t3\n{files}UserBufs:\t0\nPollList:\n");
            parse_fdinfo(text.as_bytes()).map(|info| info.registered.map(|registered| registered.files))
        };
        let names = |names: &[&str]| Ok(Some(names.iter().map(|name| name.as_bytes().to_vec()).collect()));
        assert_eq!(ring("    0: /a\\040b/f\n    1: <none>\n   12: /g\n"), names(&["/a b/f", "/g"]));
        assert_eq!(ring("    0: f\n"), names(&["f"]));
        assert_eq!(ring(" 9999: f\n10000: /g\n123456: /h\n"), names(&["f", "/g", "/h"]));
        assert_eq!(ring(""), names(&[]));
        assert!(ring("    0: /a\\04\n").is_err());
        // The ring was busy: the kernel leaves everything out.
        assert_eq!(parse_fdinfo(b"mnt_id:\t17\nSqMask:\t0x3\n").unwrap().registered, None);
    }
}
