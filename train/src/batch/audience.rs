//! Who may be written to: those who consented, were not written to lately, and are not held out to measure the campaign by.
//!
//! The holdout is the control group of the campaign: of those who would get it, a fixed share by a hash does not, and the difference between the
//! two is what the campaign did (before and after is not). The hash is BLAKE3 of `salt:user_id`; its first eight bytes as a little-endian share
//! of 2⁶⁴ are below the fraction for the held out. So the same shopper stays held out under the same salt, and a larger fraction keeps them.

use super::texts;
use crate::report::count;
use aisle_data::{Columns, DataConfig, Dataset, Source, Tables};
use aisle_models::Bundle;
use anyhow::{Context, Result, bail};
use clap::Args;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Who may be written to.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Audience (jobs for shoppers)")]
pub struct AudienceArgs {
    /// Only shoppers of this segment: see aisle-train segments.
    #[arg(long, value_name = "NAME")]
    segment: Option<String>,
    /// The column of --users that says true, 1 or yes for shoppers who agreed; all others, also those not in the file, are left out.
    #[arg(long, value_name = "COLUMN")]
    consent: Option<String>,
    /// Keep this share of the shoppers, 0 to below 1, out of the list; OUT with .holdout.parquet names them (user_id).
    #[arg(long, value_name = "SHARE", value_parser = super::terms::holdout)]
    holdout: Option<f64>,
    /// Whom the holdout chooses depends on this name; by default the job's.
    #[arg(long, value_name = "NAME", requires = "holdout")]
    holdout_salt: Option<String>,
    /// What was sent before, a Parquet file of user_id and sent_at: shoppers who got --cap of them in the --cap-days before now are left out.
    #[arg(long, value_name = "PARQUET")]
    sent: Option<String>,
    /// How many within --cap-days are enough; 1 unless said.
    #[arg(long, requires = "sent", value_parser = clap::value_parser!(u32).range(1..))]
    cap: Option<u32>,
    /// Days that --cap is counted over; 7 unless said.
    #[arg(long, requires = "sent", value_name = "DAYS", value_parser = super::terms::days)]
    cap_days: Option<f64>,
}

impl AudienceArgs {
    /// Whether a holdout was asked for.
    pub(super) fn holds_out(&self) -> bool {
        self.holdout.is_some_and(|share| share > 0.0)
    }

    /// For a job without shoppers.
    pub(super) fn refuse(&self, job: &str) -> Result<()> {
        let given = [
            ("--segment", self.segment.is_some()),
            ("--consent", self.consent.is_some()),
            ("--holdout", self.holdout.is_some()),
            ("--sent", self.sent.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((option, _)) => bail!("{option} is about shoppers, and --job {job} has a list for each item: leave it out"),
            None => Ok(()),
        }
    }

    fn cap(&self) -> u32 {
        self.cap.unwrap_or(1)
    }

    fn cap_days(&self) -> f64 {
        self.cap_days.unwrap_or(7.0)
    }
}

/// The same, read.
pub(super) struct Audience {
    /// Number of the segment, and who is in it; `None` = it was not asked.
    segment: Option<(u32, BTreeSet<String>)>,
    /// Who agreed; `None` = it was not asked.
    consented: Option<BTreeSet<String>>,
    /// Who got enough.
    capped: BTreeSet<String>,
    /// Share, and what it is drawn by.
    holdout: Option<(f64, String)>,
}

/// Who of some shoppers gets the campaign.
#[derive(Clone, Debug, Default)]
pub(super) struct Admission {
    /// One a shopper, in the order asked.
    pub(super) admitted: Vec<bool>,
    /// External ids, in the order asked.
    pub(super) held_out: Vec<String>,
    elsewhere: usize,
    without_consent: usize,
    capped: usize,
}

impl Admission {
    /// How many get nothing.
    pub(super) fn left_out(&self) -> usize {
        self.elsewhere + self.without_consent + self.capped + self.held_out.len()
    }

