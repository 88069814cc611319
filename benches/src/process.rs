//! What the system knows of a process.

use anyhow::{Context, Result};

/// A process by its number.
#[derive(Clone, Copy)]
pub struct Process(pub u32);

impl Process {
    fn read(self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.0);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}: is --pid the server's?"))
    }

    /// Bytes that are its own: what the system could not take back by dropping pages of files.
    pub fn memory(self) -> Result<u64> {
        let status = self.read("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("no RssAnon")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().context("RssAnon is not a number")?;
        Ok(kib << 10)
    }

    /// Seconds of processor time that it has used.
    pub fn busy(self) -> Result<f64> {
        let stat = self.read("stat")?;
        // The name, in brackets, may hold spaces; user and system time are the 12th and 13th field after it.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).context("no processor time");
        Ok((ticks(11)? + ticks(12)?) / 100.0)
    }
}
