//! The fitted model of two towers.

use crate::algorithms::recommend::{History, largest_contribution};
use crate::algorithms::scaling::Scaling;
use crate::algorithms::two_tower::hyperparameters::TwoTower;
use crate::algorithms::two_tower::tower::Tower;
use crate::algorithms::vectors::{VectorModel, Vectors, load_lists};
use crate::error::Result;
use crate::weights::{Tensor, Weights};
use aisle_math::array::Array;
use aisle_math::kernels::{add_rows, dot, simd};

/// A vector for each item, and what makes the vector of a shopper.
pub struct TwoTowerModel {
    pub(super) scaling: Scaling,
    /// See [`TwoTower::lists_from`].
    pub(super) lists_from: usize,
    /// Vectors of the items: outputs of the item tower.
    pub(super) vectors: Vectors,
    /// What each item contributes to the mean of a history, `items × factors`; empty if histories
    /// do not count.
    pub(super) history_vectors: Array<f32>,
    /// Sum of the embeddings that describe each user, `users × factors`; empty if there are none.
    pub(super) user_sums: Array<f32>,
    /// The tower of the users.
    pub(super) user_tower: Tower,
}

impl TwoTowerModel {
    /// Takes the arrays of a version of `users` users (or orders) and `items` items.
    pub(crate) fn load(
        two_tower: &TwoTower,
        (users, items): (usize, usize),
        weights: &mut Weights,
    ) -> Result<Self> {
        two_tower.validate()?;
        let depth = two_tower.factors;
        let mut optional = |name: &str, rows: usize| -> Result<Array<f32>> {
            match weights.has(name) {
                true => Ok(weights.matrix(name, rows, Some(depth))?.0),
                false => Ok(Array::default()),
            }
        };
        let history_vectors = optional("two_tower.steps", items)?;
        let user_sums = optional("two_tower.users", users)?;
        let user_tower = Tower {
            inward: optional("two_tower.inward", two_tower.hidden)?,
            outward: optional("two_tower.outward", two_tower.hidden)?,
            has_unit_vectors: two_tower.has_unit_vectors(),
        };
        let (vectors, _) = weights.matrix("two_tower.item_vectors", items, Some(depth))?;
        let lists = load_lists(items, depth, weights)?;
        let vectors = Vectors::with_lists(vectors, depth, lists).fitted_to(weights.learned(items));
        if user_tower.inward.len() != two_tower.hidden * depth
            || user_tower.outward.len() != user_tower.inward.len()
        {
            return Err(weights.damaged(
                "two_tower.inward",
                format!("{} numbers", user_tower.inward.len()),
                (two_tower.hidden * depth).to_string(),
            ));
        }
        Ok(Self {
            scaling: two_tower.scaling,
            lists_from: two_tower.lists_from,
            vectors,
            history_vectors,
            user_sums,
            user_tower,
        })
    }

    /// Returns the vector of a history and of what is known of its user; `None` if nothing is.
    /// O(n · d).
    fn fold_in(&self, history: History) -> Option<Vec<f32>> {
        let depth = self.vectors.depth();
        let mut z = vec![0f32; depth];
        if !self.history_vectors.is_empty() && !history.items.is_empty() {
            let confidences: Vec<f32> = history
                .values
                .iter()
                .map(|&value| self.scaling.of(value))
                .collect();
            let sum: f32 = confidences.iter().sum();
            let weights: Vec<f32> = confidences.iter().map(|value| value / sum).collect();
            add_rows(
                simd(),
                &self.history_vectors,
                history.items,
                &weights,
                &mut z,
            );
        }
        if let Some(user) = history.user.filter(|_| !self.user_sums.is_empty()) {
            z.iter_mut()
                .zip(&self.user_sums[user as usize * depth..][..depth])
                .for_each(|(sum, value)| *sum += value);
        }
        if z.iter().all(|&value| value == 0.0) {
            return None;
        }
        self.user_tower.apply(&mut z);
        Some(z)
    }
}

