//! Groups of shoppers that buy alike, found by k-means, and what a person would call them.
//!
//! Each shopper is a point: recency, frequency and money on log scales in standard deviations, and the direction of their vector in the personal
//! model. Of that direction the leading principal components count, which span where k-means finds its centres (Ding and He, "K-means
//! Clustering via Principal Component Analysis", ICML 2004). Lloyd's iterations are linfa's; the starts are drawn here, as in Arthur and
//! Vassilvitskii, "k-means++" (SODA 2007), because draws of [`SplitMix`] do not change with a library.

use crate::dense;
use crate::recommend::{History, Recommend, Training};
use crate::segments::Segments;
use crate::shoppers::Shoppers;
use crate::{ModelError, Result};
use aisle_data::{SplitMix, mix};
use linfa::DatasetBase;
use linfa::traits::{Fit as _, Predict as _};
use linfa_clustering::{KMeans, KMeansInit};
use ndarray::ArrayView2;
use rayon::prelude::*;

/// Principal components of the taste.
const COMPONENTS: usize = 6;
/// Their variance together, where each of recency, frequency and money has one.
const TASTE: f64 = 3.0;
/// Starts; the best of them counts.
const STARTS: u64 = 8;
/// Shoppers that centres are learned from, at most.
const EXAMPLES: usize = 50_000;
/// Iterations of one start.
const ITERATIONS: u64 = 200;

/// The members of each cluster, ascending; shoppers without an order are in none.
pub(crate) fn find(
    settings: &Segments,
    shoppers: &Shoppers,
    training: &Training,
    personal: &dyn Recommend,
) -> Result<Vec<Vec<u32>>> {
    let users: Vec<u32> = (0..shoppers.len() as u32).filter(|&user| shoppers.get(user).orders > 0).collect();
    if settings.learned == 0 || users.len() < settings.learned {
        return Ok(Vec::new());
    }
    let mut columns = worth(&users, shoppers);
    columns.extend(taste(&users, training, personal));
    let width = columns.len();
    if width == 0 {
        return Ok(Vec::new());
    }
    let points: Vec<f64> = (0..users.len() * width).into_par_iter().map(|at| columns[at % width][at / width]).collect();

    let keep = users.len().div_ceil(EXAMPLES).max(1) as u64;
    let drawn = |at: &usize| mix(settings.seed ^ u64::from(users[*at])).is_multiple_of(keep);
    let sample: Vec<f64> = (0..users.len()).filter(drawn).flat_map(|at| points[at * width..][..width].iter().copied()).collect();
    let examples = DatasetBase::from(matrix(&sample, width)?);
    let mut best: Option<KMeans<f64, _>> = None;
    for start in 0..STARTS {
        let mut random = SplitMix(mix(settings.seed).wrapping_add(mix(start)));
        let centres = spread(&sample, width, settings.learned, &mut random);
        let model = KMeans::params(settings.learned)
            .init_method(KMeansInit::Precomputed(matrix(&centres, width)?.to_owned()))
            .n_runs(1)
            .max_n_iterations(ITERATIONS)
            .fit(&examples)
            .map_err(|error| nothing(error.to_string()))?;
        if best.as_ref().is_none_or(|best| model.inertia() < best.inertia()) {
            best = Some(model);
        }
    }
    let mut clusters = vec![Vec::new(); settings.learned];
    if let Some(model) = best {
        let nearest = model.predict(&matrix(&points, width)?);
        users.iter().zip(&nearest).for_each(|(&user, &cluster)| clusters[cluster].push(user));
    }
    clusters.retain(|members| !members.is_empty());
    Ok(clusters)
}

fn nothing(why: String) -> ModelError {
    ModelError::NothingToLearn { model: "segments", why }
}

fn matrix(values: &[f64], width: usize) -> Result<ArrayView2<'_, f64>> {
    ArrayView2::from_shape((values.len() / width, width), values).map_err(|error| nothing(error.to_string()))
}

