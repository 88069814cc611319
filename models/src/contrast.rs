//! Contrastive training of two towers: batches, their loss and its slopes, steps, checkpoints. See `two_tower.rs` for what is minimised.

use crate::embeddings::{Attribute, Bags, Table, pick};
use crate::kernels::{add_rows, simd};
use crate::recommend::{Training, Watch};
use crate::two_tower::{Loss, Tower, TwoTower, TwoTowerModel};
use crate::vectors::Vectors;
use crate::weights::{self, Array, Tensor, Weights};
use crate::{ModelError, Result};
use aisle_data::{Csr, Interactions, SplitMix, mix};
use candle_core::{D, Tensor as Matrix, Var};
use rayon::prelude::*;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Scores that one thread differentiates at a time: what fits its cache, and below the size from which candle splits an operation among
/// threads of its own, which would get in each other's way. Fixed, so that sums do not depend on threads.
const SHARD: usize = (1 << 16) - 1;
/// Added to the logit of what must not count as a negative.
const NEVER: f32 = -1e4;
/// Largest relative difference between a GPU's and the CPU's loss of the first batch.
const PARITY: f64 = 1e-3;

/// What is learned, and what it is learned from.
pub(crate) struct Trainer<'a> {
    tower: &'a TwoTower,
    data: &'a Interactions,
    /// Confidences of `data.by_user`.
    confidence: Vec<f32>,
    /// The user row of each entry.
    owner: Vec<u32>,
    /// Items with users.
    sold: Vec<u32>,
    item_bags: Bags,
    user_bags: Bags,
    items: Table,
    users: Table,
    /// P by rows, then inward and outward layers of the item tower, then of the user tower.
    dense: Table,
    device: candle_core::Device,
    checkpoint: Option<PathBuf>,
    /// Whether the device was compared with the CPU.
    compared: bool,
    /// Passes made.
    pub epoch: usize,
    /// NDCG and epoch of the best pass of a search.
    pub best: (f64, usize),
}

/// One batch, as rows of the tables.
struct Batch {
    /// Items in question: those of the pairs and those drawn, ascending.
    candidates: Vec<u32>,
    /// Expected count of each candidate in a batch.
    expected: Vec<f32>,
    item_bags: Csr,
    user_bags: Csr,
    history_bags: Csr,
}

/// The leaves of a step's computation.
struct Leaves {
    items: Var,
    users: Var,
    histories: Var,
    dense: Var,
}

/// Some pairs of a batch.
struct Asked<'a> {
    /// Entries of `by_user`.
    pairs: &'a [u32],
    /// The candidate that each is about.
    targets: &'a [u32],
    /// Share of each in the loss of the batch.
    weights: &'a [f32],
}

/// Their loss and its derivatives.
struct Contrast {
    loss: f64,
    /// By the score of each candidate; that of the chosen item as one of the candidates included, where the loss counts it twice.
    by_score: Matrix,
    /// By the score of the chosen item as the chosen one.
    by_chosen: Matrix,
}

/// What one step finds: the loss, and the slopes of each leaf.
struct Slopes {
    loss: f64,
    items: Vec<f32>,
    users: Vec<f32>,
    histories: Vec<f32>,
    dense: Vec<f32>,
}

