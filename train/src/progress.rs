//! How far long work has come: a bar on a terminal, a line every few seconds elsewhere.

use crate::report::seconds;
use aisle_models::{Device, Progress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Time between two lines about the same stage, where there is no terminal.
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// With no more steps than this, a stage gets no estimate of the time left.
const FEWEST_STEPS: usize = 2;

/// Shows the stages of a fit on standard error, and says where the fit computes and keeps its
/// checkpoints.
pub struct ProgressReporter {
    device: Device,
    checkpoints: Option<PathBuf>,
    bar: ProgressBar,
    is_terminal: bool,
    began: Instant,
    state: Mutex<State>,
}

/// The stage that is shown.
struct State {
    stage: String,
    /// When the last step of the stage before ended.
    stage_began: Instant,
    last_step: Instant,
    last_report: Instant,
}

impl ProgressReporter {
    /// A reporter of work on the CPU that keeps no checkpoints.
    pub fn new() -> Self {
        Self::of(Device::Cpu, None)
    }

    /// A reporter of a fit on a device, with a folder for checkpoints.
    pub fn of(device: Device, checkpoints: Option<PathBuf>) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let target = match is_terminal {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(None, target);
        let template = "{prefix:>22} {bar:30} {pos}/{len}  {elapsed} so far, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let now = Instant::now();
        Self {
            device,
            checkpoints,
            bar,
            is_terminal,
            began: now,
            state: Mutex::new(State {
                stage: String::new(),
                stage_began: now,
                last_step: now,
                last_report: now,
            }),
        }
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Default for ProgressReporter {
    fn default() -> Self {
        Self::new()
    }
}

/// One line about a stage: what is done of it, how long it has taken, and how long the rest will
/// take if the steps are alike.
fn line(stage: &str, (done, total): (usize, usize), elapsed: Duration) -> String {
    let elapsed = elapsed.as_secs_f64();
    let mut text = format!("{stage}: {done} of {total}, {} so far", seconds(elapsed));
    if done > FEWEST_STEPS && done < total {
        let left = elapsed / done as f64 * (total - done) as f64;
        text += &format!(", about {} left", seconds(left));
    }
    text
}

impl Progress for ProgressReporter {
    fn step(&self, stage: &str, done: usize, total: usize) {
        let Ok(mut state) = self.state.lock() else {
            return;
        };
        if state.stage != stage {
            state.stage = stage.into();
            state.stage_began = state.last_step;
            self.bar.reset();
            self.bar.set_prefix(stage.to_string());
            self.bar.set_length(total as u64);
        }
        state.last_step = Instant::now();
        self.bar.set_position(done as u64);
        if self.is_terminal || state.last_report.elapsed() < REPORT_EVERY {
            return;
        }
        state.last_report = Instant::now();
        if total == 1 {
            let since_start = seconds(self.began.elapsed().as_secs_f64());
            eprintln!("{stage}: done, {since_start} since the start");
        } else {
            eprintln!(
                "{}",
                line(stage, (done, total), state.stage_began.elapsed())
            );
        }
    }

    fn message(&self, line: &str) {
        match self.is_terminal {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_told_from_the_steps_so_far() {
        let elapsed = Duration::from_secs(20);
        assert_eq!(
            line("als", (5, 15), elapsed),
            "als: 5 of 15, 20.0 s so far, about 40.0 s left"
        );
    }

    #[test]
    fn few_steps_tell_no_time_left() {
        let elapsed = Duration::from_millis(1500);
        assert_eq!(
            line("context", (2, 3), elapsed),
            "context: 2 of 3, 1.5 s so far"
        );
    }
}
