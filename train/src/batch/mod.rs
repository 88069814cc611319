//! `aisle-train batch`: tables for e-mail and other campaigns, as Parquet. Which rows belong in one, who may be written to, and the promise that
//! exactly those rows are in the file.
//!
//! A job is a function from `Campaign` to `Sheet`: a new one is a variant of [`Job`], an arm of `made`, and a file beside this one. What it
//! leaves out for consent, the frequency cap and the holdout goes through `Audience`, so that every job counts them alike. Nothing reads a
//! clock: the same version, files and options give the same bytes at any thread count.

mod audience;
mod carts;
mod lists;
mod returns;
mod scene;
mod segments;
mod sheet;
mod shelf;
mod terms;
mod texts;

use crate::progress::Progress;
use crate::report::{count, seconds};
use crate::settings::Settings;
use aisle_data::DataConfig;
use aisle_models::Bundle;
use anyhow::{Context, Result, bail};
use audience::{Admission, Audience, AudienceArgs, Of};
use clap::{Args, ValueEnum};
use scene::Scene;
use sheet::{Chosen, Sheet, Staged, text};
use std::path::{Path, PathBuf};
use std::time::Instant;
use terms::{TermArgs, Terms};

pub use terms::moment;

/// Which table. Rows stand by shopper (or item asked about); moments are UTC, prices are per unit in the currency of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Job {
    /// A personal list for each shopper, without what they bought. Columns: user_id, rank (from 1), item_id, score, source, reason.
    Personal,
    /// Similar items for each item. Columns: for_item_id, rank, item_id, score, source, reason.
    Similar,
    /// Complements for each item as a cart of one. Columns: for_item_id, rank, item_id, score, source, reason.
    CrossSell,
    /// Better versions of each item. Columns: for_item_id, rank, item_id, score, source, reason.
    Upsell,
    /// What each shopper is likely to reorder. Columns: user_id, rank, item_id, probability (within the version's horizon, 28 days unless set
    /// otherwise), due_in_days (below 0: overdue), orders (that held it), days_since (the last of them).
    BuyAgain,
    /// Carts left idle, one row an item; needs --events. Columns: user_id, item_id, carted_at, quantity, price_then, price_now, available,
    /// complements (ids that go with the whole cart, best first; the same for each of its rows).
    AbandonedCart,
    /// Items looked at several times and not bought; needs --events. Columns: user_id, item_id, views, viewed_at (last), price_then, price_now.
    BrowseAbandon,
    /// Items now cheaper than when the shopper last saw them; needs --events. Columns: user_id, item_id, seen_at, price_then, price_now,
    /// drop (share of price_then).
    PriceDrop,
    /// Items seen, out of stock when the version was made, and back now; needs --events. Columns: user_id, item_id, seen_at, price_then,
    /// price_now.
    BackInStock,
    /// A personal list for shoppers silent for much longer than they usually are; needs --events. Columns: user_id, last_order_at,
    /// usual_gap_days, silent_days, rank, item_id, score, reason.
    WinBack,
    /// Who is in which segment; --segment asks for one. Columns: user_id, segment.
    Segment,
}

impl Job {
    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_string()).unwrap_or_default()
    }

    /// Whether it is about what happened, and so needs the log.
    fn is_of_events(self) -> bool {
        matches!(self, Job::AbandonedCart | Job::BrowseAbandon | Job::PriceDrop | Job::BackInStock | Job::WinBack)
    }

    /// Whether its rows are for items and not for shoppers.
    fn is_of_items(self) -> bool {
        matches!(self, Job::Similar | Job::CrossSell | Job::Upsell)
    }
}

/// What to write.
#[derive(Args, Debug)]
pub struct Ask {
    /// Which table.
    #[arg(long, value_enum)]
    job: Job,
    /// Answers per shopper or item, and complements per cart. Rows about views, prices and stock are not cut to it.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    k: u32,
    /// The Parquet file to write. It appears whole or not at all.
    #[arg(long)]
    out: PathBuf,
    /// The interaction log, up to now; its ids are matched to those of the version.
    #[arg(long, env = "AISLE_EVENTS")]
    events: Option<String>,
    /// The whole catalogue as it is now: prices and stock; what it lacks is not for sale. Without it those of the version, with what
    /// UpdateItems changed. Read together with --events.
    #[arg(long, env = "AISLE_ITEMS")]
    items: Option<String>,
    /// Attributes of shoppers, for --consent.
    #[arg(long, env = "AISLE_USERS")]
    users: Option<String>,
    /// A TOML config that says how to read the files; without it they are read as those of the version were.
    #[arg(long, env = "AISLE_CONFIG")]
    config: Option<PathBuf>,
    /// The moment to write for, UTC: 2017-11-12 (its first moment) or 2017-11-12T09:30. Later events are not seen. Without it the end of the
    /// log, never the clock.
    #[arg(long, value_parser = moment)]
    now: Option<i64>,
    #[command(flatten)]
    terms: TermArgs,
    #[command(flatten)]
    audience: AudienceArgs,
}

/// Everything a job needs.
struct Campaign<'a> {
    bundle: &'a Bundle,
    job: Job,
    k: usize,
    terms: Terms,
    audience: Audience,
    /// The moment, if it was said or read from a log; else jobs take the end of the version's own.
    now: Option<i64>,
    scene: Option<Scene<'a>>,
    progress: Progress,
}