/// Recency, frequency and money, each where it is known, as logarithms in standard deviations.
fn worth(users: &[u32], shoppers: &Shoppers) -> Vec<Vec<f64>> {
    let facts: [&dyn Fn(u32) -> Option<f64>; 3] =
        [&|user| shoppers.days_since(user), &|user| Some(f64::from(shoppers.get(user).orders)), &|user| shoppers.get(user).spend];
    let column = |fact: &&dyn Fn(u32) -> Option<f64>| {
        let mut values = users.iter().map(|&user| Some(fact(user)?.ln_1p())).collect::<Option<Vec<f64>>>()?;
        let deviation = centre(&mut values).sqrt();
        (deviation > 1e-9).then(|| values.into_iter().map(|value| value / deviation).collect())
    };
    facts.iter().filter_map(column).collect()
}

/// Takes the mean away; the variance.
fn centre(values: &mut [f64]) -> f64 {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    values.iter_mut().for_each(|value| *value -= mean);
    values.iter().map(|value| value * value).sum::<f64>() / count
}

/// The leading principal components of the directions of shoppers' vectors; none in a model without vectors.
fn taste(users: &[u32], training: &Training, personal: &dyn Recommend) -> Vec<Vec<f64>> {
    if training.interactions.rows_are_orders {
        return Vec::new();
    }
    let direction = |&user: &u32| {
        let (items, values) = training.interactions.by_user.row(user as usize);
        let vector = personal.vector(History { items, values, user: Some(user) })?;
        let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        (length > 0.0 && length.is_finite()).then(|| vector.iter().map(|value| value / length).collect::<Vec<f32>>())
    };
    let directions: Vec<Option<Vec<f32>>> = users.par_iter().map(direction).collect();
    let Some(depth) = directions.iter().flatten().map(Vec::len).next() else { return Vec::new() };
    let mut means = vec![0f64; depth];
    for known in directions.iter().flatten() {
        means.iter_mut().zip(known).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    let count = directions.iter().flatten().count() as f64;
    // Who has no vector stands in the middle.
    let centred: Vec<f32> = directions
        .iter()
        .flat_map(|direction| {
            let value = |at: usize| direction.as_ref().map_or(0.0, |vector| vector[at] - (means[at] / count) as f32);
            (0..depth).map(value)
        })
        .collect();
    let Some((_, axes)) = dense::eigen(&dense::gram(&centred, depth), depth) else { return Vec::new() };
    let kept = COMPONENTS.min(depth);
    let leading: Vec<f32> = (0..depth * kept).map(|at| axes[at / kept * depth + at % kept]).collect();
    let projected = dense::multiply(&centred, &leading, depth);
    let mut columns: Vec<Vec<f64>> =
        (0..kept).map(|axis| projected.chunks(kept).map(|row| f64::from(row[axis])).collect()).collect();
    let variance: f64 = columns.iter_mut().map(|column| centre(column)).sum();
    if !(variance > 1e-12 && variance.is_finite()) {
        return Vec::new();
    }
    let scale = (TASTE / variance).sqrt();
    columns.iter_mut().flatten().for_each(|value| *value *= scale);
    columns
}

/// `count` of the points to start from: the first at random, each further with a probability that grows with the square of its distance from
/// those before it.
fn spread(points: &[f64], width: usize, count: usize, random: &mut SplitMix) -> Vec<f64> {
    let rows = points.len() / width;
    let point = |row: usize| &points[row * width..][..width];
    let mut uniform = || random.draw() as f64 / u64::MAX as f64;
    let mut chosen = vec![((uniform() * rows as f64) as usize).min(rows.saturating_sub(1))];
    let mut distances = vec![f64::INFINITY; rows];
    while chosen.len() < count {
        let last = point(chosen[chosen.len() - 1]);
        for (row, distance) in distances.iter_mut().enumerate() {
            let apart = point(row).iter().zip(last).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
            *distance = distance.min(apart);
        }
        let mut left = uniform() * distances.iter().sum::<f64>();
        let next = distances.iter().position(|&distance| {
            left -= distance;
            left < 0.0
        });
        chosen.push(next.unwrap_or(rows.saturating_sub(1)));
    }
    chosen.into_iter().flat_map(|row| point(row).iter().copied()).collect()
}
