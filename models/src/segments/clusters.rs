//! Clusters of shoppers that buy alike, by k-means.
//!
//! Each shopper is a point: recency, frequency and spend on log scales in standard deviations, and
//! the direction of their vector in the personal model. Of that direction the leading principal
//! components are used, which span the subspace where k-means finds its centres (Ding and He,
//! "K-means Clustering via Principal Component Analysis", ICML 2004). Lloyd's iterations are
//! linfa's; the starting centres are drawn here, as in Arthur and Vassilvitskii, "k-means++: The
//! Advantages of Careful Seeding" (SODA 2007), because draws of [`SplitMix`] do not change with the
//! version of a library.

use crate::algorithms::recommend::{History, Recommend, Training};
use crate::error::{ModelError, Result};
use crate::segments::profiles::ShopperProfiles;
use aisle_math::dense;
use aisle_math::random::{SplitMix, mix};
use linfa::DatasetBase;
use linfa::traits::{Fit as _, Predict as _};
use linfa_clustering::{KMeans, KMeansInit};
use ndarray::ArrayView2;
use rayon::prelude::*;

/// Principal components of the shoppers' vectors that are used.
const COMPONENTS: usize = 6;
/// The variance of these components together; each of recency, frequency and spend has a variance
/// of 1.
const VECTOR_VARIANCE: f64 = 3.0;
/// Starts of k-means; the one with the lowest inertia is kept.
const STARTS: u64 = 8;
/// Shoppers that centres are learned from, about; of more, a sample is drawn.
const MAX_EXAMPLES: usize = 50_000;
/// Most iterations of one start.
const MAX_ITERATIONS: u64 = 200;

/// Settings of the clustering.
pub(super) struct ClusterSettings {
    /// How many clusters are looked for.
    pub clusters: usize,
    /// The seed of the sample and of the starts.
    pub seed: u64,
}

/// The members of each cluster that is not empty, ascending. Shoppers without an order are in none,
/// and there are no clusters if fewer shoppers have an order than clusters are looked for.
pub(super) fn find_clusters(
    settings: &ClusterSettings,
    shoppers: &ShopperProfiles,
    training: &Training,
    personal: &dyn Recommend,
) -> Result<Vec<Vec<u32>>> {
    let users: Vec<u32> = (0..shoppers.len() as u32)
        .filter(|&user| shoppers.get(user).orders > 0)
        .collect();
    if settings.clusters == 0 || users.len() < settings.clusters {
        return Ok(Vec::new());
    }
    let mut columns = recency_frequency_spend(&users, shoppers);
    columns.extend(vector_components(&users, training, personal));
    let width = columns.len();
    if width == 0 {
        return Ok(Vec::new());
    }
    let points: Vec<f64> = (0..users.len() * width)
        .into_par_iter()
        .map(|at| columns[at % width][at / width])
        .collect();
    let keep_one_in = users.len().div_ceil(MAX_EXAMPLES).max(1) as u64;
    let is_drawn =
        |at: &usize| mix(settings.seed ^ u64::from(users[*at])).is_multiple_of(keep_one_in);
    let sample: Vec<f64> = (0..users.len())
        .filter(is_drawn)
        .flat_map(|at| points[at * width..][..width].iter().copied())
        .collect();
    let examples = DatasetBase::from(matrix(&sample, width)?);
    let mut best: Option<KMeans<f64, _>> = None;
    for start in 0..STARTS {
        let mut random = SplitMix(mix(settings.seed).wrapping_add(mix(start)));
        let centres = starting_centres(&sample, width, settings.clusters, &mut random);
        let model = KMeans::params(settings.clusters)
            .init_method(KMeansInit::Precomputed(matrix(&centres, width)?.to_owned()))
            .n_runs(1)
            .max_n_iterations(MAX_ITERATIONS)
            .fit(&examples)
            .map_err(|error| cannot_cluster(error.to_string()))?;
        if best
            .as_ref()
            .is_none_or(|best| model.inertia() < best.inertia())
        {
            best = Some(model);
        }
    }
    let mut clusters = vec![Vec::new(); settings.clusters];
    if let Some(model) = best {
        let nearest = model.predict(&matrix(&points, width)?);
        for (&user, &cluster) in users.iter().zip(&nearest) {
            clusters[cluster].push(user);
        }
    }
    clusters.retain(|members| !members.is_empty());
    Ok(clusters)
}

fn cannot_cluster(why: String) -> ModelError {
    ModelError::NothingToLearn {
        model: "segments",
        why,
    }
}

/// Row-major values as a matrix of `width` columns.
fn matrix(values: &[f64], width: usize) -> Result<ArrayView2<'_, f64>> {
    ArrayView2::from_shape((values.len() / width, width), values)
        .map_err(|error| cannot_cluster(error.to_string()))
}

