//! `evaluate`: which parts of which log, which task, and where the figures go.

use super::arguments::{RunArgs, SettingArgs};
use crate::atomic::write_file;
use crate::evaluate::{
    self, CrossSellOptions, Evaluation, HeldOutLines, PersonalOptions, TargetKind, Task,
    TrainTestSplit,
};
use crate::leakage;
use crate::settings::{Algorithm, Settings};
use aisle_data::{
    Dataset, EventLog, Fold, Prefix, Split, Tables, format_rfc3339, read_prefixes, read_relations,
};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
pub(super) struct EvaluateArgs {
    /// The training log; needs --test.
    #[arg(long, requires = "test", conflicts_with_all = ["events", "split"])]
    train: Option<String>,
    /// The test log.
    #[arg(long, requires = "train")]
    test: Option<String>,
    /// A log to split; needs --split or --folds.
    #[arg(long, env = "AISLE_EVENTS")]
    events: Option<String>,
    /// How to split: time:0.9, time:2017-11-12, time:2017-11-12..2017-11-26, last-order,
    /// validation.
    #[arg(long)]
    split: Option<String>,
    /// Cross-validate in time instead: so many windows at the log's end, each tested by what was
    /// learned from all before it.
    #[arg(
        long,
        value_name = "N",
        conflicts_with = "split",
        requires = "events",
        value_parser = clap::value_parser!(u32).range(2..=50)
    )]
    folds: Option<u32>,
    /// The catalogue.
    #[arg(long, env = "AISLE_ITEMS")]
    items: Option<String>,
    /// Attributes of shoppers.
    #[arg(long, env = "AISLE_USERS")]
    users: Option<String>,
    #[command(flatten)]
    settings: SettingArgs,
    #[command(flatten)]
    run: RunArgs,
    /// What to measure.
    #[arg(long, value_enum, default_value_t)]
    task: Task,
    /// With --task cross-sell: which lines of each held-out order are asked for.
    #[arg(long, value_enum, default_value_t)]
    lines: HeldOutLines,
    /// With --task cross-sell: which of these lines count.
    #[arg(long, value_enum, default_value_t)]
    targets: TargetKind,
    /// Answers per question.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    k: u32,
    /// With --task relations: known pairs, a Parquet file of item_id, related_item_id, relation
    /// (complement or substitute).
    #[arg(long, value_name = "PARQUET", requires = "events")]
    relations: Option<String>,
    /// With --task personal: what these rules cost, all and each alone; a TOML file of [[rule]]s.
    #[arg(long, value_name = "TOML")]
    rules: Option<PathBuf>,
    /// With --rules: the placement that is asked for.
    #[arg(long, default_value = "personal", requires = "rules")]
    placement: String,
    /// With --task personal: also ask for what the shopper had before, and allow it as an answer.
    #[arg(long)]
    repeats: bool,
    /// Measure although the test part was found to leak into the training part.
    #[arg(long)]
    allow_leaks: bool,
    /// Also write the figures as JSON.
    #[arg(long, value_name = "OUT")]
    json: Option<PathBuf>,
    /// Also write a report with plots, one HTML file that needs nothing else.
    #[arg(long, value_name = "OUT")]
    html: Option<PathBuf>,
}

/// Measures, prints the figures, and writes the files that were asked for.
pub(super) fn run(args: EvaluateArgs) -> Result<()> {
    let settings = args.run.apply(args.settings.read_first()?)?;
    let evaluation = Measuring {
        args: &args,
        settings,
    }
    .evaluate()?;
    print!("{}", evaluation.render());
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&evaluation.json())? + "\n";
        write_file(path, &text)?;
    }
    if let Some(path) = &args.html {
        write_file(path, &evaluation.html())?;
    }
    Ok(())
}

/// The options of an evaluation with the settings read.
struct Measuring<'a> {
    args: &'a EvaluateArgs,
    settings: Settings,
}

