//! How far long work has come: a bar on a terminal, a line every few seconds otherwise.

use aisle_models::{Device, Watch};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Runs one fit: shows its steps, and knows its device and where its checkpoints are.
pub struct Progress {
    device: Device,
    checkpoints: Option<PathBuf>,
    bar: ProgressBar,
    terminal: bool,
    state: Mutex<State>,
}

struct State {
    stage: String,
    began: Instant,
    told: Instant,
}

impl Progress {
    /// On standard error.
    pub fn new() -> Self {
        Self::of(Device::Cpu, None)
    }

    /// The same, of a fit on a device with a folder for checkpoints.
    pub fn of(device: Device, checkpoints: Option<PathBuf>) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar =
            ProgressBar::with_draw_target(None, if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() });
        if let Ok(style) = ProgressStyle::with_template("{prefix:>12} {bar:30} {pos}/{len}  {per_sec}  {eta} left") {
            bar.set_style(style);
        }
        let now = Instant::now();
        Self { device, checkpoints, bar, terminal, state: Mutex::new(State { stage: String::new(), began: now, told: now }) }
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Watch for Progress {
    fn step(&self, stage: &str, done: usize, total: usize) {
        let Ok(mut state) = self.state.lock() else { return };
        if state.stage != stage {
            state.stage = stage.into();
            state.began = Instant::now();
            self.bar.reset();
            self.bar.set_prefix(stage.to_string());
            self.bar.set_length(total as u64);
        }
        self.bar.set_position(done as u64);
        let due = state.told.elapsed() >= Duration::from_secs(5);
        if !self.terminal && total > 1 && done > 1 && done < total && due {
            let elapsed = state.began.elapsed().as_secs_f64();
            let each = elapsed / (done - 1) as f64;
            eprintln!("{stage}: {done}/{total}, {each:.2} s each, {:.0} s left", each * (total - done) as f64);
            state.told = Instant::now();
        }
    }

    fn say(&self, line: &str) {
        match self.terminal {
            true => self.bar.println(line),
            false => eprintln!("{line}"),
        }
    }

    fn device(&self) -> Device {
        self.device
    }

    fn checkpoints(&self) -> Option<&Path> {
        self.checkpoints.as_deref()
    }
}
