//! The system calls of the program, as strace tells them.

use std::fs;
use std::process::{Command, ExitStatus};

use super::{Volgc, show};

impl Volgc {
    /// Runs a command under strace, with all of its threads and children: its status, and a line for each system call that
    /// `options` select. The last of them may be a program that runs the command, with its options.
    #[track_caller]
    pub fn traced(&self, options: &[&str], arguments: &[&str]) -> (ExitStatus, String) {
        let trace = self.state_dir().with_file_name("trace");
        let product = self.command(arguments);
        let output = Command::new("strace")
            .args(["-f", "-qq", "-o"])
            .arg(&trace)
            .args(options)
            .arg(product.get_program())
            .args(product.get_args())
            .env_clear()
            // What measures the coverage of these tests writes files, and the product none of these.
            .envs(
                product
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?)))
                    .filter(|(name, _)| *name != "LLVM_PROFILE_FILE"),
            )
            .current_dir("/")
            .output()
            .unwrap_or_else(|error| panic!("cannot run strace: {error}: run tests/setup"));
        let text =
            fs::read(&trace).unwrap_or_else(|error| panic!("cannot read {}: {error}", trace.display()));
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(!text.is_empty(), "strace saw nothing: {}", show(&output));
        (output.status, text)
    }
}