impl<'a> Trainer<'a> {
    /// `purpose` tells checkpoints of different undertakings with the same data apart.
    pub fn new(tower: &'a TwoTower, training: &Training<'a>, watch: &dyn Watch, purpose: &str) -> Result<Self> {
        let data = training.interactions;
        if data.nnz() == 0 {
            return Err(ModelError::NothingToLearn { model: "two-tower", why: "no user has a positive interaction".into() });
        }
        let catalog = training.catalog;
        let mut known = Vec::new();
        let labels = [("category", &catalog.category), ("brand", &catalog.brand)];
        for (name, labels) in labels.into_iter().filter(|(_, labels)| !labels.is_blank()) {
            known.push((name, Attribute::Path(labels)));
        }
        if catalog.price.iter().any(|price| price.is_finite()) {
            known.push(("price", Attribute::Amount(&catalog.price)));
        }
        known.extend(catalog.attributes.iter().map(|(name, labels)| (name.as_str(), Attribute::Text(labels))));
        let item_bags = Bags::new(data.items(), true, &pick("item_features", &tower.item_features, known)?);
        // Orders are asked about once: nothing is known of the next one beside its items.
        let user_bags = match data.rows_are_orders {
            true if tower.history == 0 => {
                let why = "no event names a user, and history is 0".into();
                return Err(ModelError::NothingToLearn { model: "two-tower", why });
            }
            true => Bags::new(data.users(), false, &[]),
            false => {
                let known = training.users.iter().map(|(name, labels)| (name.as_str(), Attribute::Text(labels))).collect();
                Bags::new(data.users(), tower.users, &pick("user_features", &tower.user_features, known)?)
            }
        };

        let (depth, hidden) = (tower.factors, tower.hidden);
        let deviation = 0.1 / (depth as f32).sqrt();
        let mut items = Table::random((item_bags.rows, depth), deviation, mix(tower.seed));
        silence(&mut items, &item_bags, &data.by_item);
        let mut users = Table::random((user_bags.rows, depth), deviation, mix(tower.seed ^ 1));
        silence(&mut users, &user_bags, &data.by_user);
        let mut dense = Table::random((depth + 4 * hidden, depth), 1.0 / (depth as f32).sqrt(), mix(tower.seed ^ 2));
        for row in 0..depth {
            dense.row_mut(row).fill(0.0);
            dense.row_mut(row)[row] = 1.0;
        }
        for row in (depth + hidden..depth + 2 * hidden).chain(depth + 3 * hidden..depth + 4 * hidden) {
            dense.row_mut(row).fill(0.0);
        }
        let owner = (0..data.users()).flat_map(|user| std::iter::repeat_n(user as u32, data.by_user.columns(user).len())).collect();
        let mut trainer = Self {
            tower,
            data,
            confidence: data.by_user.values.iter().map(|&value| tower.scaling.of(value)).collect(),
            owner,
            sold: (0..data.items() as u32).filter(|&item| !data.by_item.columns(item as usize).is_empty()).collect(),
            item_bags,
            user_bags,
            items,
            users,
            dense,
            device: watch.device().open()?,
            checkpoint: watch.checkpoints().map(PathBuf::from),
            epoch: 0,
            compared: false,
            best: (0.0, 0),
        };
        if let Some(folder) = &trainer.checkpoint {
            let path = folder.join(format!("two-tower-{}.safetensors", trainer.identity(purpose)));
            trainer.checkpoint = Some(path);
            trainer.resume(watch);
        }
        Ok(trainer)
    }

