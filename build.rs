//! Compiles the protos with protox, so that nothing has to be installed.

use std::error::Error;
use std::path::PathBuf;

use prost::Message as _;

const PROTOS: &[&str] = &[
    "envoy/service/auth/v3/authorization.proto",
    "weighbridge/v1/admin.proto",
    "weighbridge/v1/advisor.proto",
    "weighbridge/v1/deployment.proto",
    "weighbridge/v1/eligibility.proto",
    "weighbridge/v1/license.proto",
    "weighbridge/v1/model.proto",
    "weighbridge/v1/offering.proto",
    "weighbridge/v1/policy.proto",
    "weighbridge/v1/types.proto",
    "weighbridge/v1/use_profile.proto",
    "weighbridge/v1/waiver.proto",
    "weighbridge/storage/v1/commit_note.proto",
    "weighbridge/storage/v1/record.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=data");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(PROTOS)?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    // Reflection serves this set, comments included.
    std::fs::write(out.join("descriptors.binpb"), compiler.encode_file_descriptor_set())?;
    let set = prost_types_set(&compiler.encode_file_descriptor_set())?;
    let is_served = std::env::var_os("CARGO_FEATURE_SERVER").is_some();
    let builder = tonic_prost_build::configure()
        .build_transport(false)
        .build_server(is_served)
        .btree_map(".weighbridge")
        .btree_map(".envoy");
    builder.include_file("pb.rs").compile_fds(set)?;
    Ok(())
}

fn prost_types_set(bytes: &[u8]) -> Result<tonic_prost_build::FileDescriptorSet, Box<dyn Error>> {
    Ok(tonic_prost_build::FileDescriptorSet::decode(bytes)?)
}
