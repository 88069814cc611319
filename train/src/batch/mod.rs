//! `aisle-train batch`: tables for e-mail and other campaigns, as Parquet: which rows belong in
//! one, who may be written to, and the check that exactly those rows are in the file.
//!
//! A job is a function from `Campaign` to `Table`: a new one is a variant of [`Job`], an arm of
//! `make_table`, and a file beside this one. Whoever is left out for consent, the frequency cap or
//! the holdout goes through `Audience`, so that every job counts them alike. Nothing reads a
//! clock: the same version, files and options give the same bytes at any thread count.

mod answers;
mod audience;
mod carts;
mod catalog_changes;
mod id_columns;
mod segments;
mod snapshot;
mod table;
mod thresholds;
mod win_back;

use crate::progress::ProgressReporter;
use crate::report::{count, seconds};
use crate::settings::Settings;
use aisle_data::DataConfig;
use aisle_models::{FittedModels, LiveState, Version};
use anyhow::{Context, Result, bail};
use audience::{Admission, Audience, AudienceArgs, AudienceSource};
use clap::{Args, ValueEnum};
use snapshot::{Snapshot, SnapshotFiles};
use std::path::{Path, PathBuf};
use std::time::Instant;
use table::{AdmittedRows, Table, stage, text};
use thresholds::{ThresholdArgs, Thresholds};

pub use thresholds::utc_time;

/// Which table. Rows are sorted by shopper (or by the item that a list is for); times are UTC,
/// prices are per unit in the currency of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Job {
    /// A personal list for each shopper, without what they bought. Columns: user_id, rank (from 1),
    /// item_id, score, source, reason.
    Personal,
    /// Similar items for each item. Columns: for_item_id, rank, item_id, score, source, reason.
    Similar,
    /// Complements for each item as a cart of one. Columns: for_item_id, rank, item_id, score,
    /// source, reason.
    CrossSell,
    /// Better versions of each item. Columns: for_item_id, rank, item_id, score, source, reason.
    Upsell,
    /// What each shopper is likely to reorder. Columns: user_id, rank, item_id, probability (within
    /// the version's horizon, 28 days unless set otherwise), due_in_days (below 0: overdue), orders
    /// (that held it), days_since (the last of them).
    BuyAgain,
    /// Carts left idle, one row an item; needs --events. Columns: user_id, item_id, carted_at,
    /// quantity, price_then, price_now, available, complements (ids that go with the whole cart,
    /// best first; the same for each of its rows).
    AbandonedCart,
    /// Items looked at several times and not bought; needs --events. Columns: user_id, item_id,
    /// views, viewed_at (last), price_then, price_now.
    BrowseAbandon,
    /// Items now cheaper than when the shopper last saw them; needs --events. Columns: user_id,
    /// item_id, seen_at, price_then, price_now, drop (share of price_then).
    PriceDrop,
    /// Items seen, out of stock when the version was made, and back now; needs --events. Columns:
    /// user_id, item_id, seen_at, price_then, price_now.
    BackInStock,
    /// A personal list for shoppers silent for much longer than they usually are; needs --events.
    /// Columns: user_id, last_order_at, usual_gap_days, silent_days, rank, item_id, score, reason.
    WinBack,
    /// Who is in which segment; --segment asks for one. Columns: user_id, segment.
    Segment,
}

impl Job {
    /// Its name on the command line.
    pub fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or(String::new(), |value| value.get_name().to_string())
    }

    /// Whether it is about what shoppers did, and so needs the log.
    fn needs_events(self) -> bool {
        match self {
            Job::AbandonedCart
            | Job::BrowseAbandon
            | Job::PriceDrop
            | Job::BackInStock
            | Job::WinBack => true,
            Job::Personal
            | Job::Similar
            | Job::CrossSell
            | Job::Upsell
            | Job::BuyAgain
            | Job::Segment => false,
        }
    }

    /// Whether its rows are for items and not for shoppers.
    fn is_for_items(self) -> bool {
        matches!(self, Job::Similar | Job::CrossSell | Job::Upsell)
    }
}