    /// One pass over all interactions in a new random order. Returns the mean loss.
    pub fn pass(&mut self, watch: &dyn Watch) -> Result<f64> {
        self.epoch += 1;
        let mut random = SplitMix(mix(self.tower.seed ^ mix(self.epoch as u64)));
        let mut order: Vec<u32> = (0..self.data.nnz() as u32).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, (random.draw() % (at as u64 + 1)) as usize);
        }
        let (mut sum, mut weight) = (0.0, 0.0);
        let steps = order.len().div_ceil(self.tower.batch);
        for (step, pairs) in order.chunks(self.tower.batch).enumerate() {
            let batch = self.batch(pairs, &mut random);
            let slopes = self.slopes(pairs, &batch, &self.device).map_err(ModelError::device)?;
            if !self.compared && !self.device.is_cpu() {
                self.compare(pairs, &batch, &slopes)?;
            }
            self.compared = true;
            if !slopes.loss.is_finite() {
                let advice = format!("lower learning_rate (now {}) or raise temperature", self.tower.learning_rate);
                return Err(ModelError::Diverged { model: "two-tower", iteration: self.epoch, advice });
            }
            self.learn(batch, &slopes);
            sum += slopes.loss * pairs.len() as f64;
            weight += pairs.len() as f64;
            watch.step(&format!("two-tower epoch {}", self.epoch), step + 1, steps);
        }
        Ok(sum / weight)
    }

    fn batch(&self, pairs: &[u32], random: &mut SplitMix) -> Batch {
        let tower = self.tower;
        let mut candidates: Vec<u32> = pairs.iter().map(|&pair| self.data.by_user.indices[pair as usize]).collect();
        candidates.extend((0..tower.negatives).map(|_| self.sold[(random.draw() % self.sold.len() as u64) as usize]));
        candidates.sort_unstable();
        candidates.dedup();
        let share = |item: u32| self.data.by_item.columns(item as usize).len() as f32 / self.data.nnz() as f32;
        let drawn = tower.negatives as f32 / self.sold.len() as f32;
        let expected = candidates.iter().map(|&item| pairs.len() as f32 * share(item) + drawn).collect();

        let mut item_bags = Csr { offsets: vec![0], ..Csr::default() };
        for &item in &candidates {
            let rows = self.item_bags.bags.columns(item as usize);
            let hidden = rows.len() > 1 && random.uniform() < tower.dropout;
            item_bags.indices.extend(&rows[usize::from(hidden)..]);
            item_bags.offsets.push(item_bags.indices.len());
        }
        item_bags.values = vec![1.0; item_bags.indices.len()];
        let mut user_bags = Csr { offsets: vec![0], ..Csr::default() };
        let mut history_bags = user_bags.clone();
        for &pair in pairs {
            let user = self.owner[pair as usize];
            user_bags.indices.extend(self.user_bags.bags.columns(user as usize));
            user_bags.offsets.push(user_bags.indices.len());
            self.history(pair as usize, random, &mut history_bags);
        }
        user_bags.values = vec![1.0; user_bags.indices.len()];
        Batch { candidates, expected, item_bags, user_bags, history_bags }
    }

    /// The mean of what the owner of an entry did beside it, at most `history` items of it.
    fn history(&self, pair: usize, random: &mut SplitMix, bags: &mut Csr) {
        let offsets = &self.data.by_user.offsets;
        let user = self.owner[pair] as usize;
        let (from, until) = (offsets[user], offsets[user + 1]);
        let others = (until - from - 1).min(self.tower.history);
        let begin = bags.indices.len();
        let mut sum = 0.0;
        for number in 0..others {
            // All others in turn, or as many drawn, with repetition.
            let place = match others < until - from - 1 {
                true => from + (random.draw() % (until - from - 1) as u64) as usize,
                false => from + number,
            };
            let entry = if place >= pair { place + 1 } else { place };
            let weight = self.confidence[entry];
            sum += weight;
            let rows = self.item_bags.bags.columns(self.data.by_user.indices[entry] as usize);
            bags.indices.extend(rows);
            bags.values.extend(std::iter::repeat_n(weight, rows.len()));
        }
        bags.values[begin..].iter_mut().for_each(|weight| *weight /= sum);
        bags.offsets.push(bags.indices.len());
    }

    /// Loss and slopes of a batch on a device.
    fn slopes(&self, pairs: &[u32], batch: &Batch, device: &candle_core::Device) -> candle_core::Result<Slopes> {
        let depth = self.tower.factors;
        let leaf = |values: Vec<f32>| {
            let rows = values.len() / depth;
            Var::from_vec(values, (rows, depth), device)
        };
        let leaves = Leaves {
            items: leaf(self.items.sums(&batch.item_bags))?,
            users: leaf(self.users.sums(&batch.user_bags))?,
            histories: leaf(self.items.sums(&batch.history_bags))?,
            dense: leaf(self.dense.values.clone())?,
        };
        let (users, items) = self.towers(&leaves)?;
        let (u, v) = (users.detach(), items.detach());
        let scores = u.matmul(&v.t()?)?;
        let column = |item: u32| batch.candidates.partition_point(|&candidate| candidate < item) as u32;
        let targets: Vec<u32> = pairs.iter().map(|&pair| column(self.data.by_user.indices[pair as usize])).collect();
        let places = Matrix::from_slice(&targets, pairs.len(), device)?;
        let wanted = v.index_select(&places, 0)?;
        let chosen = (&u * &wanted)?.sum(D::Minus1)?;
        let mut weights: Vec<f32> = pairs.iter().map(|&pair| self.confidence[pair as usize]).collect();
        let sum: f32 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= sum);

        let rows = if device.is_cpu() { (SHARD / batch.candidates.len()).max(8) } else { pairs.len() };
        let shards: Vec<Range<usize>> = (0..pairs.len()).step_by(rows).map(|at| at..(at + rows).min(pairs.len())).collect();
        let parts: Vec<Contrast> = shards
            .into_par_iter()
            .map(|shard| {
                let asked =
                    Asked { pairs: &pairs[shard.clone()], targets: &targets[shard.clone()], weights: &weights[shard.clone()] };
                let narrow = |tensor: &Matrix| tensor.narrow(0, shard.start, shard.len());
                self.contrast(&asked, batch, &narrow(&scores)?, &narrow(&chosen)?)
            })
            .collect::<candle_core::Result<_>>()?;
        let loss = parts.iter().map(|part| part.loss).sum();
        let by_score = Matrix::cat(&parts.iter().map(|part| &part.by_score).collect::<Vec<_>>(), 0)?;
        let by_chosen = Matrix::cat(&parts.iter().map(|part| &part.by_chosen).collect::<Vec<_>>(), 0)?.unsqueeze(1)?;
        let user_slopes = (by_score.matmul(&v)? + wanted.broadcast_mul(&by_chosen)?)?;
        let item_slopes = by_score.t()?.matmul(&u)?.index_add(&places, &u.broadcast_mul(&by_chosen)?, 0)?;
        // From the vectors back through the towers.
        let onward = ((users * user_slopes)?.sum_all()? + (items * item_slopes)?.sum_all()?)?.backward()?;
        let flat = |var: &Var| match onward.get(var) {
            Some(slopes) => slopes.flatten_all()?.to_vec1::<f32>(),
            None => Ok(vec![0.0; var.elem_count()]),
        };
        Ok(Slopes {
            loss,
            items: flat(&leaves.items)?,
            users: flat(&leaves.users)?,
            histories: flat(&leaves.histories)?,
            dense: flat(&leaves.dense)?,
        })
    }

    /// Vectors of the batch's users and candidates.
    fn towers(&self, leaves: &Leaves) -> candle_core::Result<(Matrix, Matrix)> {
        let (depth, hidden) = (self.tower.factors, self.tower.hidden);
        let rise = |z: Matrix, first: usize| -> candle_core::Result<Matrix> {
            let z = match hidden {
                0 => z,
                _ => {
                    let (inward, outward) =
                        (leaves.dense.narrow(0, first, hidden)?, leaves.dense.narrow(0, first + hidden, hidden)?);
                    (&z + z.matmul(&inward.t()?)?.relu()?.matmul(&outward)?)?
                }
            };
            match self.tower.cosine() {
                true => z.broadcast_div(&(z.sqr()?.sum_keepdim(D::Minus1)? + 1e-12)?.sqrt()?),
                false => Ok(z),
            }
        };
        let mut users = leaves.users.as_tensor().clone();
        if self.tower.history > 0 {
            users = (users + leaves.histories.matmul(&leaves.dense.narrow(0, 0, depth)?)?)?;
        }
        Ok((rise(users, depth + 2 * hidden)?, rise(leaves.items.as_tensor().clone(), depth)?))
    }

    /// The loss of some pairs, and its derivatives by the scores of all candidates and of the chosen item. Written out: recording every
    /// operation on the scores for automatic differentiation takes three times as long.
    fn contrast(&self, asked: &Asked, batch: &Batch, scores: &Matrix, chosen: &Matrix) -> candle_core::Result<Contrast> {
        let tower = self.tower;
        let (rows, columns) = (asked.pairs.len(), batch.candidates.len());
        let matrix = |values: Vec<f32>| Matrix::from_vec(values, (rows, columns), scores.device());
        let list = |values: Vec<f32>| Matrix::from_vec(values, rows, scores.device());
        let counts = self.counts(asked, batch, scores)?;
        let total = |losses: Matrix| Ok::<f64, candle_core::Error>(f64::from(losses.sum_all()?.to_scalar::<f32>()?));
        if tower.loss == Loss::Softmax {
            let shift: Vec<f32> = batch.expected.iter().map(|expected| -tower.popularity * expected.ln()).collect();
            let mut shifts = Vec::with_capacity(rows * columns);
            for (counts, &target) in counts.chunks(columns).zip(asked.targets) {
                let row = shifts.len();
                shifts.extend(shift.iter().zip(counts).map(|(&shift, &counts)| if counts { shift } else { NEVER }));
                shifts[row + target as usize] = shift[target as usize];
            }
            let own = list(asked.targets.iter().map(|&target| shift[target as usize]).collect())?;
            let weights = list(asked.weights.to_vec())?;
            let sharp = f64::from(1.0 / tower.temperature);
            // A cosine is at most 1, so less 1 / temperature no exponential overflows.
            let shares = (scores.affine(sharp, -sharp)? + matrix(shifts)?)?.exp()?;
            let sums = shares.sum(D::Minus1)?;
            let loss = total(((sums.log()? - (chosen.affine(sharp, -sharp)? + own)?)? * &weights)?)?;
            let scale = ((&weights * sharp)? / sums)?.unsqueeze(1)?;
            return Ok(Contrast { loss, by_score: shares.broadcast_mul(&scale)?, by_chosen: (weights * -sharp)? });
        }
        let mut shares = vec![0f32; rows * columns];
        for ((shares, counts), weight) in shares.chunks_mut(columns).zip(counts.chunks(columns)).zip(asked.weights) {
            let each = weight / counts.iter().filter(|&&counts| counts).count().max(1) as f32;
            shares.iter_mut().zip(counts).for_each(|(share, &counts)| *share = if counts { each } else { 0.0 });
        }
        let shares = matrix(shares)?;
        if tower.loss == Loss::CosineContrastive {
            let weights = list(asked.weights.to_vec())?;
            let shares = (shares * f64::from(tower.negative_weight))?;
            let above = (scores - f64::from(tower.margin))?.relu()?;
            let by_score = (above.gt(0.0)?.to_dtype(candle_core::DType::F32)? * &shares)?;
            let loss = total(((chosen.affine(-1.0, 1.0)? * &weights)? + (above * shares)?.sum(D::Minus1)?)?)?;
            return Ok(Contrast { loss, by_score, by_chosen: weights.neg()? });
        }
        // −log σ(−x) = max(0, x) + log(1 + e^−|x|), which overflows nowhere.
        let ahead = scores.broadcast_sub(&chosen.unsqueeze(1)?)?;
        let soft = (ahead.relu()? + (ahead.abs()?.neg()?.exp()? + 1.0)?.log()?)?;
        let by_score = ((ahead.neg()?.exp()? + 1.0)?.recip()? * &shares)?;
        let loss = total((soft * shares)?.sum(D::Minus1)?)?;
        Ok(Contrast { loss, by_chosen: by_score.sum(D::Minus1)?.neg()?, by_score })
    }

    /// Which candidates are negatives of each pair: those that its owner does not have, and of these the hardest.
    fn counts(&self, asked: &Asked, batch: &Batch, scores: &Matrix) -> candle_core::Result<Vec<bool>> {
        let (hard, columns) = (self.tower.hard, batch.candidates.len());
        let mut counts = vec![true; asked.pairs.len() * columns];
        let known = if hard > 0 { scores.flatten_all()?.to_vec1::<f32>()? } else { Vec::new() };
        for (row, (&pair, counts)) in asked.pairs.iter().zip(counts.chunks_mut(columns)).enumerate() {
            let has = self.data.by_user.columns(self.owner[pair as usize] as usize);
            both(has, &batch.candidates, |column| counts[column] = false);
            if hard > 0 {
                let score = |column: usize| known[row * columns + column];
                let mut left: Vec<usize> = (0..columns).filter(|&column| counts[column]).collect();
                if left.len() > hard {
                    left.select_nth_unstable_by(hard, |&a, &b| score(b).total_cmp(&score(a)).then(a.cmp(&b)));
                    left[hard..].iter().for_each(|&column| counts[column] = false);
                }
            }
        }
        Ok(counts)
    }

    fn learn(&mut self, batch: Batch, slopes: &Slopes) {
        let TwoTower { learning_rate: rate, regularization: decay, history, hidden, .. } = *self.tower;
        let (mut bags, mut item_slopes) = (batch.item_bags, slopes.items.clone());
        if history > 0 {
            let first = bags.indices.len();
            bags.offsets.extend(batch.history_bags.offsets[1..].iter().map(|at| first + at));
            bags.indices.extend(batch.history_bags.indices);
            bags.values.extend(batch.history_bags.values);
            item_slopes.extend(&slopes.histories);
        }
        self.items.learn(&bags, &item_slopes, rate, decay);
        self.users.learn(&batch.user_bags, &slopes.users, rate, decay);
        if history > 0 || hidden > 0 {
            // The dense layers are moved by every pair, the rows by a few: a tenth of the rate.
            self.dense.learn_all(&slopes.dense, 0.1 * rate);
        }
    }

    /// Refuses a device that finds another loss than the CPU.
    fn compare(&self, pairs: &[u32], batch: &Batch, found: &Slopes) -> Result<()> {
        if self.tower.hard > 0 {
            // Which negatives are the hardest may hang on the last bit.
            return Ok(());
        }
        let expected = self.slopes(pairs, batch, &candle_core::Device::Cpu).map_err(ModelError::device)?;
        let difference = |a: &[f32], b: &[f32]| {
            let largest = b.iter().fold(1e-12f32, |largest, value| largest.max(value.abs()));
            let most =
                a.iter().zip(b).fold(0f32, |most, (a, b)| if (a - b).is_nan() { f32::INFINITY } else { most.max((a - b).abs()) });
            f64::from(most / largest)
        };
        let worst = [
            difference(&found.items, &expected.items),
            difference(&found.users, &expected.users),
            difference(&found.histories, &expected.histories),
            difference(&found.dense, &expected.dense),
        ];
        let loss = (found.loss - expected.loss).abs() / expected.loss.abs().max(1e-12);
        let worst = worst.into_iter().fold(loss, f64::max);
        if worst <= PARITY {
            return Ok(());
        }
        let detail = format!(
            "loss or slopes of the first batch differ from the CPU's by {worst:.1e} of the largest, {PARITY:.0e} is allowed"
        );
        Err(ModelError::Device { detail })
    }

    /// The model as it is now.
    pub fn model(&self) -> TwoTowerModel {
        let (depth, hidden) = (self.tower.factors, self.tower.hidden);
        let layer = |at: usize| -> Array<f32> {
            let first = (depth + at * hidden) * depth;
            self.dense.values[first..first + hidden * depth].to_vec().into()
        };
        let tower = |at: usize| Tower { inward: layer(at), outward: layer(at + 1) };
        let unit = self.tower.cosine();
        let sums = self.items.sums(&self.item_bags.bags);
        let steps = match self.tower.history {
            0 => Vec::new(),
            _ => {
                let mut steps = vec![0f32; sums.len()];
                let rows: Vec<u32> = (0..depth as u32).collect();
                let simd = simd();
                steps.par_chunks_mut(depth).zip(sums.par_chunks(depth)).for_each(|(step, sum)| {
                    add_rows(simd, &self.dense.values, &rows, sum, step);
                });
                steps
            }
        };
        let mut vectors = sums;
        let items = tower(0);
        vectors.par_chunks_mut(depth).for_each(|vector| {
            // What nothing is known of stays without a vector.
            if vector.iter().any(|&value| value != 0.0) {
                items.apply(unit, vector);
            }
        });
        TwoTowerModel {
            scaling: self.tower.scaling,
            unit,
            lists_from: self.tower.lists_from,
            vectors: Vectors::new(vectors.into(), depth),
            steps: steps.into(),
            users: if self.user_bags.rows == 0 { Array::default() } else { self.users.sums(&self.user_bags.bags).into() },
            tower: tower(2),
        }
    }

    /// Of the data and the hyperparameters, the same for a fit that goes on.
    fn identity(&self, purpose: &str) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(purpose.as_bytes());
        // A fit of more epochs may go on from one of fewer.
        let tower = TwoTower { epochs: 0, ..self.tower.clone() };
        hasher.update(serde_json::to_string(&tower).unwrap_or_default().as_bytes());
        hasher.update(bytemuck::cast_slice(&self.data.by_user.indices));
        hasher.update(bytemuck::cast_slice(&self.confidence));
        hasher.update(bytemuck::cast_slice(&self.owner));
        for bags in [&self.item_bags.bags, &self.user_bags.bags] {
            hasher.update(bytemuck::cast_slice(&bags.offsets));
            hasher.update(bytemuck::cast_slice(&bags.indices));
        }
        hasher.finalize().to_hex()[..16].to_string()
    }

    /// Writes the state beside the former checkpoint, then in its place. A fit goes on without a checkpoint, and says why there is none.
    pub fn save(&self, watch: &dyn Watch) {
        let Some(path) = &self.checkpoint else { return };
        if let Err(error) = self.write(path) {
            watch.say(&format!("two-tower: no checkpoint of epoch {}: {error}", self.epoch));
        }
    }

    fn write(&self, path: &Path) -> Result<()> {
        let progress = [self.epoch as u64, self.best.1 as u64, self.best.0.to_bits()];
        let mut tensors = vec![Tensor::u64("progress", &progress)];
        for (table, [values, squares]) in [&self.items, &self.users, &self.dense].into_iter().zip(STATE) {
            tensors.push(Tensor::f32(values, &[table.values.len()], &table.values));
            tensors.push(Tensor::f32(squares, &[table.squares.len()], &table.squares));
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(ModelError::io("cannot create", folder))?;
        }
        let temporary = path.with_extension(format!("partial-{}", std::process::id()));
        weights::write(&temporary, tensors)?;
        std::fs::rename(&temporary, path).map_err(ModelError::io("cannot keep the checkpoint", path))
    }

    /// Goes on from a checkpoint of the same fit, if there is a sound one.
    fn resume(&mut self, watch: &dyn Watch) {
        let Some(path) = self.checkpoint.clone().filter(|path| path.is_file()) else { return };
        let read = || -> Result<(Vec<u64>, Vec<Array<f32>>)> {
            let mut weights = Weights::open(&path)?;
            let progress = weights.numbers("progress", 3)?.to_vec();
            let mut tables = Vec::new();
            for (table, [values, squares]) in [&self.items, &self.users, &self.dense].into_iter().zip(STATE) {
                tables.push(weights.reals(values, table.values.len())?);
                tables.push(weights.reals(squares, table.squares.len())?);
            }
            Ok((progress, tables))
        };
        match read() {
            Ok((progress, _)) if self.tower.epochs > 0 && progress[0] > self.tower.epochs as u64 => {
                watch.say("two-tower: starts anew, the checkpoint is past the epochs asked for");
            }
            Ok((progress, tables)) => {
                let mut tables = tables.iter();
                for table in [&mut self.items, &mut self.users, &mut self.dense] {
                    for part in [&mut table.values, &mut table.squares] {
                        if let Some(saved) = tables.next() {
                            part.copy_from_slice(saved);
                        }
                    }
                }
                self.epoch = progress[0] as usize;
                self.best = (f64::from_bits(progress[2]), progress[1] as usize);
                watch.say(&format!("two-tower: goes on after epoch {} of {}", self.epoch, path.display()));
            }
            Err(error) => watch.say(&format!("two-tower: starts anew, the checkpoint is of no use: {error}")),
        }
    }
}