/// Recency, frequency and spend of each user as logarithms in standard deviations, one column each.
/// A column that is not known of every user, or is the same for all, is left out.
fn recency_frequency_spend(users: &[u32], shoppers: &ShopperProfiles) -> Vec<Vec<f64>> {
    let facts: [&dyn Fn(u32) -> Option<f64>; 3] = [
        &|user| shoppers.days_since(user),
        &|user| Some(f64::from(shoppers.get(user).orders)),
        &|user| shoppers.get(user).spend,
    ];
    let column = |fact: &&dyn Fn(u32) -> Option<f64>| {
        let mut values = users
            .iter()
            .map(|&user| Some(fact(user)?.ln_1p()))
            .collect::<Option<Vec<f64>>>()?;
        let deviation = subtract_mean(&mut values).sqrt();
        (deviation > 1e-9).then(|| values.into_iter().map(|value| value / deviation).collect())
    };
    facts.iter().filter_map(column).collect()
}

/// Subtracts the mean from the values and returns their variance.
fn subtract_mean(values: &mut [f64]) -> f64 {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    values.iter_mut().for_each(|value| *value -= mean);
    values.iter().map(|value| value * value).sum::<f64>() / count
}

/// The direction of a user's vector in the personal model; `None` if the model has no vector for
/// them.
fn direction(user: u32, training: &Training, personal: &dyn Recommend) -> Option<Vec<f32>> {
    let (items, values) = training.interactions.by_user.row(user as usize);
    let vector = personal.vector(History {
        items,
        values,
        user: Some(user),
    })?;
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    (length > 0.0 && length.is_finite())
        .then(|| vector.iter().map(|value| value / length).collect())
}

/// The leading principal components of the directions of users' vectors, one column each; none for
/// a model without vectors.
fn vector_components(
    users: &[u32],
    training: &Training,
    personal: &dyn Recommend,
) -> Vec<Vec<f64>> {
    if training.interactions.rows_are_orders {
        return Vec::new();
    }
    let directions: Vec<Option<Vec<f32>>> = users
        .par_iter()
        .map(|&user| direction(user, training, personal))
        .collect();
    let Some(depth) = directions.iter().flatten().map(Vec::len).next() else {
        return Vec::new();
    };
    let centred = centred_directions(&directions, depth);
    let Some((_, axes)) = dense::eigen(&dense::gram(&centred, depth), depth) else {
        return Vec::new();
    };
    let kept = COMPONENTS.min(depth);
    let leading_axes: Vec<f32> = (0..depth * kept)
        .map(|at| axes[at / kept * depth + at % kept])
        .collect();
    let projected = dense::multiply(&centred, &leading_axes, depth);
    let mut columns: Vec<Vec<f64>> = (0..kept)
        .map(|axis| {
            let rows = projected.chunks(kept);
            rows.map(|row| f64::from(row[axis])).collect()
        })
        .collect();
    let variance: f64 = columns.iter_mut().map(|column| subtract_mean(column)).sum();
    if !(variance > 1e-12 && variance.is_finite()) {
        return Vec::new();
    }
    let scale = (VECTOR_VARIANCE / variance).sqrt();
    for value in columns.iter_mut().flatten() {
        *value *= scale;
    }
    columns
}

/// Directions less their mean, row-major; a user without a direction gets that of the mean, zero.
fn centred_directions(directions: &[Option<Vec<f32>>], depth: usize) -> Vec<f32> {
    let mut sums = vec![0f64; depth];
    let mut count = 0usize;
    for direction in directions.iter().flatten() {
        for (sum, &value) in sums.iter_mut().zip(direction) {
            *sum += f64::from(value);
        }
        count += 1;
    }
    let means: Vec<f32> = sums.iter().map(|sum| (sum / count as f64) as f32).collect();
    let centred = |direction: &Option<Vec<f32>>| -> Vec<f32> {
        match direction {
            Some(direction) => (direction.iter().zip(&means))
                .map(|(value, mean)| value - mean)
                .collect(),
            None => vec![0.0; depth],
        }
    };
    directions.iter().flat_map(centred).collect()
}

/// Draws `count` of the points as starting centres: the first at random, each further one with a
/// probability that is proportional to the square of its distance from the nearest centre before
/// it.
fn starting_centres(points: &[f64], width: usize, count: usize, random: &mut SplitMix) -> Vec<f64> {
    let rows = points.len() / width;
    let point = |row: usize| &points[row * width..][..width];
    let mut uniform = || random.draw() as f64 / u64::MAX as f64;
    let mut chosen = vec![((uniform() * rows as f64) as usize).min(rows.saturating_sub(1))];
    let mut squared_distances = vec![f64::INFINITY; rows];
    while chosen.len() < count {
        let last = point(chosen[chosen.len() - 1]);
        for (row, nearest) in squared_distances.iter_mut().enumerate() {
            let squared_distance = point(row)
                .iter()
                .zip(last)
                .map(|(a, b)| (a - b).powi(2))
                .sum::<f64>();
            *nearest = nearest.min(squared_distance);
        }
        let mut remaining = uniform() * squared_distances.iter().sum::<f64>();
        let next = squared_distances.iter().position(|&squared_distance| {
            remaining -= squared_distance;
            remaining < 0.0
        });
        chosen.push(next.unwrap_or(rows.saturating_sub(1)));
    }
    chosen
        .into_iter()
        .flat_map(|row| point(row).iter().copied())
        .collect()
}