/// What to write.
#[derive(Args, Debug)]
pub struct BatchArgs {
    /// Which table.
    #[arg(long, value_enum)]
    job: Job,
    /// Answers per shopper or item, and complements per cart. Rows about views, prices and stock
    /// are not cut to it.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    k: u32,
    /// The Parquet file to write. It appears whole or not at all.
    #[arg(long)]
    out: PathBuf,
    /// The interaction log, up to now; its ids are matched to those of the version.
    #[arg(long, env = "AISLE_EVENTS")]
    events: Option<String>,
    /// The whole catalogue as it is now: prices and stock; what it lacks is not for sale. Without
    /// it those of the version, with what UpdateItems changed. Read together with --events.
    #[arg(long, env = "AISLE_ITEMS")]
    items: Option<String>,
    /// Attributes of shoppers, for --consent.
    #[arg(long, env = "AISLE_USERS")]
    users: Option<String>,
    /// A TOML config that says how to read the files; without it they are read as those of the
    /// version were.
    #[arg(long, env = "AISLE_CONFIG")]
    config: Option<PathBuf>,
    /// The time to write for, UTC: 2017-11-12 (its first moment) or 2017-11-12T09:30. Later events
    /// are not seen. Without it the end of the log, never the clock.
    #[arg(long, value_parser = utc_time)]
    now: Option<i64>,
    #[command(flatten)]
    thresholds: ThresholdArgs,
    #[command(flatten)]
    audience: AudienceArgs,
}

/// Everything that a job needs.
struct Campaign<'a> {
    version: &'a Version,
    /// Prices, stock and rules that answers respect.
    live: LiveState,
    job: Job,
    /// Answers per shopper or item.
    k: usize,
    thresholds: Thresholds,
    audience: Audience,
    /// Milliseconds since 1970, if the time was given or read from a log; else jobs take the end of
    /// the version's own log.
    now: Option<i64>,
    /// The log, for a job that has one.
    snapshot: Option<Snapshot<'a>>,
    progress: ProgressReporter,
}

impl Campaign<'_> {
    /// The models that answer.
    fn models(&self) -> &FittedModels {
        &self.version.models
    }

    /// The log, for a job that has one.
    fn snapshot(&self) -> Result<&Snapshot<'_>> {
        let name = self.job.name();
        self.snapshot.as_ref().with_context(|| {
            format!("--job {name} is about what shoppers did: add --events with the log")
        })
    }

    /// Decides for shoppers of the version, by their rows.
    fn admit(&self, users: impl Iterator<Item = u32>) -> Admission {
        let ids = users.map(|row| self.models().users.id(row));
        self.audience.admit(ids)
    }

    /// Keeps the rows of shoppers who get the campaign. The rows must be sorted by shopper, and
    /// `user` is a shopper's row in the log.
    fn admit_rows<R>(&self, rows: Vec<R>, user: impl Fn(&R) -> u32) -> Result<AdmittedRows<R>> {
        let users = &self.snapshot()?.log.users;
        Ok(AdmittedRows::of(rows, user, |of| {
            self.audience.admit(of.iter().map(|&row| users.id(row)))
        }))
    }
}

/// Writes the table, and beside it the shoppers held out. Returns the number of rows written.
///
/// # Errors
/// What was found, expected, and what to do; nothing is then written. That the file holds other
/// rows than expected is one of them.
pub fn run(version: &Version, live: LiveState, options: &BatchArgs) -> Result<usize> {
    let began = Instant::now();
    let campaign = prepare(version, live, options)?;
    let table = make_table(&campaign)?;
    campaign.progress.clear();

    let rows = table.rows();
    let why_empty = (rows == 0).then(|| why_empty(&table));
    let held_out = held_out_users(&table, options.audience.holds_out());
    let staged = stage(&options.out, table.columns, table.expected_rows)?;
    let holdout = match held_out {
        None => None,
        Some(users) => {
            let column = vec![text("user_id", users.iter().map(|id| Some(id.as_str())))];
            Some(stage(&holdout_path(&options.out), column, users.len())?)
        }
    };
    // The held-out go first: a campaign whose list is there can be measured.
    let holdout = match holdout {
        Some(holdout) => Some(holdout.publish()?),
        None => None,
    };
    let out = staged.publish()?;

    let took = began.elapsed().as_secs_f64();
    eprintln!(
        "{} rows for {} {} in {} ({} rows a second) → {}",
        count(rows as u64),
        count(table.served as u64),
        match options.job.is_for_items() {
            true => "items",
            false => "shoppers",
        },
        seconds(took),
        count((rows as f64 / took) as u64),
        out.display(),
    );
    if let Some(admission) = &table.admission {
        for cause in admission.causes(&options.audience, holdout.as_deref()) {
            eprintln!("left out: {cause}");
        }
    }
    if let Some(why) = why_empty {
        eprintln!("no row: {why}");
    }
    Ok(rows)
}