impl Campaign<'_> {
    /// The log, of a job that has one.
    fn scene(&self) -> Result<&Scene<'_>> {
        let name = self.job.name();
        self.scene.as_ref().with_context(|| format!("--job {name} is about what shoppers did: add --events with the log"))
    }

    /// Decides for shoppers of the version.
    fn admit(&self, users: impl Iterator<Item = u32>) -> Admission {
        self.audience.admit(users.map(|row| self.bundle.users.id(row)))
    }

    /// Those of some lines (which stand by shopper) whose shoppers get the campaign.
    fn choose<L>(&self, lines: Vec<L>, user: impl Fn(&L) -> u32) -> Result<Chosen<L>> {
        let users = &self.scene()?.log.users;
        Ok(Chosen::of(lines, user, |of| self.audience.admit(of.iter().map(|&row| users.id(row)))))
    }
}

/// Writes the table, and beside it the shoppers held out. Returns the rows written.
///
/// # Errors
/// What was found, expected, and what to do; nothing is then written. That the file holds other rows than promised is one of them.
pub fn run(bundle: &Bundle, ask: &Ask) -> Result<usize> {
    let began = Instant::now();
    let campaign = prepared(bundle, ask)?;
    let sheet = made(&campaign)?;
    campaign.progress.clear();

    let rows = sheet.rows();
    let why = (rows == 0).then(|| why_empty(&sheet));
    let held_out = held_out_of(&sheet, ask.audience.holds_out());
    let staged = Staged::write(&ask.out, sheet.columns, sheet.promised)?;
    let aside = match held_out {
        None => None,
        Some(users) => {
            let column = vec![text("user_id", users.iter().map(|id| Some(id.as_str())))];
            Some(Staged::write(&beside(&ask.out), column, users.len())?)
        }
    };
    // The held-out go first: a campaign whose list is there can be measured.
    let aside = aside.map(Staged::publish).transpose()?;
    let out = staged.publish()?;

    let took = began.elapsed().as_secs_f64();
    eprintln!(
        "{} rows for {} {} in {} ({} rows a second) → {}",
        count(rows as u64),
        count(sheet.asked as u64),
        if ask.job.is_of_items() { "items" } else { "shoppers" },
        seconds(took),
        count((rows as f64 / took) as u64),
        out.display(),
    );
    if let Some(admission) = &sheet.admission {
        admission.causes(&ask.audience, aside.as_deref()).iter().for_each(|cause| eprintln!("left out: {cause}"));
    }
    if let Some(why) = why {
        eprintln!("no row: {why}");
    }
    Ok(rows)
}

/// Checks the options, and reads what the job needs.
fn prepared<'a>(bundle: &'a Bundle, ask: &Ask) -> Result<Campaign<'a>> {
    let terms = ask.terms.settle(ask.job)?;
    if ask.job.is_of_items() {
        ask.audience.refuse(&ask.job.name())?;
    }
    if ask.job.is_of_events() && ask.events.is_none() {
        bail!(
            "--job {} is about what shoppers did: add --events with the log, and --items with the catalogue of now",
            ask.job.name()
        );
    }
    let config = match &ask.config {
        Some(path) => Settings::read(Some(path), None, &[])?.data(),
        None => bundle.manifest.lineage.config.clone(),
    };
    let scene = match (&ask.events, &ask.items) {
        (None, Some(_)) => bail!("--items is read together with the log: add --events"),
        (Some(events), items) if ask.job.is_of_events() || items.is_some() => {
            Some(Scene::read(bundle, (events, items.as_deref()), &config, ask.now)?)
        }
        _ => None,
    };
    let now = ask.now.or(scene.as_ref().map(|scene| scene.now));
    let since = now.or_else(|| last_day(bundle));
    let of = Of { job: &ask.job.name(), bundle, users: (ask.users.as_deref(), id_column(&config)) };
    let audience = Audience::read(&ask.audience, of, since)?;
    Ok(Campaign { bundle, job: ask.job, k: ask.k as usize, terms, audience, now, scene, progress: Progress::new() })
}

fn id_column(config: &DataConfig) -> &str {
    config.columns.users.user_id.as_deref().unwrap_or("user_id")
}

/// The last day of the version's log, in milliseconds.
fn last_day(bundle: &Bundle) -> Option<i64> {
    bundle.manifest.lineage.last_day.as_deref().and_then(|day| moment(day).ok())
}

fn made(campaign: &Campaign) -> Result<Sheet> {
    match campaign.job {
        Job::Personal => lists::personal(campaign),
        Job::Similar | Job::CrossSell | Job::Upsell => lists::of_items(campaign),
        Job::BuyAgain => lists::buy_again(campaign),
        Job::AbandonedCart => carts::abandoned(campaign),
        Job::BrowseAbandon => carts::browsed(campaign),
        Job::PriceDrop => shelf::price_drop(campaign),
        Job::BackInStock => shelf::back_in_stock(campaign),
        Job::WinBack => returns::win_back(campaign),
        Job::Segment => segments::members(campaign),
    }
}

fn held_out_of(sheet: &Sheet, wanted: bool) -> Option<Vec<String>> {
    wanted.then(|| sheet.admission.as_ref().map(|admission| admission.held_out.clone()).unwrap_or_default())
}

fn why_empty(sheet: &Sheet) -> String {
    match &sheet.admission {
        Some(admission) if admission.left_out() > 0 => {
            format!("all {} shoppers it would have are left out", count(admission.left_out() as u64))
        }
        _ => sheet.if_empty.clone(),
    }
}

/// `march.parquet` → `march.holdout.parquet`.
fn beside(out: &Path) -> PathBuf {
    let name = out.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    out.with_file_name(format!("{}.holdout.parquet", name.strip_suffix(".parquet").unwrap_or(&name)))
}
