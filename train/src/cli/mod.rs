//! The command line: arguments as typed, and the calls that they stand for.
//!
//! `arguments.rs` holds the options that several commands share, `evaluate.rs` the options of
//! `evaluate`. A new command is a variant of `Command`, an arm of [`run`], and a module of the
//! crate that does the work.

mod arguments;
mod evaluate;

use crate::atomic::write_file;
use crate::fit::{self, Target};
use crate::{batch, inspect, segments, tune, versions};
use aisle_data::{Generator, Inspection};
use aisle_models::LiveState;
use anyhow::Result;
use arguments::{LogArgs, ModelArgs, RunArgs, SettingArgs, VersionArgs, use_threads};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::sync::Arc;

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
    Fit(FitArgs),
    /// Measure an algorithm on held-out data, beside Popular and ItemKnn.
    Evaluate(evaluate::EvaluateArgs),
    /// Search for good hyperparameters on a validation part of the log.
    Tune(TuneArgs),
    /// Write a synthetic log and catalogue of any size, to see what a log of yours would take.
    Generate(GenerateArgs),
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
    Segments(VersionArgs),
    /// Write a table for e-mail and other campaigns as Parquet: a version's answers for every
    /// shopper or item, or rows about what shoppers did. --help lists the jobs with their columns.
    Batch {
        #[command(flatten)]
        version: VersionArgs,
        /// Threads; 0 = all cores.
        #[arg(long, default_value_t = 0, env = "AISLE_THREADS")]
        threads: usize,
        #[command(flatten)]
        options: batch::BatchArgs,
    },
}

#[derive(Args, Debug)]
struct FitArgs {
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
    /// Measure on a held-out part first and record the metrics in the manifest: time:0.9,
    /// time:DATE, last-order, validation.
    #[arg(long, value_name = "SPLIT")]
    measure: Option<String>,
}

#[derive(Args, Debug)]
struct TuneArgs {
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
    /// How the validation part is cut off: validation (the last tenth by time, or a part of some
    /// shoppers' items), last-order, time:0.9. It should resemble what the model will be asked.
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
}

#[derive(Args, Debug)]
struct GenerateArgs {
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
}

/// Does what the command line says.
///
/// # Errors
/// One message that says what was found, what was expected, and what to do.
pub fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Inspect {
            log,
            settings,
            json,
        } => {
            let data = log.read(&settings.read()?)?;
            let facts = Inspection::of(&data);
            match json {
                true => println!("{}", serde_json::to_string_pretty(&facts)?),
                false => print!("{}", inspect::render(&facts, &data)),
            }
        }
        Command::Fit(args) => run_fit(args)?,
        Command::Evaluate(args) => evaluate::run(args)?,
        Command::Tune(args) => run_tune(&args)?,
        Command::Generate(args) => run_generate(&args)?,
        Command::Versions(model) => {
            print!("{}", versions::list(&model.registry(), &model.model)?);
        }
        Command::Alias {
            model,
            alias,
            version,
        } => {
            let registry = model.registry();
            registry.set_alias(&model.model, &alias, &version)?;
            println!("{alias} → {version}");
        }
        Command::Rollback { model, alias } => {
            let aliases = model.registry().rollback(&model.model, &alias)?.aliases;
            let version = aliases.get(&alias).map(|alias| alias.version.as_str());
            println!("{alias} → {}", version.unwrap_or("nothing"));
        }
        Command::Verify { model, version } => {
            let registry = model.registry();
            let text = versions::verify(&registry, &model.model, version.as_deref())?;
            print!("{text}");
        }
        Command::Diff { model, a, b } => {
            let registry = model.registry();
            print!("{}", versions::diff(&registry, &model.model, &a, &b)?);
        }
        Command::Segments(version) => {
            let registry = version.model.registry();
            let manifest = registry.manifest(&version.model.model, &version.resolve()?)?;
            print!("{}", segments::render(&manifest));
        }
        Command::Batch {
            version,
            threads,
            options,
        } => run_batch(&version, threads, &options)?,
    }
    Ok(())
}

fn run_fit(args: FitArgs) -> Result<()> {
    let settings = args.run.apply(args.settings.read()?)?;
    let data = args.log.read(&settings)?;
    let target = Target {
        registry: args.model.registry(),
        model: args.model.model,
        alias: args.alias,
    };
    let version = fit::fit(&data, &settings, &target, args.measure.as_deref())?;
    println!("{version}");
    Ok(())
}

fn run_tune(args: &TuneArgs) -> Result<()> {
    let settings = args.run.apply(args.settings.read()?)?;
    let data = args.log.read(&settings)?;
    let search = tune::Search {
        trials: args.trials as usize,
        metric: &args.metric,
        split: &args.split,
        seed: args.seed,
        history: args.history.as_deref(),
    };
    let trials = tune::run(&data, &settings, &search)?;
    print!("{}", tune::render(&trials, &args.metric));
    if let (Some(path), Some(best)) = (&args.out, trials.first()) {
        write_file(path, &tune::config(&settings, best)?)?;
        eprintln!("the best settings are in {}", path.display());
    }
    Ok(())
}

fn run_generate(args: &GenerateArgs) -> Result<()> {
    let one_for = |events: u64| {
        let count = u32::try_from(args.events / events).unwrap_or(u32::MAX);
        count.max(1)
    };
    let generator = Generator {
        events: args.events,
        users: args.users.unwrap_or_else(|| one_for(50)),
        items: args.items.unwrap_or_else(|| one_for(100)),
        days: args.days,
        seed: args.seed,
    };
    generator.write(&args.out)?;
    println!("{}", args.out.display());
    Ok(())
}

fn run_batch(version: &VersionArgs, threads: usize, options: &batch::BatchArgs) -> Result<()> {
    use_threads(threads)?;
    let (registry, model) = (version.model.registry(), &version.model.model);
    let changes = registry.item_changes(model)?;
    let version = registry.verify_with(model, &version.resolve()?, &changes, &[])?;
    let rules = Arc::new(registry.rules(model)?);
    let live = LiveState::new(&version.models, &changes, &rules);
    batch::run(&version, live, options)?;
    Ok(())
}
