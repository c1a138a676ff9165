//! What instance metadata says never panics, and what is read from it stays within bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vpc_eni_aws::imds::parse;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        parse::every(text);
    }
});
