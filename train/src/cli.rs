//! The command line: arguments as typed, and the call of what they mean.

use crate::batch;
use crate::evaluate::{self, AskPersonal, Evaluation, Lines, Parts, Targets, Task};
use crate::fit::{self, Target};
use crate::settings::{Algorithm, Settings};
use crate::{inspect, leakage, segments, tune, versions};
use aisle_data::{Dataset, EventLog, Fold, Generator, Inspection, Prefix, Split, Tables, moment_of, read_prefixes, read_relations};
use aisle_models::{Device, Registry};
use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use std::path::{Path, PathBuf};

/// Fit, measure, export and administer product recommendation models.
#[derive(Parser, Debug)]
#[command(name = "aisle-train", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Show what is in a log, what is wrong with it, and what it can be used for.
    Inspect {
        #[command(flatten)]
        log: LogArgs,
        #[command(flatten)]
        settings: SettingArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Fit all models on a log and publish them as one immutable version.
    Fit {
        #[command(flatten)]
        log: LogArgs,
        #[command(flatten)]
        settings: SettingArgs,
        #[command(flatten)]
        run: RunArgs,
        #[command(flatten)]
        model: ModelArgs,
        /// Point this alias at the new version, for example stable: servers that follow it swap to it.
        #[arg(long)]
        alias: Option<String>,
        /// Measure on a held-out part first and record the metrics in the manifest: time:0.9, time:DATE, last-order, validation.
        #[arg(long, value_name = "SPLIT")]
        measure: Option<String>,
    },
    /// Measure an algorithm on held-out data, beside Popular and ItemKnn.
    Evaluate {
        /// The training log; needs --test.
        #[arg(long, requires = "test", conflicts_with_all = ["events", "split"])]
        train: Option<String>,
        /// The test log.
        #[arg(long, requires = "train")]
        test: Option<String>,
        /// A log to split; needs --split or --folds.
        #[arg(long, env = "AISLE_EVENTS")]
        events: Option<String>,
        /// How to split: time:0.9, time:2017-11-12, time:2017-11-12..2017-11-26, last-order, validation.
        #[arg(long)]
        split: Option<String>,
        /// Cross-validate in time instead: so many windows at the log's end, each tested by what was learned from all before it.
        #[arg(long, value_name = "N", conflicts_with = "split", requires = "events", value_parser = clap::value_parser!(u32).range(2..=50))]
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
        lines: Lines,
        /// With --task cross-sell: which of these lines count.
        #[arg(long, value_enum, default_value_t)]
        targets: Targets,
        /// Answers per question.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        k: u32,
        /// With --task relations: known pairs, a Parquet file of item_id, related_item_id, relation (complement or substitute).
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
    },
    /// Search for good hyperparameters on a validation part of the log.
    Tune {
        #[command(flatten)]
        log: LogArgs,
        #[command(flatten)]
        settings: SettingArgs,
        #[command(flatten)]
        run: RunArgs,
        /// Settings to try, those of --history included; the first is the present one.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        trials: u32,
        /// What to maximise.
        #[arg(long, default_value = "ndcg@20")]
        metric: String,
        /// How the validation part is cut off: validation (the last tenth by time, or a part of some shoppers' items), last-order,
        /// time:0.9. It should resemble what the model will be asked.
        #[arg(long, default_value = "validation")]
        split: String,
        /// Seed of the draws.
        #[arg(long, default_value_t = 42)]
        seed: u64,
        /// A Parquet file that keeps every trial: the search goes on from what it holds.
        #[arg(long, value_name = "PARQUET")]
        history: Option<PathBuf>,
        /// Write the config of this run with the best settings in it.
        #[arg(long, value_name = "CONFIG")]
        out: Option<PathBuf>,
    },
    /// Write a synthetic log and catalogue of any size, to see what a log of yours would take.
    Generate {
        /// The folder for events.parquet and items.parquet.
        #[arg(long)]
        out: PathBuf,
        /// Rows of events.
        #[arg(long, default_value_t = 1_000_000)]
        events: u64,
        /// Shoppers; by default one for 50 events.
        #[arg(long)]
        users: Option<u32>,
        /// Items; by default one for 100 events.
        #[arg(long)]
        items: Option<u32>,
        /// Days that the log covers.
        #[arg(long, default_value_t = 365)]
        days: u32,
        /// Seed of the draws.
        #[arg(long, default_value_t = 42)]
        seed: u64,
    },
    /// List the versions of a model.
    Versions(ModelArgs),
    /// Point an alias at a version.
    Alias {
        #[command(flatten)]
        model: ModelArgs,
        /// The alias.
        #[arg(long)]
        alias: String,
        /// The version it shall point at.
        #[arg(long)]
        version: String,
    },
    /// Point an alias back at the version it pointed at before.
    Rollback {
        #[command(flatten)]
        model: ModelArgs,
        /// The alias.
        #[arg(long, default_value = "stable")]
        alias: String,
    },
    /// Check digests, shapes and golden requests of one version, or of all.
    Verify {
        #[command(flatten)]
        model: ModelArgs,
        /// The version; without it, all.
        #[arg(long)]
        version: Option<String>,
    },
    /// Compare the answers of two versions.
    Diff {
        #[command(flatten)]
        model: ModelArgs,
        /// The old version.
        a: String,
        /// The new version.
        b: String,
    },
    /// Show the segments of shoppers of a version.
    Segments {
        #[command(flatten)]
        model: ModelArgs,
        /// The version; without it, that of --alias.
        #[arg(long)]
        version: Option<String>,
        /// The alias whose version is shown.
        #[arg(long, default_value = "stable")]
        alias: String,
    },
    /// Write a table for e-mail and other campaigns as Parquet: a version's answers for every shopper or item, or what shoppers left, missed and
    /// may be told. --help lists the jobs with their columns.
    Batch {
        #[command(flatten)]
        model: ModelArgs,
        /// The version; without it, that of --alias.
        #[arg(long)]
        version: Option<String>,
        /// The alias whose version answers.
        #[arg(long, default_value = "stable")]
        alias: String,
        /// Threads; 0 = all cores.
        #[arg(long, default_value_t = 0, env = "AISLE_THREADS")]
        threads: usize,
        #[command(flatten)]
        ask: batch::Ask,
    },
}

