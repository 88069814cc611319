//! `aisle-train`.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match aisle_train::cli::run(aisle_train::cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
