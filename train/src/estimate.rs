//! What a fit will take, told before it starts: from counts of the data and the hyperparameters
//! alone.
//!
//! A fit has more parts than its personal model. Complements and order vectors are fitted to
//! orders; where a task learns how its evidence weighs, every model is fitted twice, and the
//! questions that teach the weights of cross-selling score the whole catalogue each. The constants
//! were measured on server cores of the 2020s; a whole estimate is meant to be right within a
//! factor of two.

use crate::settings::Settings;
use aisle_data::{Dataset, EventLog, NONE, day_number, days_to_millis};
use aisle_models::{Als, Complements, Hyperparameters, LocalRidge, Personal};

/// Multiply-adds a second that one core does in the dense kernels.
const MADS_PER_SECOND: f64 = 15e9;
/// Additions a second that one core does at scattered places of memory.
const ADDS_PER_SECOND: f64 = 2e8;
/// Seconds for each event that the tasks without a stage of their own take in one fit: popularity,
/// sessions, context, segments.
const SECONDS_PER_EVENT: f64 = 1.5e-6;
/// Most questions that teach the weights of cross-selling, by kind of shopper: known ones, known
/// ones asked for what is new to them, and strangers. Of the second kind more are drawn, since many
/// lines are not new.
const MAX_QUESTIONS: [f64; 3] = [10e3, 16e3, 8e3];
/// Seconds that a question takes before any item is scored.
const SECONDS_PER_QUESTION: f64 = 50e-6;
/// Seconds that a question takes for each item of the catalogue, without the score of the personal
/// model.
const SECONDS_PER_CANDIDATE: f64 = 35e-9;
/// Days of the log that weights are learned on, at most this share of it.
const MAX_LEARN_SHARE: f64 = 0.25;
/// Epochs that two-tower is taken to need where their number is to be found.
const TWO_TOWER_EPOCHS: f64 = 10.0;

/// What a fit will take.
pub struct Estimate {
    /// Bytes of the personal model and its matrix, beside the data.
    pub memory: u64,
    /// The parts of the fit, the longest first.
    pub stages: Vec<Stage>,
}

/// One part of a fit.
pub struct Stage {
    /// What is fitted or learned.
    pub name: &'static str,
    /// Expected seconds on all threads.
    pub seconds: f64,
}

/// Work that is counted before it is turned into seconds.
#[derive(Clone, Copy, Default)]
struct Work {
    /// Multiply-adds in dense kernels.
    dense: f64,
    /// Additions at scattered places.
    scattered: f64,
    /// Bytes of the model.
    memory: u64,
}

impl Work {
    /// Seconds on one core.
    fn seconds(self) -> f64 {
        self.dense / MADS_PER_SECOND + self.scattered / ADDS_PER_SECOND
    }
}

/// How many cells a matrix has in its rows and columns.
struct Shape {
    /// Cells of each row: a shopper or an order.
    rows: Vec<u32>,
    /// Cells of each item.
    items: Vec<u32>,
}

impl Shape {
    /// Counts the distinct (row, item) cells of a log. The events of a row should follow one
    /// another. O(events).
    fn of(log: &EventLog, rows: usize, row_of: impl Fn(usize) -> Option<usize>) -> Self {
        let mut shape = Self {
            rows: vec![0; rows],
            items: vec![0; log.items.len()],
        };
        let mut last_row = vec![usize::MAX; log.items.len()];
        for event in 0..log.len() {
            let item = log.item[event] as usize;
            let Some(row) = row_of(event).filter(|&row| row < rows) else {
                continue;
            };
            if last_row[item] != row {
                last_row[item] = row;
                shape.rows[row] += 1;
                shape.items[item] += 1;
            }
        }
        shape
    }

    /// The matrix of shoppers and items.
    fn of_shoppers(log: &EventLog) -> Self {
        Self::of(log, log.users.len(), |event| match log.user_of(event) {
            NONE => None,
            user => Some(user as usize),
        })
    }

    /// The matrix of orders and items, without orders of more lines than count. Without order
    /// numbers, a shopper's events of one day are an order.
    fn of_orders(log: &EventLog, max_lines: usize) -> Self {
        let mut numbers = Vec::with_capacity(log.len());
        let mut count = 0usize;
        let mut last = None;
        for event in 0..log.len() {
            let key = match log.order_of(event) {
                NONE => (NONE, log.user_of(event), day_number(log.time_of(event))),
                order => (order, 0, 0),
            };
            if last != Some(key) {
                count += 1;
                last = Some(key);
            }
            numbers.push(count - 1);
        }
        let all = Self::of(log, count, |event| Some(numbers[event]));
        let counts = |order: usize| (all.rows[order] as usize) <= max_lines;
        Self::of(log, count, |event| {
            Some(numbers[event]).filter(|&order| counts(order))
        })
    }

