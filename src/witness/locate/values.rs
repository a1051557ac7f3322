//! The paths that the value of an option may have in it. Pure.
//!
//! `device=/T/proj=1/data` is one path with a separator in it, `lowerdir=/a:/b,upperdir=/c` is three. Nothing but the file system
//! tells them apart. So every text between any two separators is read, and a separator counts as part of a name only where the
//! directories before it exist.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use crate::host::resolve::normalised;

/// How many looks one value may take. No engine's option comes near; a value that somebody made up does not keep us busy.
const MOST_LOOKS: u32 = 10_000;

/// A value that has too many readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMany;

/// Whether a path may be relative to the working directory of the one who uses the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relative {
    Counts,
    Ignored,
}

/// Every path that a value may mean. Those that begin at the root are absolute; the others are relative to the working directory of the
/// one who uses them, and are told only if they have a slash in them or something is there.
pub(super) fn paths(
    value: &str,
    relative: Relative,
    mut is_there: impl FnMut(&Path) -> bool,
) -> Result<BTreeSet<PathBuf>, TooMany> {
    let mut looks = 0;
    let mut look = |path: &Path| {
        looks += 1;
        if looks > MOST_LOOKS { Err(TooMany) } else { Ok(is_there(path)) }
    };
    let ends: Vec<usize> =
        value.char_indices().filter(|(_, letter)| is_separator(*letter)).map(|(at, _)| at).collect();
    let starts = std::iter::once(0).chain(ends.iter().map(|end| end + 1));
    let mut paths = BTreeSet::new();
    for start in starts {
        let mut is_first = true;
        let later = ends.iter().copied().filter(|end| *end > start).chain([value.len()]);
        for end in later {
            let Some(text) = value.get(start..end).filter(|text| !text.is_empty()) else { continue };
            if relative == Relative::Ignored && !text.starts_with(['/', '\\', '%']) {
                break;
            }
            let mut goes_on = is_first;
            for path in spellings(text) {
                let is_read = is_first
                    || match up_to_last_slash(&path) {
                        Some(directory) => look(&directory)? || leads_back(&path, &mut look)?,
                        None => true,
                    };
                if is_read {
                    goes_on = true;
                    if relative == Relative::Ignored && !path.is_absolute() {
                        continue;
                    }
                    if path.components().nth(1).is_some() || path.is_absolute() || look(&path)? {
                        paths.insert(path);
                    }
                }
            }
            if !goes_on {
                break;
            }
            is_first = false;
        }
    }
    Ok(paths)
}

/// All separators of the options that are known: of mounts, overlay's layers, URLs, lists.
fn is_separator(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, ',' | '=' | ':' | ';' | '|' | '&' | '?' | '#' | '"' | '\'')
}

/// Whether `..` takes what is missing out of a path again, and the directory of the rest exists: Go takes it out of the text before
/// anybody looks.
fn leads_back(path: &Path, look: &mut impl FnMut(&Path) -> Result<bool, TooMany>) -> Result<bool, TooMany> {
    let clean = normalised(path);
    if clean == path {
        return Ok(false);
    }
    clean.parent().map_or(Ok(true), look)
}

/// The directory whose name is whole in an unfinished path.
fn up_to_last_slash(path: &Path) -> Option<PathBuf> {
    let text = path.as_os_str().as_encoded_bytes();
    let slash = text.iter().rposition(|byte| *byte == b'/')?;
    Some(PathBuf::from(std::ffi::OsString::from_vec(text.get(..=slash)?.to_vec())))
}

/// As it is, and with its escapes undone: `\,` and `\040` of mount options, `%20` of URLs.
fn spellings(text: &str) -> BTreeSet<PathBuf> {
    let undone =
        [text.as_bytes().to_vec(), without_backslashes(text.as_bytes()), without_percents(text.as_bytes())];
    undone.into_iter().map(|bytes| PathBuf::from(std::ffi::OsString::from_vec(bytes))).collect()
}

fn without_backslashes(mut text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    while let Some((first, rest)) = text.split_first() {
        text = rest;
        match (first, rest) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', rest @ ..]) => {
                plain.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                text = rest;
            }
            (b'\\', [escaped, rest @ ..]) => {
                plain.push(*escaped);
                text = rest;
            }
            (other, _) => plain.push(*other),
        }
    }
    plain
}

#[expect(clippy::disallowed_methods, reason = "what is no digit stands for itself")]
fn without_percents(mut text: &[u8]) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut plain = Vec::with_capacity(text.len());
    while let Some((first, rest)) = text.split_first() {
        text = rest;
        let code = match (first, rest) {
            (b'%', [high, low, ..]) => digit(high).zip(digit(low)),
            _ => None,
        };
        if let Some((high, low)) = code {
            plain.push(high * 16 + low);
            text = rest.get(2..).unwrap_or(&[]);
        } else {
            plain.push(*first);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str, there: &[&str]) -> Vec<String> {
        let is_there = |path: &Path| there.iter().any(|one| Path::new(one) == path);
        paths(value, Relative::Counts, is_there)
            .unwrap()
            .iter()
            .map(|path| path.display().to_string())
            .collect()
    }

    #[track_caller]
    fn assert_reads(value: &str, there: &[&str], path: &str) {
        let read = read(value, there);
        assert!(read.iter().any(|one| one == path), "{value} is not read as {path}: {read:?}");
    }

    #[test]
    fn the_whole_comes_first_and_then_the_parts() {
        assert_reads("/T/proj=1/data", &["/T/", "/T/proj=1/"], "/T/proj=1/data");
        assert_reads("lowerdir=/T/proj=1/a:/b,upperdir=/c", &["/T/", "/T/proj=1/"], "/T/proj=1/a");
        assert_reads("lowerdir=/T/proj=1/a:/b,upperdir=/c", &[], "/b");
        assert_reads("lowerdir=/T/proj=1/a:/b,upperdir=/c", &[], "/c");
    }

    #[test]
    fn a_separator_belongs_to_a_name_only_where_its_directory_exists() {
        assert!(!read("/a:/b", &["/"]).contains(&"/a:/b".to_owned()));
        assert_reads("/a:/b", &["/", "/a:/"], "/a:/b");
        // The last name need not exist: its data may just have been moved.
        assert_reads("/T/a=b", &["/T/"], "/T/a=b");
    }

    #[test]
    fn escapes_are_undone() {
        assert_reads(r"lowerdir=/T/a\,b\:c/d", &["/T/", "/T/a,b:c/"], "/T/a,b:c/d");
        assert_reads(r"/T/with\040space", &[], "/T/with space");
        assert_reads("unix:///T/with%20space", &[], "///T/with space");
        assert_eq!(without_backslashes(br"a\\b\"), br"a\b\");
    }

    #[test]
    fn relative_paths_are_told_apart_from_words() {
        assert_reads("proj/data", &[], "proj/data");
        assert_reads("bind,rw,data", &["data"], "data");
        assert_eq!(read("bind,rw", &[]), Vec::<String>::new());
    }

    #[test]
    fn nobody_is_kept_busy() {
        let words = "a,".repeat(500);
        assert_eq!(paths(&words, Relative::Counts, |_| true), Err(TooMany));
        // Thousands of layers are no trouble.
        let layers = "/var/lib/x:".repeat(2000);
        assert_eq!(paths(&layers, Relative::Counts, |path| path == Path::new("/var/lib")).unwrap().len(), 2);
    }
}