#[derive(Args, Debug)]
struct LogArgs {
    /// The interaction log: a Parquet file, a folder, or a glob.
    #[arg(long, env = "AISLE_EVENTS")]
    events: String,
    /// The catalogue.
    #[arg(long, env = "AISLE_ITEMS")]
    items: Option<String>,
    /// Attributes of shoppers.
    #[arg(long, env = "AISLE_USERS")]
    users: Option<String>,
}

#[derive(Args, Debug)]
struct SettingArgs {
    /// A TOML config: column names, event weights, cleaning, hyperparameters.
    #[arg(long, env = "AISLE_CONFIG")]
    config: Option<PathBuf>,
    /// The personal algorithm; evaluate compares several: als,low-pass,blend.
    #[arg(long, value_enum, value_delimiter = ',', env = "AISLE_ALGORITHM")]
    algorithm: Vec<Algorithm>,
    /// A setting, over the config: factors=128 (of the first algorithm) or cross-sell.min_shoppers=3.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Args, Debug)]
struct RunArgs {
    /// Threads; 0 = all cores. The result does not depend on it.
    #[arg(long, default_value_t = 0, env = "AISLE_THREADS")]
    threads: usize,
    /// Where two-tower is fitted and evaluate ranks with vectors: cpu, cuda or cuda:1; everything else is fast enough on the cores.
    #[arg(long, default_value = "cpu", env = "AISLE_DEVICE")]
    device: Device,
}

#[derive(Args, Debug)]
struct ModelArgs {
    /// The folder of all models.
    #[arg(long, env = "AISLE_REGISTRY")]
    registry: PathBuf,
    /// The model's name.
    #[arg(long, env = "AISLE_MODEL")]
    model: String,
}

impl SettingArgs {
    /// For one algorithm.
    fn read(&self) -> Result<Settings> {
        if self.algorithm.len() > 1 {
            bail!("--algorithm names {}: only evaluate takes several; to mix them, use blend", self.algorithm.len());
        }
        self.read_first()
    }