/// Checks the options, and reads what the job needs.
fn prepare<'a>(version: &'a Version, live: LiveState, options: &BatchArgs) -> Result<Campaign<'a>> {
    let job = options.job;
    let thresholds = options.thresholds.with_defaults(job)?;
    if job.is_for_items() {
        options.audience.refuse(&job.name())?;
    }
    if job.needs_events() && options.events.is_none() {
        bail!(
            "--job {} is about what shoppers did: add --events with the log, and --items with the \
             catalogue of now",
            job.name()
        );
    }
    let config = match &options.config {
        Some(path) => Settings::read(Some(path), None, &[])?.data(),
        None => version.manifest.lineage.config.clone(),
    };
    let (snapshot, live) = match (&options.events, &options.items) {
        (None, Some(_)) => bail!("--items is read together with the log: add --events"),
        (Some(events), items) if job.needs_events() || items.is_some() => {
            let files = SnapshotFiles {
                events,
                items: items.as_deref(),
                config: &config,
                now: options.now,
            };
            let (snapshot, live) = Snapshot::read(&version.models, live, &files)?;
            (Some(snapshot), live)
        }
        _ => (None, live),
    };
    let of_snapshot = snapshot.as_ref().map(|snapshot| snapshot.now);
    let now = options.now.or(of_snapshot);
    let source = AudienceSource {
        job: &job.name(),
        version,
        users_file: options.users.as_deref(),
        user_id_column: user_id_column(&config),
        now: now.or_else(|| last_day(version)),
    };
    let audience = Audience::read(&options.audience, &source)?;
    Ok(Campaign {
        version,
        live,
        job,
        k: options.k as usize,
        thresholds,
        audience,
        now,
        snapshot,
        progress: ProgressReporter::new(),
    })
}

fn user_id_column(config: &DataConfig) -> &str {
    let column = config.columns.users.user_id.as_deref();
    column.unwrap_or("user_id")
}

/// The last day of the version's log, in milliseconds since 1970; `None` of a log without times.
fn last_day(version: &Version) -> Option<i64> {
    let day = version.manifest.lineage.last_day.as_deref()?;
    utc_time(day).ok()
}

fn make_table(campaign: &Campaign) -> Result<Table> {
    match campaign.job {
        Job::Personal => answers::personal(campaign),
        Job::Similar | Job::CrossSell | Job::Upsell => answers::of_items(campaign),
        Job::BuyAgain => answers::buy_again(campaign),
        Job::AbandonedCart => carts::abandoned(campaign),
        Job::BrowseAbandon => carts::browsed(campaign),
        Job::PriceDrop => catalog_changes::price_drop(campaign),
        Job::BackInStock => catalog_changes::back_in_stock(campaign),
        Job::WinBack => win_back::win_back(campaign),
        Job::Segment => segments::members(campaign),
    }
}

/// The ids of the shoppers held out; `None` if no holdout was asked for.
fn held_out_users(table: &Table, holds_out: bool) -> Option<Vec<String>> {
    let held_out = |admission: &Admission| admission.held_out.clone();
    holds_out.then(|| table.admission.as_ref().map(held_out).unwrap_or_default())
}

/// Why a table has no row.
fn why_empty(table: &Table) -> String {
    match &table.admission {
        Some(admission) if admission.left_out() > 0 => format!(
            "all {} shoppers it would have are left out",
            count(admission.left_out() as u64)
        ),
        _ => table.if_empty.clone(),
    }
}

/// Where the shoppers held out are written: `march.parquet` → `march.holdout.parquet`.
fn holdout_path(out: &Path) -> PathBuf {
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(".parquet").unwrap_or(&name);
    out.with_file_name(format!("{stem}.holdout.parquet"))
}