impl VectorModel for TwoTowerModel {
    fn algorithm(&self) -> &'static str {
        "two-tower"
    }

    fn vectors(&self) -> &Vectors {
        &self.vectors
    }

    fn vectors_mut(&mut self) -> &mut Vectors {
        &mut self.vectors
    }

    fn lists_from(&self) -> Option<usize> {
        self.user_tower.has_unit_vectors.then_some(self.lists_from)
    }

    fn query(&self, history: History) -> Option<Vec<f32>> {
        self.fold_in(history)
    }

    /// Compares what the items of the history contribute to the mean, before the hidden layer.
    fn explain(&self, history: History, items: &[u32]) -> Vec<Option<u32>> {
        if self.history_vectors.is_empty() {
            return vec![None; items.len()];
        }
        let depth = self.vectors.depth();
        let explain = |&item: &u32| {
            let target = self.vectors.item(item);
            let contribution = |(&source, &value): (&u32, &f32)| {
                let vector = &self.history_vectors[source as usize * depth..][..depth];
                (source, self.scaling.of(value) * dot(vector, target))
            };
            let sources = history.items.iter().zip(history.values);
            largest_contribution(sources.map(contribution), item)
        };
        items.iter().map(explain).collect()
    }

    /// Features give a vector to items without events in the fit itself.
    fn knows_cold_item(&self, item: u32) -> bool {
        self.vectors.item(item).iter().any(|&value| value != 0.0)
    }

    fn tensors(&self) -> Vec<Tensor<'_>> {
        let depth = self.vectors.depth();
        let mut tensors = vec![Tensor::f32(
            "two_tower.item_vectors",
            &[self.vectors.len(), depth],
            self.vectors.values(),
        )];
        let optional = [
            ("two_tower.steps", &self.history_vectors),
            ("two_tower.users", &self.user_sums),
            ("two_tower.inward", &self.user_tower.inward),
            ("two_tower.outward", &self.user_tower.outward),
        ];
        for (name, values) in optional
            .into_iter()
            .filter(|(_, values)| !values.is_empty())
        {
            tensors.push(Tensor::f32(name, &[values.len() / depth, depth], values));
        }
        tensors
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithms::random::normal_matrix;
    use crate::algorithms::recommend::Recommend;
    use crate::weights;
    use aisle_retrieval::bitmap::Bitmap;
    use aisle_retrieval::index::{Eligible, SearchBuffer};

    const ITEMS: usize = 5000;
    const USERS: usize = 300;
    const CLUSTERS: usize = 40;

    fn hyperparameters() -> TwoTower {
        TwoTower {
            factors: 8,
            ..TwoTower::default()
        }
    }

    /// Vectors of length 1 around the centres of clusters.
    fn clustered(rows: usize, seed: u64) -> Vec<f32> {
        let depth = hyperparameters().factors;
        let centres = normal_matrix((CLUSTERS, depth), 1.0, 1);
        let mut values = normal_matrix((rows, depth), 0.2, seed);
        for (row, vector) in values.chunks_mut(depth).enumerate() {
            vector
                .iter_mut()
                .zip(&centres[row % CLUSTERS * depth..])
                .for_each(|(value, centre)| *value += centre);
            let length = dot(vector, vector).sqrt();
            vector.iter_mut().for_each(|value| *value /= length);
        }
        values
    }

    /// A model whose items are divided into lists, and the same model read from a file.
    fn models_with_lists() -> [TwoTowerModel; 2] {
        let settings = hyperparameters();
        let depth = settings.factors;
        let mut model = TwoTowerModel {
            scaling: settings.scaling,
            lists_from: settings.lists_from,
            vectors: Vectors::new(clustered(ITEMS, 2).into(), depth),
            history_vectors: Array::default(),
            user_sums: clustered(USERS, 3).into(),
            user_tower: Tower {
                has_unit_vectors: settings.has_unit_vectors(),
                ..Tower::default()
            },
        };
        assert!(model.user_tower.has_unit_vectors);
        let queries: Vec<Vec<f32>> = model.user_sums.chunks(depth).map(<[f32]>::to_vec).collect();
        let measured = model.vectors.build_inverted_lists(&queries).unwrap();
        assert!(
            measured.is_worthwhile() && measured.probes < measured.lists / 4,
            "{measured:?}"
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        weights::write(&path, Recommend::tensors(&model)).unwrap();
        let mut written = Weights::open(&path).unwrap();
        let read = TwoTowerModel::load(&settings, (USERS, ITEMS), &mut written).unwrap();
        written.finish().unwrap();
        [model, read]
    }

    #[test]
    fn a_model_with_lists_recommends_the_same_after_it_was_stored() {
        let [model, read] = models_with_lists();
        let all = Bitmap::filled(ITEMS, true);
        let (mut before, mut after) = (SearchBuffer::default(), SearchBuffer::default());
        for user in 0..USERS as u32 {
            let history = History {
                user: Some(user),
                ..History::default()
            };
            model.recommend(history, 20, Eligible::new(&all), &mut before);
            read.recommend(history, 20, Eligible::new(&all), &mut after);
            assert!(
                before.items.len() == 20 && before.items == after.items,
                "user {user}"
            );
        }
    }

    #[test]
    fn a_model_with_lists_finds_the_same_similar_items_after_it_was_stored() {
        let [model, read] = models_with_lists();
        let all = Bitmap::filled(ITEMS, true);
        let (mut before, mut after) = (SearchBuffer::default(), SearchBuffer::default());
        for item in [3, 7, 11] {
            model.similar_items(item, 20, Eligible::new(&all), &mut before);
            read.similar_items(item, 20, Eligible::new(&all), &mut after);
            assert!(
                before.items.len() == 20 && before.items == after.items,
                "item {item}"
            );
        }
    }
}
