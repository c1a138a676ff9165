//! A state file, torn or hostile, never panics; one that is accepted survives a round trip.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vpc_ipam_core::checkpoint;

fuzz_target!(|data: &[u8]| {
    if let Ok(leases) = checkpoint::decode(data) {
        let again = checkpoint::decode(&checkpoint::encode(&leases));
        assert_eq!(again.as_ref(), Ok(&leases));
    }
});
