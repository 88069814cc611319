//! Times as milliseconds since 1970-01-01 UTC: read from text, written as text, counted in days.

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat};

/// Milliseconds in a day.
pub const DAY_MILLIS: i64 = 86_400_000;

/// Days as milliseconds, rounded towards zero.
pub fn days_to_millis(days: f64) -> i64 {
    (days * DAY_MILLIS as f64) as i64
}

/// Milliseconds as days.
pub fn millis_to_days(millis: i64) -> f64 {
    millis as f64 / DAY_MILLIS as f64
}

/// The number of the UTC day that a time lies in; day 0 is 1970-01-01.
pub fn day_number(millis: i64) -> i64 {
    millis.div_euclid(DAY_MILLIS)
}

/// Midnight UTC of a day written `2017-11-12`.
pub(crate) fn parse_day(text: &str) -> Option<i64> {
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(day.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis())
}

/// Reads `2026-12-01` (midnight UTC), RFC 3339 such as `2026-12-01T18:00:00+01:00`, or the same
/// without a zone, which is then UTC; seconds may be left out, and a space may stand for the `T`.
/// `None` for other texts.
pub fn parse_time(text: &str) -> Option<i64> {
    let rfc3339 = || Some(DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis());
    let zoneless = || {
        let text = text
            .strip_suffix(['Z', 'z'])
            .unwrap_or(text)
            .replacen(' ', "T", 1);
        let read = |format| NaiveDateTime::parse_from_str(&text, format).ok();
        let time = read("%Y-%m-%dT%H:%M:%S%.f").or_else(|| read("%Y-%m-%dT%H:%M"))?;
        Some(time.and_utc().timestamp_millis())
    };
    parse_day(text).or_else(rfc3339).or_else(zoneless)
}

/// Writes the day of a time, `2017-11-12`.
pub fn format_day(millis: i64) -> String {
    format(millis, |time| time.format("%Y-%m-%d").to_string())
}

/// Writes a time for the name of a file, `20171112T093000Z`.
pub fn format_compact(millis: i64) -> String {
    format(millis, |time| time.format("%Y%m%dT%H%M%SZ").to_string())
}

/// Writes a time as RFC 3339, `2017-11-12T09:30:00Z`.
pub fn format_rfc3339(millis: i64) -> String {
    format(millis, |time| {
        time.to_rfc3339_opts(SecondsFormat::Secs, true)
    })
}

fn format(millis: i64, write: impl FnOnce(DateTime<chrono::Utc>) -> String) -> String {
    DateTime::from_timestamp_millis(millis).map_or_else(|| "?".into(), write)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_in_every_documented_form() {
        let midnight = 1_796_083_200_000;
        for (text, expected) in [
            ("2026-12-01", midnight),
            ("2026-12-01T18:00:00Z", midnight + 18 * 3_600_000),
            ("2026-12-01T18:00:00+01:00", midnight + 17 * 3_600_000),
            ("2026-12-01T18:00", midnight + 18 * 3_600_000),
            ("2026-12-01 18:00:15.5Z", midnight + 18 * 3_600_000 + 15_500),
        ] {
            assert_eq!(parse_time(text), Some(expected), "{text}");
        }
        for text in ["", "tomorrow", "2026-13-01", "2026-12-01T25:00", "20261201"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    #[test]
    fn a_written_time_is_read_back() {
        for millis in [0, 1_796_083_200_000, 951_782_400_000] {
            assert_eq!(parse_time(&format_rfc3339(millis)), Some(millis));
            assert_eq!(parse_time(&format_day(millis)), Some(millis));
        }
    }

    #[test]
    fn a_day_begins_at_midnight_also_before_1970() {
        assert_eq!(
            [-1, 0, DAY_MILLIS - 1, DAY_MILLIS].map(day_number),
            [-1, 0, 0, 1]
        );
        assert_eq!(days_to_millis(millis_to_days(129_600_000)), 129_600_000);
    }
}
