#![doc = include_str!("../README.md")]

mod atomic;
pub mod batch;
pub mod cli;
pub mod estimate;
pub mod evaluate;
pub mod fit;
pub mod inspect;
pub mod leakage;
pub mod progress;
pub mod report;
pub mod segments;
pub mod settings;
pub mod tune;
pub mod versions;