impl Measuring<'_> {
    /// Evaluates on the parts that the options name.
    fn evaluate(&self) -> Result<Evaluation> {
        let args = self.args;
        match (
            &args.train,
            &args.test,
            &args.events,
            &args.split,
            args.folds,
        ) {
            (None, None, Some(events), None, None) if args.task == Task::Relations => {
                self.relations(events)
            }
            (Some(train), Some(test), None, None, None) => self.two_logs(train, test),
            (None, None, Some(events), Some(split), None) => self.split_log(events, split),
            (None, None, Some(events), None, Some(count)) => self.folds(events, count),
            _ => bail!("evaluate needs --train and --test, or --events with --split or --folds"),
        }
    }

    fn read(&self, events: &str) -> Result<Dataset> {
        let tables = Tables {
            events,
            items: self.args.items.as_deref(),
            users: self.args.users.as_deref(),
        };
        Ok(Dataset::read(&tables, &self.settings.data())?)
    }

    fn relations(&self, events: &str) -> Result<Evaluation> {
        let Some(path) = &self.args.relations else {
            bail!("the task 'relations' needs --relations with the known pairs")
        };
        let parts = TrainTestSplit {
            train: self.read(events)?,
            test: EventLog::default(),
            description: file_name(events),
        };
        let known = read_relations(path)?;
        evaluate::relations(&parts, &self.settings, &known, self.args.k as usize)
    }

    fn two_logs(&self, train: &str, test: &str) -> Result<Evaluation> {
        let description = format!("{} → {}", file_name(train), file_name(test));
        let prefixes = match self.args.task {
            Task::Session => read_prefixes(test)?,
            _ => None,
        };
        let test = match prefixes {
            Some(_) => EventLog::default(),
            None => self.read(test)?.log,
        };
        let parts = TrainTestSplit {
            train: self.read(train)?,
            test,
            description,
        };
        self.measure(&parts, prefixes.as_deref())
    }

    fn split_log(&self, events: &str, split: &str) -> Result<Evaluation> {
        let data = self.read(events)?;
        let (train, test) = split.parse::<Split>()?.apply(&data.log)?;
        let parts = TrainTestSplit {
            train: Dataset { log: train, ..data },
            test,
            description: format!("{} split by {split}", file_name(events)),
        };
        self.measure(&parts, None)
    }

    fn folds(&self, events: &str, count: u32) -> Result<Evaluation> {
        let data = self.read(events)?;
        let mut measured = Vec::new();
        for (number, fold) in (1..).zip(aisle_data::folds(&data.log, count as usize)?) {
            let Fold {
                window: (from, until),
                train,
                test,
            } = fold?;
            let (first, last) = (format_rfc3339(from), format_rfc3339(until - 1));
            let description = format!("{first} to {last}");
            let parts = TrainTestSplit {
                train: Dataset {
                    log: train,
                    ..data.clone()
                },
                test,
                description: description.clone(),
            };
            let part = self
                .measure(&parts, None)
                .with_context(|| format!("fold {number} of {count}, {description}"))?;
            measured.push((description, part));
        }
        let mut pooled = Evaluation::pooled(measured).context("no fold was measured")?;
        pooled.headline = format!(
            "{count} folds in time: each window is asked of what was learned before it; means over \
             all questions, seconds and coverage by fold, sizes of the last"
        );
        Ok(pooled)
    }

    /// Looks for leaks, and measures the task on one pair of parts.
    fn measure(&self, parts: &TrainTestSplit, prefixes: Option<&[Prefix]>) -> Result<Evaluation> {
        let (args, settings) = (self.args, &self.settings);
        let findings = leakage::find(parts, args.task);
        eprint!("{}", leakage::render(&findings));
        if !args.allow_leaks && findings.iter().any(|finding| finding.is_leak) {
            bail!(
                "the test part leaks into the training part, so figures would be wrong: split by \
                 time, or pass --allow-leaks"
            );
        }
        let k = args.k as usize;
        if let Some(path) = &args.rules {
            if args.task != Task::Personal {
                bail!("--rules measures the task 'personal': leave --task away");
            }
            let rules = evaluate::read_rules(path)?;
            return evaluate::rules(parts, settings, &rules, &args.placement, k);
        }
        let named = &args.settings.algorithm;
        let algorithms: &[Algorithm] = match named.is_empty() {
            true => std::slice::from_ref(&settings.algorithm),
            false => named,
        };
        match args.task {
            Task::Personal => {
                let repeats = args.repeats;
                let options = PersonalOptions { k, repeats };
                evaluate::personal(parts, settings, algorithms, options)
            }
            Task::CrossSell => {
                let options = CrossSellOptions {
                    k,
                    lines: args.lines,
                    targets: args.targets,
                };
                evaluate::cross_sell(parts, settings, named, options)
            }
            Task::Upsell => evaluate::upsell(parts, settings, k),
            Task::BuyAgain => evaluate::buy_again(parts, settings, k),
            Task::Context => evaluate::context(parts, settings, k),
            Task::Cold => evaluate::cold(parts, settings, algorithms, k),
            Task::Session => evaluate::session(parts, prefixes, settings, named, k),
            Task::Relations => bail!(
                "the task 'relations' learns from the whole log: leave --split away, and give \
                 --relations"
            ),
        }
    }
}

/// The last part of a path.
fn file_name(path: &str) -> String {
    let name = Path::new(path).file_name();
    name.map_or(path.to_string(), |name| name.to_string_lossy().into_owned())
}
