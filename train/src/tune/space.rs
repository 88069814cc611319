//! Which hyperparameters are searched, and in which ranges. A position from 0 to 1 stands for each
//! value, so that all ranges are alike.

use crate::settings::Algorithm;
use anyhow::{Result, bail};

/// One hyperparameter that is searched.
pub(super) struct SearchedParameter {
    /// Its key in the algorithm's section.
    pub(super) key: &'static str,
    scale: Scale,
}

/// How the values of a hyperparameter lie between positions 0 and 1.
enum Scale {
    /// Evenly in the logarithm, from the first to the second.
    Logarithmic(f64, f64),
    /// Evenly in the logarithm, rounded to whole numbers.
    WholeLogarithmic(f64, f64),
    /// Evenly.
    Linear(f64, f64),
    /// One of some words, each with an equal share.
    Choice(&'static [&'static str]),
}

impl SearchedParameter {
    fn logarithmic(key: &'static str, low: f64, high: f64) -> Self {
        let scale = Scale::Logarithmic(low, high);
        Self { key, scale }
    }

    fn whole(key: &'static str, low: f64, high: f64) -> Self {
        let scale = Scale::WholeLogarithmic(low, high);
        Self { key, scale }
    }

    fn linear(key: &'static str, low: f64, high: f64) -> Self {
        let scale = Scale::Linear(low, high);
        Self { key, scale }
    }

    fn choice(key: &'static str, words: &'static [&'static str]) -> Self {
        let scale = Scale::Choice(words);
        Self { key, scale }
    }

    /// The value at a position, as it is written in a config. It has three digits: a search knows
    /// no more, and a reader wants no more.
    pub(super) fn value_at(&self, position: f64) -> String {
        let logarithmic =
            |low: f64, high: f64| (low.ln() * (1.0 - position) + high.ln() * position).exp();
        match self.scale {
            Scale::Logarithmic(low, high) => three_digits(logarithmic(low, high)),
            Scale::WholeLogarithmic(low, high) => {
                (logarithmic(low, high).round() as u64).to_string()
            }
            Scale::Linear(low, high) => three_digits(low * (1.0 - position) + high * position),
            Scale::Choice(words) => {
                let at = (position * words.len() as f64) as usize;
                format!("\"{}\"", words[at.min(words.len() - 1)])
            }
        }
    }

    /// The position of a value; `None` for one that cannot be drawn from here.
    pub(super) fn position_of(&self, value: &str) -> Option<f64> {
        let number = || value.parse::<f64>().ok();
        let position = match self.scale {
            Scale::Logarithmic(low, high) | Scale::WholeLogarithmic(low, high) => {
                (number()?.ln() - low.ln()) / (high.ln() - low.ln())
            }
            Scale::Linear(low, high) => (number()? - low) / (high - low),
            Scale::Choice(words) => {
                let word = value.trim_matches('"');
                let at = words.iter().position(|known| *known == word)?;
                (at as f64 + 0.5) / words.len() as f64
            }
        };
        position.is_finite().then(|| position.clamp(0.0, 1.0))
    }
}

fn three_digits(value: f64) -> String {
    let rounded = format!("{value:.2e}").parse::<f64>();
    rounded.unwrap_or(value).to_string()
}

/// What is worth searching of an algorithm.
///
/// # Errors
/// For a blend, whose members are searched one by one.
pub(super) fn searched_parameters(algorithm: Algorithm) -> Result<Vec<SearchedParameter>> {
    type Parameter = SearchedParameter;
    Ok(match algorithm {
        Algorithm::Als => vec![
            Parameter::logarithmic("regularization", 3e-4, 0.1),
            Parameter::logarithmic("alpha", 1e-3, 0.3),
            Parameter::whole("iterations", 4.0, 20.0),
            Parameter::whole("factors", 32.0, 256.0),
        ],
        Algorithm::LowPass => vec![
            Parameter::whole("factors", 32.0, 1024.0),
            Parameter::linear("popularity", 0.2, 0.8),
        ],
        Algorithm::LinearFilter => vec![
            Parameter::whole("neighbours", 50.0, 2000.0),
            Parameter::linear("popularity", 0.0, 0.8),
        ],
        Algorithm::LocalRidge => vec![
            Parameter::whole("neighbours", 30.0, 400.0),
            Parameter::logarithmic("l2", 1.0, 500.0),
            Parameter::linear("length", 0.0, 1.0),
        ],
        Algorithm::Ease => vec![
            Parameter::logarithmic("l2", 5.0, 2000.0),
            Parameter::linear("length", 0.0, 1.0),
        ],
        Algorithm::ItemKnn => vec![
            Parameter::choice("measure", &["cosine", "tf-idf", "bm25", "jaccard", "llr"]),
            Parameter::whole("neighbours", 20.0, 1000.0),
            Parameter::logarithmic("shrink", 0.1, 100.0),
        ],
        Algorithm::TwoTower => vec![
            Parameter::logarithmic("learning_rate", 0.01, 0.3),
            Parameter::logarithmic("temperature", 0.03, 0.5),
            Parameter::linear("popularity", 0.0, 1.0),
            Parameter::whole("history", 10.0, 200.0),
            Parameter::whole("negatives", 64.0, 4096.0),
        ],
        Algorithm::Popular => vec![Parameter::logarithmic("half_life_days", 2.0, 720.0)],
        Algorithm::Blend => bail!(
            "blend learns its weights by itself: tune its members one by one and put what is found \
             into their sections"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lies_where_it_was_drawn() {
        let ridge = searched_parameters(Algorithm::LocalRidge).unwrap();
        let knn = searched_parameters(Algorithm::ItemKnn).unwrap();
        for parameter in ridge.iter().chain(&knn) {
            for position in [0.0, 0.3, 0.5, 1.0] {
                let value = parameter.value_at(position);
                let again = parameter.position_of(&value).unwrap();
                let is_exact = !matches!(parameter.scale, Scale::Choice(_));
                assert!(
                    (again - position).abs() < 0.02 || !is_exact,
                    "{}: {position} {again}",
                    parameter.key
                );
                assert_eq!(parameter.value_at(again), value, "{}", parameter.key);
            }
        }
    }
}
