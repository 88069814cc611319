//! The part of the day at a time: a dimension of the context that every log with times has.

use aisle_data::DAY_MILLIS;

/// The name of the dimension.
pub(super) const DIMENSION: &str = "daypart";

/// The values of the dimension by their code.
pub(super) const DAYPARTS: [&str; 10] = [
    "weekday night",
    "weekday morning",
    "weekday midday",
    "weekday afternoon",
    "weekday evening",
    "weekend night",
    "weekend morning",
    "weekend midday",
    "weekend afternoon",
    "weekend evening",
];

/// Parts that a day has: the codes of a weekend follow those of a weekday.
const PARTS_OF_DAY: u32 = 5;
const HOUR_MILLIS: i64 = 3_600_000;

/// The place in [`DAYPARTS`] of a time in milliseconds since 1970.
pub(super) fn daypart_code(millis: i64) -> u32 {
    let part = match millis.rem_euclid(DAY_MILLIS) / HOUR_MILLIS {
        0..6 => 0,
        6..11 => 1,
        11..15 => 2,
        15..18 => 3,
        _ => 4,
    };
    // 1970 began on a Thursday, the fourth day of a week.
    let day_of_week = (millis.div_euclid(DAY_MILLIS) + 3).rem_euclid(7);
    let is_weekend = day_of_week >= 5;
    part + if is_weekend { PARTS_OF_DAY } else { 0 }
}
