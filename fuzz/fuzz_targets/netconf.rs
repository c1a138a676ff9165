//! What a runtime sends to the plugin never panics: configuration, arguments, version request.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vpc_cni_plugin::protocol::{NetConf, PodArgs, version_reply};

fuzz_target!(|data: &[u8]| {
    let _ = NetConf::parse(data);
    let _ = NetConf::version_for_errors(data);
    let _ = version_reply(data);
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = PodArgs::parse(text);
    }
});
