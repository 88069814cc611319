//! What the system knows about a process.

use anyhow::{Context, Result};

/// A process by its number.
#[derive(Clone, Copy)]
pub struct Process(pub u32);

impl Process {
    fn read(self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.0);
        std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {path}: is --pid the server's?"))
    }

    /// Bytes of anonymous memory: what the system could not take back by dropping pages of files.
    pub fn memory(self) -> Result<u64> {
        let status = self.read("status")?;
        let value = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = value.context("no RssAnon")?.trim().trim_end_matches(" kB");
        let kib: u64 = kib.parse().context("RssAnon is not a number")?;
        Ok(kib << 10)
    }

    /// Seconds of processor time that it has used.
    pub fn busy(self) -> Result<f64> {
        let stat = self.read("stat")?;
        // The name, in brackets, may hold spaces; user and system time are fields 12 and 13 after
        // it.
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let ticks = |at: usize| {
            let field = fields.get(at).and_then(|field| field.parse::<f64>().ok());
            field.context("no processor time")
        };
        Ok((ticks(11)? + ticks(12)?) / 100.0)
    }
}
