#![no_main]

use libfuzzer_sys::fuzz_target;
use patch_engine_fuzz::read_as;
use shared_contracts::patches::PatchFormat;

fuzz_target!(|text: &str| read_as(text, PatchFormat::WholeFile));
