//! Keeps `src/rpc/generated.rs` in step with `rpc/rpc.proto`, so that users need no protoc.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{env, fs, path::Path};

use protox::prost_reflect::prost_types::FileDescriptorSet;

/// Rust names of fields whose mixed case the generator would cut in the wrong places
/// (`IPv4Addr` would become `i_pv4_addr`). Only the name in Rust changes; the wire knows numbers.
const FIELD_NAMES: &[(&str, &str)] = &[
    ("IPAllocationMetadata", "ip_allocation_metadata"),
    ("IPv4Addr", "ipv4_addr"),
    ("IPv6Addr", "ipv6_addr"),
    ("MultiNICEnabled", "multi_nic_enabled"),
    ("NodeIPv4", "node_ipv4"),
    ("NodeIPv6", "node_ipv6"),
    ("PodENIMAC", "pod_eni_mac"),
    ("PodENISubnetGW", "pod_eni_subnet_gw"),
    ("RequiresMultiNICAttachment", "requires_multi_nic_attachment"),
    ("UseExternalSNAT", "use_external_snat"),
    ("VPCv4CIDRs", "vpc_v4_cidrs"),
    ("VPCv6CIDRs", "vpc_v6_cidrs"),
];

fn generate() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut fds: FileDescriptorSet =
        protox::compile(["rpc/rpc.proto"], [root]).expect("rpc.proto compiles");
    for message in fds.file.iter_mut().flat_map(|f| &mut f.message_type) {
        for field in &mut message.field {
            if let Some((_, rust)) = FIELD_NAMES.iter().find(|(proto, _)| field.name() == *proto) {
                field.name = Some((*rust).to_owned());
            }
        }
    }
    let out = tempfile::tempdir().unwrap();
    tonic_prost_build::configure()
        .out_dir(out.path())
        .build_transport(false)
        .server_mod_attribute(".", "#[cfg(feature = \"server\")]")
        .compile_fds(fds)
        .expect("code generation");
    fs::read_to_string(out.path().join("rpc.rs")).unwrap()
}

#[test]
fn generated_code_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/rpc/generated.rs");
    let fresh = generate();
    if env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&path, &fresh).unwrap();
    }
    let checked_in = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        checked_in == fresh,
        "{} is not what rpc/rpc.proto gives; run UPDATE_GENERATED=1 cargo test -p vpc-cni-plugin --test rpc_codegen",
        path.display()
    );
}