    /// For several: settings without a section are those of the first.
    fn read_first(&self) -> Result<Settings> {
        Settings::read(self.config.as_deref(), self.algorithm.first().copied(), &self.set)
    }
}

impl LogArgs {
    fn read(&self, settings: &Settings) -> Result<Dataset> {
        let tables = Tables { events: &self.events, items: self.items.as_deref(), users: self.users.as_deref() };
        Ok(Dataset::read(&tables, &settings.data())?)
    }
}

fn use_threads(threads: usize) -> Result<()> {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("cannot start the threads")
}

fn name_of(path: &str) -> String {
    Path::new(path).file_name().map_or(path.to_string(), |name| name.to_string_lossy().into_owned())
}

/// Does what the command line says.
///
/// # Errors
/// One message that says what was found, what was expected, and what to do.
pub fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Inspect { log, settings, json } => {
            let settings = settings.read()?;
            let data = log.read(&settings)?;
            let facts = Inspection::of(&data);
            match json {
                true => println!("{}", serde_json::to_string_pretty(&facts)?),
                false => print!("{}", inspect::render(&facts, &data)),
            }
        }
        Command::Fit { log, settings, run, model, alias, measure } => {
            use_threads(run.threads)?;
            let settings = Settings { device: run.device, ..settings.read()? };
            let data = log.read(&settings)?;
            let target = Target { registry: Registry::new(model.registry), model: model.model, alias };
            println!("{}", fit::fit(&data, &settings, &target, measure.as_deref())?);
        }
        Command::Evaluate {
            train,
            test,
            events,
            split,
            folds,
            items,
            users,
            settings,
            run,
            task,
            lines,
            targets,
            k,
            relations,
            rules,
            placement,
            repeats,
            allow_leaks,
            json,
            html,
        } => {
            use_threads(run.threads)?;
            let named = settings.algorithm.clone();
            let settings = Settings { device: run.device, ..settings.read_first()? };
            let config = settings.data();
            let read = |events: &str| Dataset::read(&Tables { events, items: items.as_deref(), users: users.as_deref() }, &config);
            let k = k as usize;
            let algorithms = if named.is_empty() { vec![settings.algorithm] } else { named.clone() };
            let measure = |parts: &Parts, prefixes: Option<&[Prefix]>| -> Result<Evaluation> {
                let findings = leakage::find(parts, task);
                eprint!("{}", leakage::render(&findings));
                if !allow_leaks && findings.iter().any(|finding| finding.leak) {
                    bail!(
                        "the test part leaks into the training part, so figures would be wrong: split by time, or pass --allow-leaks"
                    );
                }
                if let Some(path) = &rules {
                    if task != Task::Personal {
                        bail!("--rules measures the task 'personal': leave --task away");
                    }
                    return evaluate::rules(parts, &settings, &evaluate::read_rules(path)?, &placement, k);
                }
                match task {
                    Task::Personal => evaluate::personal(parts, &settings, &algorithms, AskPersonal { k, repeats }),
                    Task::CrossSell => evaluate::cross_sell(parts, &settings, &named, evaluate::Ask { k, lines, targets }),
                    Task::Upsell => evaluate::upsell(parts, &settings, k),
                    Task::BuyAgain => evaluate::buy_again(parts, &settings, k),
                    Task::Context => evaluate::context(parts, &settings, k),
                    Task::Cold => evaluate::cold(parts, &settings, &algorithms, k),
                    Task::Relations => {
                        bail!("the task 'relations' learns from the whole log: leave --split away, and give --relations")
                    }
                    Task::Session => evaluate::session(parts, prefixes, &settings, &named, k),
                }
            };
            let evaluation = match (train, test, events, split, folds) {
                (None, None, Some(events), None, None) if task == Task::Relations => {
                    let Some(path) = relations else { bail!("the task 'relations' needs --relations with the known pairs") };
                    let parts = Parts { train: read(&events)?, test: EventLog::default(), split: name_of(&events) };
                    evaluate::relations(&parts, &settings, &read_relations(&path)?, k)?
                }
                (Some(train), Some(test), None, None, None) => {
                    let split = format!("{} → {}", name_of(&train), name_of(&test));
                    let prefixes = if task == Task::Session { read_prefixes(&test)? } else { None };
                    let test = if prefixes.is_some() { EventLog::default() } else { read(&test)?.log };
                    measure(&Parts { train: read(&train)?, test, split }, prefixes.as_deref())?
                }
                (None, None, Some(events), Some(split), None) => {
                    let data = read(&events)?;
                    let (train, test) = split.parse::<Split>()?.apply(&data.log)?;
                    let split = format!("{} split by {split}", name_of(&events));
                    measure(&Parts { train: Dataset { log: train, ..data }, test, split }, None)?
                }
                (None, None, Some(events), None, Some(count)) => {
                    let data = read(&events)?;
                    let mut measured = Vec::new();
                    for (number, fold) in (1..).zip(aisle_data::folds(&data.log, count as usize)?) {
                        let Fold { window, train, test } = fold?;
                        let split = format!("{} to {}", moment_of(window.0), moment_of(window.1 - 1));
                        let parts = Parts { train: Dataset { log: train, ..data.clone() }, test, split: split.clone() };
                        let part = measure(&parts, None).with_context(|| format!("fold {number} of {count}, {split}"))?;
                        measured.push((split, part));
                    }
                    let mut pooled = Evaluation::pooled(measured).context("no fold was measured")?;
                    pooled.headline = format!(
                        "{count} folds in time: each window is asked of what was learned before it; means over all questions, seconds and coverage by fold, sizes of the last"
                    );
                    pooled
                }
                _ => bail!("evaluate needs --train and --test, or --events with --split or --folds"),
            };
            print!("{}", evaluation.render());
            if let Some(path) = json {
                let text = serde_json::to_string_pretty(&evaluation.json())? + "\n";
                std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            }
            if let Some(path) = html {
                std::fs::write(&path, evaluation.html()).with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
        Command::Tune { log, settings, run, trials, metric, split, seed, history, out } => {
            use_threads(run.threads)?;
            let settings = Settings { device: run.device, ..settings.read()? };
            let data = log.read(&settings)?;
            let search =
                tune::Search { trials: trials as usize, metric: &metric, split: &split, seed, history: history.as_deref() };
            let trials = tune::run(&data, &settings, &search)?;
            print!("{}", tune::render(&trials, &metric));
            if let (Some(path), Some(best)) = (out, trials.first()) {
                std::fs::write(&path, tune::config(&settings, best)?)
                    .with_context(|| format!("cannot write {}", path.display()))?;
                eprintln!("the best settings are in {}", path.display());
            }
        }
        Command::Generate { out, events, users, items, days, seed } => {
            let share = |part: u64| u32::try_from(events / part).unwrap_or(u32::MAX).max(1);
            let (users, items) = (users.unwrap_or_else(|| share(50)), items.unwrap_or_else(|| share(100)));
            Generator { events, users, items, days, seed }.write(&out)?;
            println!("{}", out.display());
        }
        Command::Versions(model) => print!("{}", versions::list(&Registry::new(model.registry), &model.model)?),
        Command::Alias { model, alias, version } => {
            Registry::new(model.registry).set_alias(&model.model, &alias, &version)?;
            println!("{alias} → {version}");
        }
        Command::Rollback { model, alias } => {
            let aliases = Registry::new(model.registry).rollback(&model.model, &alias)?;
            println!("{alias} → {}", aliases.aliases.get(&alias).map_or("nothing", |alias| alias.version.as_str()));
        }
        Command::Verify { model, version } => {
            print!("{}", versions::verify(&Registry::new(model.registry), &model.model, version.as_deref())?);
        }
        Command::Diff { model, a, b } => print!("{}", versions::diff(&Registry::new(model.registry), &model.model, &a, &b)?),
        Command::Segments { model, version, alias } => {
            let registry = Registry::new(model.registry);
            let version = version.map_or_else(|| registry.resolve(&model.model, &alias), Ok)?;
            print!("{}", segments::render(&registry.manifest(&model.model, &version)?));
        }
        Command::Batch { model, version, alias, threads, ask } => {
            use_threads(threads)?;
            let registry = Registry::new(model.registry);
            let version = version.map_or_else(|| registry.resolve(&model.model, &alias), Ok)?;
            let changes = registry.item_changes(&model.model)?;
            let bundle = registry.verify_with(&model.model, &version, &changes, &[])?;
            bundle.shelve(&changes);
            bundle.rule(&std::sync::Arc::new(registry.rules(&model.model)?));
            batch::run(&bundle, &ask)?;
        }
    }
    Ok(())
}