    /// One line for each cause that was asked about.
    pub(super) fn causes(&self, args: &AudienceArgs, aside: Option<&Path>) -> Vec<String> {
        let segment = args.segment.as_ref().map(|name| format!("{} not in segment '{name}'", count(self.elsewhere as u64)));
        let consent =
            args.consent.as_ref().map(|column| format!("{} without consent ({column})", count(self.without_consent as u64)));
        let cap = args.sent.as_ref().map(|_| {
            let (capped, cap, days) = (count(self.capped as u64), args.cap(), args.cap_days());
            format!("{capped} got {cap} or more within {days} days")
        });
        let holdout = aside.map(|path| format!("{} held out → {}", count(self.held_out.len() as u64), path.display()));
        [segment, consent, cap, holdout].into_iter().flatten().collect()
    }
}

impl Audience {
    /// Reads who is in the segment from the version, consent from `users` (the file, and its column of ids), and what was sent; `now` in
    /// milliseconds.
    ///
    /// # Errors
    /// A file or column that is missing, with what there is.
    pub(super) fn read(args: &AudienceArgs, of: Of, now: Option<i64>) -> Result<Self> {
        let Of { job, bundle, users } = of;
        let segment = args.segment.as_deref().map(|name| within(bundle, name)).transpose()?;
        let consented = match (&args.consent, users.0) {
            (None, _) => None,
            (Some(column), None) => bail!("--consent {column} is a column of the users file: add --users"),
            (Some(column), Some(path)) => Some(consented(path, users.1, column)?),
        };
        let capped = match &args.sent {
            None => BTreeSet::new(),
            Some(path) => {
                let now = now.context("--sent counts the days before now, and the version's log has no times: add --now")?;
                capped(path, now - (args.cap_days() * 86_400_000.0) as i64, args.cap())?
            }
        };
        let salt = || args.holdout_salt.clone().unwrap_or_else(|| job.to_string());
        Ok(Self { segment, consented, capped, holdout: args.holdout.map(|share| (share, salt())) })
    }

    /// The segment asked for.
    pub(super) fn segment(&self) -> Option<u32> {
        self.segment.as_ref().map(|segment| segment.0)
    }

    /// Decides for shoppers who would get the campaign. First the segment, then consent, then the cap, then the holdout: so the held out are like those who get
    /// it in everything but the draw.
    pub(super) fn admit<'u>(&self, users: impl Iterator<Item = &'u str>) -> Admission {
        let mut admission = Admission::default();
        for user in users {
            let inside = self.segment.as_ref().is_none_or(|(_, members)| members.contains(user));
            if !inside {
                admission.elsewhere += 1;
                admission.admitted.push(false);
                continue;
            }
            let consents = self.consented.as_ref().is_none_or(|consented| consented.contains(user));
            let capped = self.capped.contains(user);
            let held_out = self.holdout.as_ref().is_some_and(|(share, salt)| draw(salt, user) < *share);
            match (consents, capped, held_out) {
                (false, _, _) => admission.without_consent += 1,
                (true, true, _) => admission.capped += 1,
                (true, false, true) => admission.held_out.push(user.to_string()),
                (true, false, false) => {}
            }
            admission.admitted.push(consents && !capped && !held_out);
        }
        admission
    }
}

/// What an audience is of: the job, the version, and the users file with its column of ids.
pub(super) struct Of<'a> {
    pub(super) job: &'a str,
    pub(super) bundle: &'a Bundle,
    pub(super) users: (Option<&'a str>, &'a str),
}

/// The number of a segment, and its members.
fn within(bundle: &Bundle, name: &str) -> Result<(u32, BTreeSet<String>)> {
    let segments = bundle.segments();
    let Some(number) = segments.number(name) else {
        let known: Vec<&str> = segments.names().collect();
        let known = if known.is_empty() { "none".into() } else { known.join("; ") };
        bail!("--segment {name}: version {} has no such segment; there are: {known}", bundle.version);
    };
    Ok((number, segments.members(number).into_iter().map(|user| bundle.users.id(user).to_string()).collect()))
}

/// A number in [0, 1) for a shopper under a salt.
fn draw(salt: &str, user: &str) -> f64 {
    let hash = blake3::hash(format!("{salt}:{user}").as_bytes());
    let first = hash.as_bytes().iter().take(8).rev().fold(0u64, |bits, &byte| bits << 8 | u64::from(byte));
    // The upper 53 bits are exact in an f64, so that the result stays below 1.
    (first >> 11) as f64 / (1u64 << 53) as f64
}

