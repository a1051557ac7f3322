//! Writes the manual pages and the shell completions, from the same definitions that read the command line:
//! `cargo run --example manual -- DIRECTORY`. `make deb` packs what it writes.
//!
//! It is no part of the program, and what it uses is no dependency of the program's.

#![allow(clippy::disallowed_methods, reason = "writes files for the package")]

use std::error::Error;
use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory as _};
use clap_complete::{Shell, generate_to};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use volgc::cli::Cli;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args_os().nth(1).ok_or("name the directory to write to")?;
    let directory = Path::new(&directory);
    fs::create_dir_all(directory)?;
    // A command that shows help has `--help`, and is not worth a page.
    let mut command = Cli::command().disable_help_subcommand(true);
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut command, "volgc", directory)?;
    }
    command.build();
    let names: Vec<String> =
        command.get_subcommands().map(|command| format!("volgc-{}", command.get_name())).collect();
    write_page(directory, &command, &names)?;
    for subcommand in command.get_subcommands() {
        write_page(directory, subcommand, &["volgc".to_owned()])?;
    }
    Ok(())
}

/// `volgc.1`, or `volgc-COMMAND.1`, which points to the pages `see_also`.
fn write_page(directory: &Path, command: &Command, see_also: &[String]) -> Result<(), Box<dyn Error>> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .section("1")
        .date("")
        .source(format!("volgc {}", env!("CARGO_PKG_VERSION")))
        .manual("volgc");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    rest(command, see_also).to_writer(&mut page)?;
    fs::write(directory.join(format!("{name}.1")), page)?;
    Ok(())
}

/// The sections that follow the options.
fn rest(command: &Command, see_also: &[String]) -> Roff {
    let mut rest = Roff::new();
    if let Some(codes) = command.get_after_help() {
        rest.control("SH", ["EXIT STATUS"]);
        rest.text([roman(codes.to_string())]);
    }
    for (title, entries) in SECTIONS {
        rest.control("SH", [title]);
        for (term, text) in entries {
            rest.control("TP", []);
            rest.text([bold(*term)]);
            rest.text([roman(*text)]);
        }
    }
    rest.control("SH", ["SEE ALSO"]);
    let pages = see_also.iter().map(|page| (page.as_str(), "(1), ")).chain([("volgc-config.toml", "(5)")]);
    rest.text(pages.flat_map(|(page, section)| [bold(page), roman(section)]).collect::<Vec<_>>());
    rest
}

/// What the definitions do not say.
const SECTIONS: [(&str, &[(&str, &str)]); 2] = [
    (
        "FILES",
        &[
            ("/etc/volgc/config.toml", "The configuration."),
            ("/var/lib/volgc/ledger.db", "Since when each volume is unreferenced, holds, history."),
            ("DOCKER_ROOT/volgc/", "The quarantine, beside the engine's own directory of volumes."),
        ],
    ),
    (
        "ENVIRONMENT",
        &[
            ("VOLGC_CONFIG", "The configuration file, unless --config names one."),
            ("VOLGC_LOG", "What is logged: error, warn, info, debug or trace."),
            (
                "DOCKER_HOST, DOCKER_TLS_VERIFY, DOCKER_CERT_PATH",
                "The engine's address, as docker(1) reads it, unless the configuration has one.",
            ),
        ],
    ),
];
