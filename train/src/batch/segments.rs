//! Who is in which segment: the audience of a mailing, or the segments that another system should know.

use super::Campaign;
use super::sheet::{Chosen, Sheet, text};
use anyhow::Result;

/// The segments of the shoppers of the version, of one segment (`--segment`) or of all.
///
/// Columns: `user_id`, `segment`; rows by shopper and segment.
pub(super) fn members(campaign: &Campaign) -> Result<Sheet> {
    let bundle = campaign.bundle;
    let segments = bundle.segments();
    let wanted = |number: u32| campaign.audience.segment().is_none_or(|wanted| wanted == number);
    let of = |user: u32| segments.of(user).iter().copied().filter(|&number| wanted(number)).map(move |number| (user, number));
    let lines: Vec<(u32, u32)> = (0..bundle.users.len() as u32).flat_map(of).collect();
    let chosen = Chosen::of(lines, |line| line.0, |users| campaign.admit(users.iter().copied()));
    let name = |number: u32| segments.describe(number).map_or("", |segment| segment.name.as_str());
    let columns = vec![
        text("user_id", chosen.lines.iter().map(|line| Some(bundle.users.id(line.0)))),
        text("segment", chosen.lines.iter().map(|line| Some(name(line.1)))),
    ];
    let why = format!("version {} has no segment, or nobody is in it", bundle.version);
    Ok(chosen.sheet(columns, why))
}
