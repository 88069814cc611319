//! Who may be written to: those who consented, were not written to lately, and are not held out to
//! measure the campaign by.
//!
//! The holdout is the control group of the campaign: a fixed share of those who would get it does
//! not get it, and the difference between the two groups is what the campaign did (the difference
//! between before and after is not). A hash decides: the first eight bytes of the BLAKE3 hash of
//! `salt:user_id`, as a little-endian share of 2⁶⁴, are below the holdout share. So the same
//! shopper stays held out under the same salt, and a larger share keeps everybody whom a smaller
//! one holds out.

use super::id_columns;
use super::thresholds::{above_zero, holdout_share};
use crate::report::count;
use aisle_data::{Columns, DataConfig, Dataset, Source, Tables, days_to_millis};
use aisle_models::Version;
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
    /// The column of --users that says true, 1 or yes for shoppers who agreed; all others, also
    /// those not in the file, are left out.
    #[arg(long, value_name = "COLUMN")]
    consent: Option<String>,
    /// Keep this share of the shoppers, 0 to below 1, out of the list; OUT with .holdout.parquet
    /// names them (user_id).
    #[arg(long, value_name = "SHARE", value_parser = holdout_share)]
    holdout: Option<f64>,
    /// Whom the holdout chooses depends on this name; by default the job's.
    #[arg(long, value_name = "NAME", requires = "holdout")]
    holdout_salt: Option<String>,
    /// What was sent before, a Parquet file of user_id and sent_at: shoppers who got --cap of them
    /// in the --cap-days before now are left out.
    #[arg(long, value_name = "PARQUET")]
    sent: Option<String>,
    /// How many within --cap-days are enough; 1 unless said.
    #[arg(long, requires = "sent", value_parser = clap::value_parser!(u32).range(1..))]
    cap: Option<u32>,
    /// Days that --cap is counted over; 7 unless said.
    #[arg(long, requires = "sent", value_name = "DAYS", value_parser = above_zero)]
    cap_days: Option<f64>,
}

impl AudienceArgs {
    /// Whether a holdout was asked for.
    pub(super) fn holds_out(&self) -> bool {
        self.holdout.is_some_and(|share| share > 0.0)
    }