    fn cells(&self) -> f64 {
        self.rows.iter().map(|&cells| f64::from(cells)).sum()
    }
}

fn sum_of_squares(lengths: &[u32]) -> f64 {
    lengths.iter().map(|&n| f64::from(n).powi(2)).sum()
}

/// What fitting a personal algorithm to a matrix takes, once.
fn work(personal: &Personal, shape: &Shape) -> Work {
    let (users, items) = (shape.rows.len(), shape.items.len());
    let cells = shape.cells();
    let item_item = |neighbours: usize, bytes: usize| Work {
        dense: 0.0,
        scattered: sum_of_squares(&shape.rows),
        memory: (bytes * items * neighbours.min(items)) as u64,
    };
    match personal {
        Personal::Als(als) => als_work(als, shape),
        Personal::LowPass(low_pass) => {
            let (d, iterations) = (low_pass.factors as f64, low_pass.iterations as f64);
            let products = (2.0 * iterations + 1.0) * cells * d;
            Work {
                dense: iterations * (users + items) as f64 * d * d + 10.0 * d.powi(3),
                scattered: products / 8.0,
                memory: low_pass.memory(users, items),
            }
        }
        Personal::LinearFilter(filter) => item_item(filter.neighbours, 16),
        Personal::ItemKnn(knn) => item_item(knn.neighbours, 16),
        Personal::LocalRidge(ridge) => local_ridge_work(ridge, shape),
        Personal::Ease(ease) => Work {
            dense: (items as f64).powi(3) * 7.0 / 6.0,
            scattered: sum_of_squares(&shape.rows),
            memory: ease.memory(items),
        },
        Personal::TwoTower(tower) => {
            let epochs = match tower.epochs {
                0 => TWO_TOWER_EPOCHS,
                epochs => epochs as f64,
            };
            Work {
                dense: epochs * tower.work(cells as usize),
                scattered: 0.0,
                memory: tower.memory(users, items, cells as usize),
            }
        }
        Personal::Blend(blend) => {
            let members = blend.members.iter().map(|member| work(member, shape));
            members.fold(Work::default(), |sum, member| Work {
                dense: sum.dense + member.dense,
                scattered: sum.scattered + member.scattered,
                memory: sum.memory + member.memory,
            })
        }
        Personal::Popular(_) => Work {
            scattered: cells,
            ..Work::default()
        },
    }
}

fn als_work(als: &Als, shape: &Shape) -> Work {
    let (users, items) = (shape.rows.len(), shape.items.len());
    let lengths = shape.rows.iter().chain(&shape.items);
    let solves: f64 = lengths.map(|&n| als.work(n as usize)).sum();
    let products = 2.0 * (users + items) as f64 * (als.factors as f64).powi(2);
    Work {
        dense: als.iterations as f64 * (products + solves),
        scattered: 0.0,
        memory: als.memory(users, items, rayon::current_num_threads()),
    }
}

fn local_ridge_work(ridge: &LocalRidge, shape: &Shape) -> Work {
    let with_cells = shape.items.iter().filter(|&&cells| cells > 0).count();
    let neighbours = ridge.neighbours.min(with_cells) as f64;
    let mean_cells = sum_of_squares(&shape.items) / shape.cells().max(1.0);
    let gathered = 4.0 * with_cells as f64 * neighbours * mean_cells;
    Work {
        dense: with_cells as f64 * neighbours.powi(3) / 6.0,
        scattered: sum_of_squares(&shape.rows) + gathered,
        memory: 32 * (with_cells as f64 * neighbours) as u64,
    }
}

/// How often the hyperparameters of the personal model itself are searched by a fit: a blend's
/// weights, two-tower's epochs.
fn fits_before(personal: &Personal) -> f64 {
    match personal {
        Personal::Blend(blend) if blend.weights.is_empty() => 1.0,
        Personal::TwoTower(tower) if tower.epochs == 0 => 1.0,
        _ => 0.0,
    }
}

/// Seconds that the personal model takes to score one item for one shopper.
fn seconds_per_score(personal: &Personal) -> f64 {
    match personal {
        Personal::Popular(_) => 5e-9,
        Personal::Als(_) | Personal::LowPass(_) | Personal::TwoTower(_) => 10e-9,
        Personal::LinearFilter(_)
        | Personal::ItemKnn(_)
        | Personal::LocalRidge(_)
        | Personal::Ease(_) => 50e-9,
        Personal::Blend(blend) => blend.members.iter().map(seconds_per_score).sum(),
    }
}

