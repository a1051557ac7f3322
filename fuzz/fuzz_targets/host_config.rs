#![no_main]

#[path = "../../tests/corpus/targets.rs"]
#[allow(dead_code, reason = "each fuzz target is one of them")]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::host_config(input));
