//! Everything that a fit learns: the embeddings of items and users, and the dense layers.

use crate::algorithms::random::stream_seed;
use crate::algorithms::two_tower::features::FeatureBags;
use crate::algorithms::two_tower::hyperparameters::TwoTower;
use crate::algorithms::two_tower::model::TwoTowerModel;
use crate::algorithms::two_tower::table::EmbeddingTable;
use crate::algorithms::two_tower::tower::{DenseLayout, Side, Tower};
use crate::algorithms::two_tower::training_pairs::TrainingPairs;
use crate::algorithms::vectors::Vectors;
use aisle_math::array::Array;
use aisle_math::kernels::{add_rows, simd};
use aisle_math::sparse::Csr;
use rayon::prelude::*;
use std::ops::Range;

/// The parameters of both towers.
pub(super) struct Parameters {
    /// Embeddings of items and of the values of their features.
    pub items: EmbeddingTable,
    /// Embeddings of users and of the values of their features.
    pub users: EmbeddingTable,
    /// See [`DenseLayout`].
    pub dense: EmbeddingTable,
}

impl Parameters {
    /// Draws the parameters that a fit starts from. P is the identity, and the outward layers are
    /// zero, so that towers start as bypasses.
    pub fn random(tower: &TwoTower, pairs: &TrainingPairs) -> Self {
        let depth = tower.factors;
        let root = (depth as f32).sqrt();
        let embeddings = |bags: &FeatureBags, interactions: &Csr, stream: u64| {
            let shape = (bags.table_rows, depth);
            let seed = stream_seed(tower.seed, stream);
            let mut table = EmbeddingTable::random(shape, 0.1 / root, seed);
            clear_untrained_rows(&mut table, bags, interactions);
            table
        };
        let items = embeddings(&pairs.item_bags, &pairs.interactions().by_item, 0);
        let users = embeddings(&pairs.user_bags, &pairs.interactions().by_user, 1);
        let layout = DenseLayout::of(tower);
        let seed = stream_seed(tower.seed, 2);
        let mut dense = EmbeddingTable::random((layout.rows(), depth), 1.0 / root, seed);
        for row in layout.history_projection() {
            dense.row_mut(row).fill(0.0);
            dense.row_mut(row)[row] = 1.0;
        }
        for row in layout.outward(Side::Item).chain(layout.outward(Side::User)) {
            dense.row_mut(row).fill(0.0);
        }
        Self {
            items,
            users,
            dense,
        }
    }

    /// Returns all tables, in the order of a checkpoint.
    pub fn tables(&self) -> [&EmbeddingTable; 3] {
        [&self.items, &self.users, &self.dense]
    }

    /// Returns all tables, in the order of a checkpoint, to change them.
    pub fn tables_mut(&mut self) -> [&mut EmbeddingTable; 3] {
        [&mut self.items, &mut self.users, &mut self.dense]
    }

    /// Returns the model that these parameters make.
    pub fn model(&self, tower: &TwoTower, pairs: &TrainingPairs) -> TwoTowerModel {
        let depth = tower.factors;
        let mut vectors = self.items.sums(&pairs.item_bags.bags);
        let history_vectors = match tower.history {
            0 => Vec::new(),
            _ => self.project_history(&vectors),
        };
        let item_tower = self.fitted_tower(tower, Side::Item);
        vectors.par_chunks_mut(depth).for_each(|vector| {
            // An item of which nothing is known stays without a vector.
            if vector.iter().any(|&value| value != 0.0) {
                item_tower.apply(vector);
            }
        });
        let user_sums = match pairs.user_bags.table_rows {
            0 => Array::default(),
            _ => self.users.sums(&pairs.user_bags.bags).into(),
        };
        TwoTowerModel {
            scaling: tower.scaling,
            lists_from: tower.lists_from,
            vectors: Vectors::new(vectors.into(), depth),
            history_vectors: history_vectors.into(),
            user_sums,
            user_tower: self.fitted_tower(tower, Side::User),
        }
    }

    /// Multiplies each row by P.
    fn project_history(&self, rows: &[f32]) -> Vec<f32> {
        let depth = self.dense.width;
        let mut projected = vec![0f32; rows.len()];
        let dimensions: Vec<u32> = (0..depth as u32).collect();
        let simd = simd();
        projected
            .par_chunks_mut(depth)
            .zip(rows.par_chunks(depth))
            .for_each(|(out, row)| {
                add_rows(simd, &self.dense.values, &dimensions, row, out);
            });
        projected
    }

    fn fitted_tower(&self, tower: &TwoTower, side: Side) -> Tower {
        let depth = tower.factors;
        let layer = |rows: Range<usize>| -> Array<f32> {
            self.dense.values[rows.start * depth..rows.end * depth]
                .to_vec()
                .into()
        };
        let layout = DenseLayout::of(tower);
        Tower {
            inward: layer(layout.inward(side)),
            outward: layer(layout.outward(side)),
            has_unit_vectors: tower.has_unit_vectors(),
        }
    }
}

/// Clears the rows that describe no item (or user) with an interaction: nothing will ever train
/// them, and random numbers must not count in a sum. `interactions` has one row for each item (or
/// user).
fn clear_untrained_rows(table: &mut EmbeddingTable, bags: &FeatureBags, interactions: &Csr) {
    let mut trained = vec![false; bags.table_rows];
    for bag in (0..interactions.rows()).filter(|&bag| !interactions.columns(bag).is_empty()) {
        for &row in bags.bags.columns(bag) {
            trained[row as usize] = true;
        }
    }
    for row in (0..bags.table_rows).filter(|&row| !trained[row]) {
        table.row_mut(row).fill(0.0);
    }
}
