//! Compiles the contract with protox, so that no `protoc` has to be installed.

use prost::Message;
use std::path::PathBuf;

const FILES: [&str; 4] = [
    "aisle/v1/common.proto",
    "aisle/v1/recommendation.proto",
    "aisle/v1/model.proto",
    "aisle/v1/rules.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("aisle.v1.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    FILES
        .iter()
        .for_each(|file| println!("cargo::rerun-if-changed={file}"));
    Ok(())
}
