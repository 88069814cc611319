//! The numbers that say when a row belongs in a table: as typed, and checked once.

use super::Job;
use aisle_data::{days_to_millis, parse_time};
use anyhow::{Result, bail};
use clap::Args;

const HOUR_MILLIS: f64 = 3_600_000.0;

/// When a row belongs in the table.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Thresholds (each for the jobs it names)")]
pub struct ThresholdArgs {
    /// abandoned-cart: the cart was not touched for so many hours; 4 unless said.
    #[arg(long, value_name = "HOURS", value_parser = zero_or_more)]
    idle_hours: Option<f64>,
    /// Jobs about carts, views and prices: what happened in so many days before now; 14 unless
    /// said.
    #[arg(long, value_name = "DAYS", value_parser = above_zero)]
    window_days: Option<f64>,
    /// browse-abandon: looked at so often; 2 unless said.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    min_views: Option<u32>,
    /// price-drop: cheaper by at least this share of the price then; 0.1 unless said.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    min_drop: Option<f64>,
    /// price-drop: not bought in so many days; 30 unless said.
    #[arg(long, value_name = "DAYS", value_parser = zero_or_more)]
    bought_days: Option<f64>,
    /// win-back: silent for more than so many of the shopper's usual gaps between orders; 2 unless
    /// said.
    #[arg(long, value_name = "TIMES", value_parser = above_zero)]
    lapse: Option<f64>,
    /// buy-again: only items as likely as this to be bought again; 0.05 unless said.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    min_probability: Option<f64>,
}

/// The thresholds with every default in its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thresholds {
    /// Milliseconds that a cart must be idle.
    pub(super) idle: i64,
    /// Milliseconds before now that jobs about carts, views and prices look at.
    pub(super) window: i64,
    /// Fewest views of an item.
    pub(super) min_views: u32,
    /// Smallest price drop, as a share of the price then.
    pub(super) min_drop: f64,
    /// Milliseconds in which an item must not have been bought.
    pub(super) bought: i64,
    /// Usual gaps between orders that a shopper must have been silent for.
    pub(super) lapse: f64,
    /// Smallest probability of a reorder.
    pub(super) min_probability: f32,
}

impl ThresholdArgs {
    /// Fills in the defaults.
    ///
    /// # Errors
    /// Names an option that the job does not have: whoever typed it would believe that it works.
    pub(super) fn with_defaults(&self, job: Job) -> Result<Thresholds> {
        use Job::{AbandonedCart, BackInStock, BrowseAbandon, BuyAgain, PriceDrop, WinBack};
        let with_window: &[Job] = &[AbandonedCart, BrowseAbandon, PriceDrop, BackInStock];
        let options: [(&str, bool, &[Job]); 7] = [
            ("--idle-hours", self.idle_hours.is_some(), &[AbandonedCart]),
            ("--window-days", self.window_days.is_some(), with_window),
            ("--min-views", self.min_views.is_some(), &[BrowseAbandon]),
            ("--min-drop", self.min_drop.is_some(), &[PriceDrop]),
            ("--bought-days", self.bought_days.is_some(), &[PriceDrop]),
            ("--lapse", self.lapse.is_some(), &[WinBack]),
            (
                "--min-probability",
                self.min_probability.is_some(),
                &[BuyAgain],
            ),
        ];
        for (option, is_given, jobs) in options {
            if is_given && !jobs.contains(&job) {
                let names: Vec<String> = jobs.iter().map(|job| job.name()).collect();
                bail!(
                    "{option} belongs to {}, and this is --job {}: leave it out",
                    names.join(", "),
                    job.name()
                );
            }
        }
        Ok(Thresholds {
            idle: (self.idle_hours.unwrap_or(4.0) * HOUR_MILLIS) as i64,
            window: days_to_millis(self.window_days.unwrap_or(14.0)),
            min_views: self.min_views.unwrap_or(2),
            min_drop: self.min_drop.unwrap_or(0.1),
            bought: days_to_millis(self.bought_days.unwrap_or(30.0)),
            lapse: self.lapse.unwrap_or(2.0),
            min_probability: self.min_probability.unwrap_or(0.05) as f32,
        })
    }
}

fn number(text: &str, fits: impl Fn(f64) -> bool, expected: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|&number: &f64| number.is_finite() && fits(number))
        .ok_or_else(|| format!("expected {expected}"))
}

pub(super) fn above_zero(text: &str) -> Result<f64, String> {
    number(
        text,
        |number| number > 0.0 && number < 1e5,
        "a number above 0",
    )
}

fn zero_or_more(text: &str) -> Result<f64, String> {
    number(
        text,
        |number| (0.0..1e5).contains(&number),
        "a number of 0 or more",
    )
}

fn share(text: &str) -> Result<f64, String> {
    number(
        text,
        |number| (0.0..=1.0).contains(&number),
        "a share from 0 to 1",
    )
}

pub(super) fn holdout_share(text: &str) -> Result<f64, String> {
    number(
        text,
        |number| (0.0..1.0).contains(&number),
        "a share from 0 to below 1",
    )
}

/// Reads a time written `2017-11-12`, `2017-11-12T09:30` or `2017-11-12T09:30:15Z`, always UTC, in
/// milliseconds since 1970.
///
/// # Errors
/// Says how to write it. A zone other than UTC is an error: the tables know UTC only.
pub fn utc_time(text: &str) -> Result<i64, String> {
    let wrong = || "expected 2017-11-12 (its first moment) or 2017-11-12T09:30, UTC".to_string();
    let zoneless = text.strip_suffix("+00:00").unwrap_or(text);
    let time_of_day = zoneless.split_once(['T', ' ']).map(|(_, time)| time);
    if time_of_day.is_some_and(|time| time.contains(['+', '-'])) {
        return Err(wrong());
    }
    parse_time(zoneless).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc() {
        assert_eq!(utc_time("1970-01-02"), Ok(86_400_000));
        assert_eq!(utc_time("1970-01-02T01:30"), Ok(86_400_000 + 5_400_000));
        assert_eq!(
            utc_time("1970-01-02 01:30:15.5Z"),
            Ok(86_400_000 + 5_415_500)
        );
        assert_eq!(utc_time("1970-01-01T00:00:01+00:00"), Ok(1000));
    }

    #[test]
    fn what_is_no_utc_time_is_refused() {
        for wrong in [
            "0.9",
            "2017-11-12..2017-11-26",
            "2017-13-01",
            "2017-11-12T25:00",
            "2017-11-12T9",
            "last-order",
            "2017-11-12T09:30+02:00",
        ] {
            assert!(utc_time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_option_of_another_job_is_refused() {
        let typed = ThresholdArgs {
            min_drop: Some(0.2),
            ..ThresholdArgs::default()
        };
        let thresholds = typed.with_defaults(Job::PriceDrop).unwrap();
        assert_eq!(thresholds.min_drop, 0.2);
        let error = typed.with_defaults(Job::WinBack).unwrap_err().to_string();
        assert!(
            error.contains("--min-drop belongs to price-drop") && error.contains("win-back"),
            "{error}"
        );
    }
}