/// Refuses a file without some columns.
fn need(option: &str, path: &str, columns: [&str; 2]) -> Result<()> {
    let names = texts::names(path)?;
    match columns.into_iter().find(|column| !names.iter().any(|name| name == column)) {
        Some(missing) => bail!("{option} {path} has no column '{missing}'; it has: {}", names.join(", ")),
        None => Ok(()),
    }
}

fn consented(path: &str, id_column: &str, column: &str) -> Result<BTreeSet<String>> {
    need("--users", path, [id_column, column])?;
    let mut read = texts::read(path, &[id_column, column])?.into_iter();
    let (ids, answers) = (read.next().unwrap_or_default(), read.next().unwrap_or_default());
    let agrees = |text: &str| matches!(text.trim().to_lowercase().as_str(), "true" | "1" | "yes" | "y" | "t");
    let (mut yes, mut no) = (BTreeSet::new(), BTreeSet::new());
    for (id, answer) in ids.into_iter().zip(answers) {
        let Some(id) = id else { continue };
        if answer.as_deref().is_some_and(agrees) {
            yes.insert(id)
        } else {
            no.insert(id)
        };
    }
    // Of somebody who stands in the file twice, a no counts.
    Ok(yes.difference(&no).cloned().collect())
}

/// Shoppers who got `cap` or more after `since`. What was sent after now counts too: they have it.
fn capped(path: &str, since: i64, cap: u32) -> Result<BTreeSet<String>> {
    need("--sent", path, ["user_id", "sent_at"])?;
    if Source::find(path)?.open()?.rows() == 0 {
        return Ok(BTreeSet::new());
    }
    // A log of what was sent is a log: of events whose item is their shopper. A row that says not who or when would be a letter too many.
    let names = Columns {
        user_id: Some("user_id".into()),
        item_id: Some("user_id".into()),
        timestamp: Some("sent_at".into()),
        ..Columns::default()
    };
    let mut config = DataConfig { columns: names, ..DataConfig::default() };
    config.clean.max_set_aside = 0.0;
    let log = Dataset::read(&Tables { events: path, ..Tables::default() }, &config).with_context(|| format!("--sent {path}"))?.log;
    let mut sent: BTreeMap<u32, u32> = BTreeMap::new();
    for event in (0..log.len()).filter(|&event| log.time_of(event) > since) {
        *sent.entry(log.item[event]).or_default() += 1;
    }
    Ok(sent.into_iter().filter(|&(_, times)| times >= cap).map(|(user, _)| log.items.id(user).to_string()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_is_held_out_and_stays_so() {
        let users: Vec<String> = (0..20_000).map(|user| format!("user-{user}")).collect();
        let held = |share: f64, salt: &str| {
            let audience =
                Audience { segment: None, consented: None, capped: BTreeSet::new(), holdout: Some((share, salt.into())) };
            audience.admit(users.iter().map(String::as_str)).held_out
        };
        let tenth = held(0.1, "win-back");
        assert!((1_850..2_150).contains(&tenth.len()), "{}", tenth.len());
        let fifth: BTreeSet<String> = held(0.2, "win-back").into_iter().collect();
        assert!(tenth.iter().all(|user| fifth.contains(user)), "a larger share keeps who was held out");
        let other: BTreeSet<String> = held(0.1, "price-drop").into_iter().collect();
        let both = tenth.iter().filter(|user| other.contains(*user)).count();
        assert!((120..280).contains(&both), "another salt draws anew: {both}");
    }

    #[test]
    fn consent_comes_before_the_draw() {
        let audience = Audience {
            segment: None,
            consented: Some(["a", "b"].map(String::from).into()),
            capped: ["b"].map(String::from).into(),
            holdout: Some((0.999_999, "s".into())),
        };
        let admission = audience.admit(["a", "b", "c"].into_iter());
        assert_eq!((admission.held_out, admission.capped, admission.without_consent), (vec!["a".to_string()], 1, 1));
    }
}