/// How many questions teach the weights of cross-selling.
fn learning_questions(log: &EventLog, complements: &Complements) -> f64 {
    if complements.learn_days == 0.0 || log.is_empty() {
        return 0.0;
    }
    let lines = match log.span() {
        // Without times, each shopper's last order teaches.
        None => log.len() as f64 * MAX_LEARN_SHARE,
        Some((first, last)) => {
            let days = days_to_millis(f64::from(complements.learn_days));
            let begin = last - days.min(((last - first) as f64 * MAX_LEARN_SHARE) as i64);
            log.time.iter().filter(|&&time| time > begin).count() as f64
        }
    };
    // About half of the lines are alone in their category.
    MAX_QUESTIONS
        .iter()
        .map(|&most| most.min(lines / 2.0))
        .sum()
}

impl Estimate {
    /// Estimates the whole fit of `settings` to `data` on the threads of this process. O(events).
    pub fn of(settings: &Settings, data: &Dataset) -> Self {
        let Hyperparameters {
            personal,
            cross_sell,
            upsell,
            buy_again,
            ..
        } = settings.hyperparameters();
        let log = &data.log;
        let shoppers = Shape::of_shoppers(log);
        let orders = Shape::of_orders(log, cross_sell.max_order_items);
        let learns = [
            cross_sell.learn_days,
            upsell.learn_days,
            buy_again.learn_days,
        ];
        let fits = match learns.iter().any(|&days| days > 0.0) {
            true => 2.0,
            false => 1.0,
        };
        let of_personal = work(&personal, &shoppers);
        let personal_fits = fits + fits_before(&personal);
        let ridge = Personal::LocalRidge(LocalRidge::default());
        let pairs = 2.0 * sum_of_squares(&orders.rows) / ADDS_PER_SECOND;
        let vectors = Als {
            factors: cross_sell.factors,
            ..Als::default()
        };
        let min_users = settings.clean.min_users_per_item.max(1);
        let candidates = shoppers.items.iter().chain(&orders.items);
        let candidates = candidates.filter(|&&cells| cells >= min_users).count() / 2;
        let per_candidate = SECONDS_PER_CANDIDATE + seconds_per_score(&personal);
        let per_question = SECONDS_PER_QUESTION + candidates as f64 * per_candidate;
        let threads = rayon::current_num_threads() as f64;
        let stage = |name: &'static str, core_seconds: f64| Stage {
            name,
            seconds: core_seconds / threads,
        };
        let mut stages = vec![
            stage("the personal model", personal_fits * of_personal.seconds()),
            stage(
                "complements",
                fits * (pairs + work(&ridge, &orders).seconds()),
            ),
            stage(
                "order vectors",
                fits * als_work(&vectors, &orders).seconds(),
            ),
            stage(
                "learning the weights of cross-selling",
                learning_questions(log, &cross_sell) * per_question,
            ),
            stage(
                "the other tasks",
                fits * log.len() as f64 * SECONDS_PER_EVENT,
            ),
        ];
        stages.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        // Both directions of the matrix, and the triples that they are made from.
        let matrix = 28 * log.len() as u64;
        Self {
            memory: matrix + of_personal.memory,
            stages,
        }
    }

    /// Expected seconds of the whole fit.
    pub fn seconds(&self) -> f64 {
        self.stages.iter().map(|stage| stage.seconds).sum()
    }

    /// The expected time as a range, and which part takes most of it: `about 2 to 4 minutes, most
    /// of it (60 %) for complements`.
    pub fn render(&self) -> String {
        let total = self.seconds();
        let time = range(total);
        match self.stages.first() {
            Some(longest) if total > 0.0 => format!(
                "{time}, {:.0} % of it for {}",
                100.0 * longest.seconds / total,
                longest.name
            ),
            _ => time,
        }
    }
}

/// Seconds as an honest range, from 0.7 to 1.4 times, in the largest unit that fits.
fn range(seconds: f64) -> String {
    if seconds < 1.0 {
        return "about a second".into();
    }
    let (low, high) = (0.7 * seconds, 1.4 * seconds);
    let (unit, name) = match high {
        high if high < 90.0 => (1.0, "seconds"),
        high if high < 5400.0 => (60.0, "minutes"),
        _ => (3600.0, "hours"),
    };
    let (from, until) = ((low / unit).round().max(1.0), (high / unit).ceil());
    format!("about {from} to {until} {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_told_in_the_unit_that_people_would_use() {
        assert_eq!(range(0.3), "about a second");
        assert_eq!(range(20.0), "about 14 to 28 seconds");
        assert_eq!(range(180.0), "about 2 to 5 minutes");
        assert_eq!(range(7200.0), "about 1 to 3 hours");
    }

    #[test]
    fn the_longest_part_is_named() {
        let stage = |name, seconds| Stage { name, seconds };
        let estimate = Estimate {
            memory: 0,
            stages: vec![stage("complements", 15.0), stage("the other tasks", 5.0)],
        };
        assert_eq!(
            estimate.render(),
            "about 14 to 28 seconds, 75 % of it for complements"
        );
    }
}
