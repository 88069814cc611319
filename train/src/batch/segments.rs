//! Who is in which segment: the audience of a mailing, or the segments that another system should
//! know.

use super::Campaign;
use super::table::{AdmittedRows, Table, ids, text};
use anyhow::Result;

/// Lists the shoppers of one segment (`--segment`) or of all.
///
/// Columns: `user_id`, `segment`; rows by shopper and segment.
pub(super) fn members(campaign: &Campaign) -> Result<Table> {
    let models = campaign.models();
    let segments = &models.segments;
    let only = campaign.audience.segment();
    let rows_of = |user: u32| {
        let numbers = segments.of(user).iter().copied();
        let listed = numbers.filter(move |&number| only.is_none_or(|only| only == number));
        listed.map(move |number| (user, number))
    };
    let rows: Vec<(u32, u32)> = (0..models.users.len() as u32).flat_map(rows_of).collect();
    let admitted = AdmittedRows::of(
        rows,
        |row| row.0,
        |users| campaign.admit(users.iter().copied()),
    );
    let name = |number: u32| {
        let segment = segments.describe(number);
        segment.map_or("", |segment| segment.name.as_str())
    };
    let rows = &admitted.rows;
    let columns = vec![
        ids("user_id", &models.users, rows.iter().map(|row| row.0)),
        text("segment", rows.iter().map(|row| Some(name(row.1)))),
    ];
    let if_empty = format!(
        "version {} has no segment, or nobody is in it",
        campaign.version.name
    );
    Ok(admitted.into_table(columns, if_empty))
}