/// Names of a checkpoint's arrays: values and squares of each table.
const STATE: [[&str; 2]; 3] =
    [["items.values", "items.squares"], ["users.values", "users.squares"], ["dense.values", "dense.squares"]];

/// Clears the rows that no item (or user) with an interaction names: what nothing will ever teach must not speak.
fn silence(table: &mut Table, bags: &Bags, interactions: &Csr) {
    let mut taught = vec![false; bags.rows];
    for bag in (0..interactions.rows()).filter(|&bag| !interactions.columns(bag).is_empty()) {
        bags.bags.columns(bag).iter().for_each(|&row| taught[row as usize] = true);
    }
    for row in (0..bags.rows).filter(|&row| !taught[row]) {
        table.row_mut(row).fill(0.0);
    }
}

/// Calls with the position in `list` of each number that is in both ascending lists.
fn both(numbers: &[u32], list: &[u32], mut found: impl FnMut(usize)) {
    let mut from = 0;
    for &number in numbers {
        from += list[from..].partition_point(|&other| other < number);
        if list.get(from) == Some(&number) {
            found(from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three users with two items each, and one item that nobody has.
    fn interactions() -> Interactions {
        let triples = vec![(0, 0, 1.0), (0, 1, 3.0), (1, 1, 1.0), (1, 2, 2.0), (2, 0, 1.0), (2, 3, 1.0)];
        let turned = triples.iter().map(|&(user, item, value)| (item, user, value)).collect();
        Interactions { by_user: Csr::from_triples(3, triples), by_item: Csr::from_triples(5, turned), rows_are_orders: false }
    }

    #[test]
    fn slopes_are_those_of_the_loss() {
        let data = interactions();
        let log = aisle_data::EventLog::default();
        let (orders, catalog) = (aisle_data::Orders::of(&log), aisle_data::Catalog::unknown(5));
        let training = Training { log: &log, interactions: &data, orders: &orders, catalog: &catalog, users: &[] };
        for (loss, hard) in [(Loss::Softmax, 0), (Loss::CosineContrastive, 0), (Loss::Bpr, 0), (Loss::Bpr, 1), (Loss::Softmax, 2)] {
            let tower = TwoTower {
                factors: 4,
                loss,
                hard,
                margin: -0.2,
                negative_weight: 2.0,
                temperature: 0.5,
                negatives: 6,
                hidden: 3,
                epochs: 1,
                ..TwoTower::default()
            };
            let mut trainer = Trainer::new(&tower, &training, &(), "").unwrap();
            // Outward layers start at zero, where the slopes of the inward ones vanish.
            trainer.dense = Table::random((trainer.dense.values.len() / 4, 4), 0.3, 5);
            trainer.items = Table::random((5, 4), 0.5, 6);
            trainer.users = Table::random((3, 4), 0.5, 7);
            let pairs: Vec<u32> = (0..6).collect();
            let batch = trainer.batch(&pairs, &mut SplitMix(1));
            let cpu = candle_core::Device::Cpu;
            let found = trainer.slopes(&pairs, &batch, &cpu).unwrap();
            const STEP: f32 = 1e-3;
            for at in 0..trainer.dense.values.len() {
                let mut at_offset = |offset: f32| {
                    let before = trainer.dense.values[at];
                    trainer.dense.values[at] += offset;
                    let loss = trainer.slopes(&pairs, &batch, &cpu).unwrap().loss;
                    trainer.dense.values[at] = before;
                    loss
                };
                let slope = (at_offset(STEP) - at_offset(-STEP)) / f64::from(2.0 * STEP);
                assert!((slope - f64::from(found.dense[at])).abs() < 2e-3, "{loss:?} {hard} {at}: {slope} {}", found.dense[at]);
            }
        }
    }

    #[test]
    fn common_numbers_of_two_lists() {
        let mut found = Vec::new();
        both(&[1, 4, 5, 9], &[0, 1, 5, 8, 9, 11], |at| found.push(at));
        assert_eq!(found, [1, 2, 4]);
    }
}