    /// Refuses options about shoppers for a job that has none.
    pub(super) fn refuse(&self, job: &str) -> Result<()> {
        let given = [
            ("--segment", self.segment.is_some()),
            ("--consent", self.consent.is_some()),
            ("--holdout", self.holdout.is_some()),
            ("--sent", self.sent.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((option, _)) => bail!(
                "{option} is about shoppers, and --job {job} has a list for each item: leave it out"
            ),
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

/// Who may be written to, read from the version and the files.
pub(super) struct Audience {
    /// Number of the segment and ids of its shoppers; `None` if no segment was asked for.
    segment: Option<(u32, BTreeSet<String>)>,
    /// Ids of the shoppers who agreed; `None` if consent was not asked for.
    consented: Option<BTreeSet<String>>,
    /// Ids of the shoppers who got enough messages lately.
    capped: BTreeSet<String>,
    /// The share held out, and the salt of its hash.
    holdout: Option<(f64, String)>,
}

/// Who of some shoppers gets the campaign.
#[derive(Clone, Debug, Default)]
pub(super) struct Admission {
    /// Whether each shopper gets the campaign, in the order in which they were given.
    pub(super) admitted: Vec<bool>,
    /// Ids of the shoppers held out, in the order in which they were given.
    pub(super) held_out: Vec<String>,
    outside_segment: usize,
    without_consent: usize,
    capped: usize,
}

impl Admission {
    /// How many get nothing.
    pub(super) fn left_out(&self) -> usize {
        self.outside_segment + self.without_consent + self.capped + self.held_out.len()
    }

    /// One line for each option that can leave shoppers out; `holdout` is the file of those held
    /// out.
    pub(super) fn causes(&self, args: &AudienceArgs, holdout: Option<&Path>) -> Vec<String> {
        let segment = args.segment.as_ref().map(|name| {
            format!(
                "{} not in segment '{name}'",
                count(self.outside_segment as u64)
            )
        });
        let consent = args.consent.as_ref().map(|column| {
            format!(
                "{} without consent ({column})",
                count(self.without_consent as u64)
            )
        });
        let cap = args.sent.as_ref().map(|_| {
            let (capped, cap, days) = (count(self.capped as u64), args.cap(), args.cap_days());
            format!("{capped} got {cap} or more within {days} days")
        });
        let holdout = holdout.map(|path| {
            format!(
                "{} held out → {}",
                count(self.held_out.len() as u64),
                path.display()
            )
        });
        [segment, consent, cap, holdout]
            .into_iter()
            .flatten()
            .collect()
    }
}

impl Audience {
    /// Reads who is in the segment from the version, consent from the users file, and what was
    /// sent.
    ///
    /// # Errors
    /// A file or column that is missing, with what there is.
    pub(super) fn read(args: &AudienceArgs, source: &AudienceSource) -> Result<Self> {
        let segment = match &args.segment {
            Some(name) => Some(segment_members(source.version, name)?),
            None => None,
        };
        let consented = match (&args.consent, source.users_file) {
            (None, _) => None,
            (Some(column), None) => {
                bail!("--consent {column} is a column of the users file: add --users")
            }
            (Some(column), Some(path)) => {
                Some(consenting_users(path, source.user_id_column, column)?)
            }
        };
        let capped = match &args.sent {
            None => BTreeSet::new(),
            Some(path) => {
                let now = source.now.context(
                    "--sent counts the days before now, and the version's log has no times: add \
                     --now",
                )?;
                capped_users(path, now - days_to_millis(args.cap_days()), args.cap())?
            }
        };
        let salt = || {
            let given = args.holdout_salt.clone();
            given.unwrap_or_else(|| source.job.to_string())
        };
        Ok(Self {
            segment,
            consented,
            capped,
            holdout: args.holdout.map(|share| (share, salt())),
        })
    }

    /// The number of the segment that was asked for.
    pub(super) fn segment(&self) -> Option<u32> {
        self.segment.as_ref().map(|segment| segment.0)
    }

    /// Decides for shoppers who would get the campaign, by their ids: first the segment, then
    /// consent, then the cap, then the holdout. So the held out are like those who get it in
    /// everything but the draw.
    pub(super) fn admit<'u>(&self, users: impl Iterator<Item = &'u str>) -> Admission {
        let mut admission = Admission::default();
        for user in users {
            let is_admitted = self.admit_one(user, &mut admission);
            admission.admitted.push(is_admitted);
        }
        admission
    }

    /// Decides for one shopper, and counts why they are left out.
    fn admit_one(&self, user: &str, admission: &mut Admission) -> bool {
        if let Some((_, members)) = &self.segment
            && !members.contains(user)
        {
            admission.outside_segment += 1;
            return false;
        }
        if let Some(consented) = &self.consented
            && !consented.contains(user)
        {
            admission.without_consent += 1;
            return false;
        }
        if self.capped.contains(user) {
            admission.capped += 1;
            return false;
        }
        if let Some((share, salt)) = &self.holdout
            && draw(salt, user) < *share
        {
            admission.held_out.push(user.to_string());
            return false;
        }
        true
    }
}

/// What an audience is read from.
pub(super) struct AudienceSource<'a> {
    /// Name of the job.
    pub(super) job: &'a str,
    pub(super) version: &'a Version,
    /// Attributes of shoppers.
    pub(super) users_file: Option<&'a str>,
    /// The column of ids in it.
    pub(super) user_id_column: &'a str,
    /// Milliseconds since 1970; `None` if the time is not known.
    pub(super) now: Option<i64>,
}

/// The number of a segment, and the ids of its members.
fn segment_members(version: &Version, name: &str) -> Result<(u32, BTreeSet<String>)> {
    let segments = &version.models.segments;
    let Some(number) = segments.number(name) else {
        let known: Vec<&str> = segments.names().collect();
        let known = match known.is_empty() {
            true => "none".into(),
            false => known.join("; "),
        };
        bail!(
            "--segment {name}: version {} has no such segment; there are: {known}",
            version.name
        );
    };
    let members = segments.members(number).into_iter();
    let ids = members.map(|user| version.models.users.id(user).to_string());
    Ok((number, ids.collect()))
}

/// A number in [0, 1) for a shopper under a salt.
fn draw(salt: &str, user: &str) -> f64 {
    let hash = blake3::hash(format!("{salt}:{user}").as_bytes());
    let first_bytes = hash.as_bytes().iter().take(8).rev();
    let bits = first_bytes.fold(0u64, |bits, &byte| bits << 8 | u64::from(byte));
    // The upper 53 bits are exact in an f64, so that the result stays below 1.
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// Refuses a file without some columns; `option` names it in the error.
fn require_columns(option: &str, path: &str, columns: [&str; 2]) -> Result<()> {
    let names = id_columns::names(path)?;
    match columns
        .into_iter()
        .find(|column| !names.iter().any(|name| name == column))
    {
        Some(missing) => bail!(
            "{option} {path} has no column '{missing}'; it has: {}",
            names.join(", ")
        ),
        None => Ok(()),
    }
}

/// The ids of the shoppers whose `column` says that they agreed.
fn consenting_users(path: &str, id_column: &str, column: &str) -> Result<BTreeSet<String>> {
    require_columns("--users", path, [id_column, column])?;
    let mut columns = id_columns::read(path, &[id_column, column])?.into_iter();
    let ids = columns.next().unwrap_or_default();
    let answers = columns.next().unwrap_or_default();
    let agrees = |text: &str| {
        matches!(
            text.trim().to_lowercase().as_str(),
            "true" | "1" | "yes" | "y" | "t"
        )
    };
    let (mut yes, mut no) = (BTreeSet::new(), BTreeSet::new());
    for (id, answer) in ids.into_iter().zip(answers) {
        let Some(id) = id else { continue };
        match answer.as_deref().is_some_and(agrees) {
            true => yes.insert(id),
            false => no.insert(id),
        };
    }
    // If a shopper is in the file twice, a no counts.
    Ok(yes.difference(&no).cloned().collect())
}

/// The ids of the shoppers who got `cap` messages or more after `since`, in milliseconds since
/// 1970. What was sent after now counts too: they have it.
fn capped_users(path: &str, since: i64, cap: u32) -> Result<BTreeSet<String>> {
    require_columns("--sent", path, ["user_id", "sent_at"])?;
    if Source::find(path)?.open()?.rows() == 0 {
        return Ok(BTreeSet::new());
    }
    // What was sent is read as a log of events whose item is the shopper. A row without shopper or
    // time is an error: it would be a letter too many.
    let columns = Columns {
        user_id: Some("user_id".into()),
        item_id: Some("user_id".into()),
        timestamp: Some("sent_at".into()),
        ..Columns::default()
    };
    let mut config = DataConfig {
        columns,
        ..DataConfig::default()
    };
    config.clean.max_set_aside = 0.0;
    let log = Dataset::read(
        &Tables {
            events: path,
            ..Tables::default()
        },
        &config,
    )
    .with_context(|| format!("--sent {path}"))?
    .log;
    let mut sent: BTreeMap<u32, u32> = BTreeMap::new();
    for event in (0..log.len()).filter(|&event| log.time_of(event) > since) {
        *sent.entry(log.item[event]).or_default() += 1;
    }
    Ok(sent
        .into_iter()
        .filter(|&(_, times)| times >= cap)
        .map(|(user, _)| log.items.id(user).to_string())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_is_held_out_and_stays_so() {
        let users: Vec<String> = (0..20_000).map(|user| format!("user-{user}")).collect();
        let held = |share: f64, salt: &str| {
            let audience = Audience {
                segment: None,
                consented: None,
                capped: BTreeSet::new(),
                holdout: Some((share, salt.into())),
            };
            audience.admit(users.iter().map(String::as_str)).held_out
        };
        let tenth = held(0.1, "win-back");
        assert!((1_850..2_150).contains(&tenth.len()), "{}", tenth.len());
        let fifth: BTreeSet<String> = held(0.2, "win-back").into_iter().collect();
        assert!(
            tenth.iter().all(|user| fifth.contains(user)),
            "a larger share keeps who was held out"
        );
        let other: BTreeSet<String> = held(0.1, "price-drop").into_iter().collect();
        let both = tenth.iter().filter(|user| other.contains(*user)).count();
        assert!(
            (120..280).contains(&both),
            "another salt draws anew: {both}"
        );
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
        assert_eq!(
            (
                admission.held_out,
                admission.capped,
                admission.without_consent
            ),
            (vec!["a".to_string()], 1, 1)
        );
    }
}
