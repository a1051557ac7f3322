//! Stdout: the one place where data is printed.

use std::io::{self, Write as _};

use serde::Serialize;

use super::CliError;

/// Prints text as it is. A reader that has gone away (`| head`) is no failure.
pub(super) fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        Err(_) | Ok(()) => Ok(()),
    }
}

/// Prints one JSON document.
pub(super) fn json(document: &impl Serialize) -> Result<(), CliError> {
    let mut text = serde_json::to_string_pretty(document).map_err(io::Error::from)?;
    text.push('\n');
    print(&text)
}
