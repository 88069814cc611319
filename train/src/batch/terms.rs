//! The numbers that say when a row belongs in a table: as typed, and checked once.

use super::Job;
use aisle_data::Split;
use anyhow::{Result, bail};
use clap::Args;
use std::str::FromStr;

const HOUR: f64 = 3_600_000.0;
const DAY: f64 = 24.0 * HOUR;

/// When a row belongs in the table.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Terms (each for the jobs it names)")]
pub struct TermArgs {
    /// abandoned-cart: the cart was not touched for so many hours; 4 unless said.
    #[arg(long, value_name = "HOURS", value_parser = duration)]
    idle_hours: Option<f64>,
    /// Jobs about carts, views and prices: what happened in so many days before now; 14 unless said.
    #[arg(long, value_name = "DAYS", value_parser = days)]
    window_days: Option<f64>,
    /// browse-abandon: looked at so often; 2 unless said.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    min_views: Option<u32>,
    /// price-drop: cheaper by at least this share of the price then; 0.1 unless said.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    min_drop: Option<f64>,
    /// price-drop: not bought in so many days; 30 unless said.
    #[arg(long, value_name = "DAYS", value_parser = duration)]
    bought_days: Option<f64>,
    /// win-back: silent for more than so many of the shopper's usual gaps between orders; 2 unless said.
    #[arg(long, value_name = "TIMES", value_parser = days)]
    lapse: Option<f64>,
    /// buy-again: only items as likely as this to be bought again; 0.05 unless said.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    min_probability: Option<f64>,
}

/// The same with every default in its place; durations in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) idle: i64,
    pub(super) window: i64,
    pub(super) min_views: u32,
    pub(super) min_drop: f64,
    pub(super) bought: i64,
    pub(super) lapse: f64,
    pub(super) min_probability: f32,
}

impl TermArgs {
    /// # Errors
    /// Names an option that the job does not have: it would be believed to work.
    pub(super) fn settle(&self, job: Job) -> Result<Terms> {
        use Job::{AbandonedCart, BackInStock, BrowseAbandon, BuyAgain, PriceDrop, WinBack};
        let windows: &[Job] = &[AbandonedCart, BrowseAbandon, PriceDrop, BackInStock];
        for (option, given, jobs) in [
            ("--idle-hours", self.idle_hours.is_some(), &[AbandonedCart][..]),
            ("--window-days", self.window_days.is_some(), windows),
            ("--min-views", self.min_views.is_some(), &[BrowseAbandon]),
            ("--min-drop", self.min_drop.is_some(), &[PriceDrop]),
            ("--bought-days", self.bought_days.is_some(), &[PriceDrop]),
            ("--lapse", self.lapse.is_some(), &[WinBack]),
            ("--min-probability", self.min_probability.is_some(), &[BuyAgain]),
        ] {
            if given && !jobs.contains(&job) {
                let of: Vec<String> = jobs.iter().map(|job| job.name()).collect();
                bail!("{option} belongs to {}, and this is --job {}: leave it out", of.join(", "), job.name());
            }
        }
        Ok(Terms {
            idle: (self.idle_hours.unwrap_or(4.0) * HOUR) as i64,
            window: (self.window_days.unwrap_or(14.0) * DAY) as i64,
            min_views: self.min_views.unwrap_or(2),
            min_drop: self.min_drop.unwrap_or(0.1),
            bought: (self.bought_days.unwrap_or(30.0) * DAY) as i64,
            lapse: self.lapse.unwrap_or(2.0),
            min_probability: self.min_probability.unwrap_or(0.05) as f32,
        })
    }
}

fn number(text: &str, fits: impl Fn(f64) -> bool, expected: &str) -> Result<f64, String> {
    text.parse().ok().filter(|&number: &f64| number.is_finite() && fits(number)).ok_or_else(|| format!("expected {expected}"))
}

pub(super) fn days(text: &str) -> Result<f64, String> {
    number(text, |number| number > 0.0 && number < 1e5, "a number above 0")
}

fn duration(text: &str) -> Result<f64, String> {
    number(text, |number| (0.0..1e5).contains(&number), "a number of 0 or more")
}

fn share(text: &str) -> Result<f64, String> {
    number(text, |number| (0.0..=1.0).contains(&number), "a share from 0 to 1")
}

pub(super) fn holdout(text: &str) -> Result<f64, String> {
    number(text, |number| (0.0..1.0).contains(&number), "a share from 0 to below 1")
}

/// A moment written `2017-11-12`, `2017-11-12T09:30` or `2017-11-12T09:30:15Z`, always UTC, in milliseconds since 1970.
///
/// # Errors
/// Says how to write it.
pub fn moment(text: &str) -> Result<i64, String> {
    let wrong = || "expected 2017-11-12 (its first moment) or 2017-11-12T09:30, UTC".to_string();
    let (date, time) = text.split_once(['T', ' ']).map_or((text, None), |(date, time)| (date, Some(time)));
    let Ok(Split::Days { from, until: i64::MAX }) = Split::from_str(&format!("time:{date}")) else { return Err(wrong()) };
    let Some(time) = time else { return Ok(from) };
    let time = time.strip_suffix('Z').or_else(|| time.strip_suffix("+00:00")).unwrap_or(time);
    let parts: Vec<&str> = time.split(':').collect();
    let (hour, minute, second) = match parts[..] {
        [hour, minute] => (hour, minute, "0"),
        [hour, minute, second] => (hour, minute, second),
        _ => return Err(wrong()),
    };
    let below = |text: &str, limit: f64| text.parse().ok().filter(|part: &f64| (0.0..limit).contains(part)).ok_or_else(wrong);
    let (hour, minute, second) = (below(hour, 24.0)?.trunc(), below(minute, 60.0)?.trunc(), below(second, 60.0)?);
    Ok(from + ((hour * 60.0 + minute) * 60_000.0 + second * 1000.0).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_utc() {
        assert_eq!(moment("1970-01-02"), Ok(86_400_000));
        assert_eq!(moment("1970-01-02T01:30"), Ok(86_400_000 + 5_400_000));
        assert_eq!(moment("1970-01-02 01:30:15.5Z"), Ok(86_400_000 + 5_415_500));
        assert_eq!(moment("1970-01-01T00:00:01+00:00"), Ok(1000));
        for wrong in [
            "0.9",
            "2017-11-12..2017-11-26",
            "2017-13-01",
            "2017-11-12T25:00",
            "2017-11-12T9",
            "last-order",
            "2017-11-12T09:30+02:00",
        ] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_option_of_another_job_is_refused() {
        let typed = TermArgs { min_drop: Some(0.2), ..TermArgs::default() };
        assert_eq!(typed.settle(Job::PriceDrop).unwrap().min_drop, 0.2);
        let error = typed.settle(Job::WinBack).unwrap_err().to_string();
        assert!(error.contains("--min-drop belongs to price-drop") && error.contains("win-back"), "{error}");
    }
}
