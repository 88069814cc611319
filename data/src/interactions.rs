//! The sparse user × item matrix, stored by row both ways.

use crate::catalog::NONE;
use crate::log::EventLog;
use crate::split_mix::mix;
use rayon::prelude::*;

const DAY_MS: f64 = 86_400_000.0;

/// Compressed sparse rows: row `r` holds `indices[offsets[r]..offsets[r + 1]]`, ascending, with their values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Csr {
    /// `rows + 1` positions.
    pub offsets: Vec<usize>,
    /// Column of each entry.
    pub indices: Vec<u32>,
    /// Value of each entry.
    pub values: Vec<f32>,
}

impl Csr {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// The number of entries.
    pub fn nnz(&self) -> usize {
        self.indices.len()
    }

    /// Columns and values of a row.
    pub fn row(&self, row: usize) -> (&[u32], &[f32]) {
        let range = self.offsets[row]..self.offsets[row + 1];
        (&self.indices[range.clone()], &self.values[range])
    }

    /// Columns of a row.
    pub fn columns(&self, row: usize) -> &[u32] {
        &self.indices[self.offsets[row]..self.offsets[row + 1]]
    }

    /// From (row, column, value) triples in any order; equal places are added up in a fixed order. O(n log n).
    pub fn from_triples(rows: usize, mut triples: Vec<(u32, u32, f32)>) -> Self {
        triples.par_sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)));
        let mut csr = Csr { offsets: Vec::with_capacity(rows + 1), ..Csr::default() };
        csr.offsets.push(0);
        let mut last = None;
        for (row, column, value) in triples {
            while csr.offsets.len() <= row as usize {
                csr.offsets.push(csr.indices.len());
            }
            if last == Some((row, column))
                && let Some(sum) = csr.values.last_mut()
            {
                *sum += value;
            } else {
                csr.indices.push(column);
                csr.values.push(value);
                last = Some((row, column));
            }
        }
        csr.offsets.resize(rows + 1, csr.indices.len());
        csr
    }

    /// Without the entries whose value is not above zero.
    fn positive(&self) -> Csr {
        let mut kept = Csr { offsets: vec![0], ..Csr::default() };
        for row in 0..self.rows() {
            let (columns, values) = self.row(row);
            for (&column, &value) in columns.iter().zip(values) {
                if value > 0.0 {
                    kept.indices.push(column);
                    kept.values.push(value);
                }
            }
            kept.offsets.push(kept.indices.len());
        }
        kept
    }

    /// The same matrix with at most `longest` entries a row: of longer rows as many, drawn evenly by a hash of their places. What is
    /// quadratic in the length of a row is thereby bounded, as robots and resellers demand.
    pub fn capped(&self, longest: usize) -> Csr {
        if (0..self.rows()).all(|row| self.columns(row).len() <= longest) {
            return self.clone();
        }
        let mut capped = Csr { offsets: vec![0], ..Csr::default() };
        for row in 0..self.rows() {
            let range = self.offsets[row]..self.offsets[row + 1];
            let mut places: Vec<usize> = range.collect();
            if places.len() > longest {
                places.sort_unstable_by_key(|&place| mix((row as u64) << 32 ^ u64::from(self.indices[place])));
                places.truncate(longest);
                places.sort_unstable();
            }
            capped.indices.extend(places.iter().map(|&place| self.indices[place]));
            capped.values.extend(places.iter().map(|&place| self.values[place]));
            capped.offsets.push(capped.indices.len());
        }
        capped
    }

    /// The same matrix by column, `columns` of them. O(nnz).
    pub fn transposed(&self, columns: usize) -> Csr {
        let mut offsets = vec![0usize; columns + 1];
        self.indices.iter().for_each(|&column| offsets[column as usize + 1] += 1);
        for column in 0..columns {
            offsets[column + 1] += offsets[column];
        }
        let mut next = offsets.clone();
        let mut indices = vec![0u32; self.nnz()];
        let mut values = vec![0f32; self.nnz()];
        for row in 0..self.rows() {
            let (row_columns, row_values) = self.row(row);
            for (&column, &value) in row_columns.iter().zip(row_values) {
                let at = &mut next[column as usize];
                indices[*at] = row as u32;
                values[*at] = value;
                *at += 1;
            }
        }
        Csr { offsets, indices, values }
    }
}

/// Who likes what, with which confidence: every stored value is above zero.
#[derive(Clone, Debug, Default)]
pub struct Interactions {
    /// Items of each user.
    pub by_user: Csr,
    /// Users of each item.
    pub by_item: Csr,
    /// Whether rows are orders or sessions, because the log names no users.
    pub rows_are_orders: bool,
}

impl Interactions {
    /// Adds up the events of each user and item: weight × 2^(−age / half-life), age counted from the log's last event.
    /// What sums to zero or less (returned goods) is left out. Anonymous events are skipped,
    /// unless the log has no users at all: then each order or session is a row.
    pub fn of(log: &EventLog) -> Self {
        let latest = log.span().map_or(0, |(_, last)| last);
        let rows_are_orders = log.user.iter().all(|&user| user == NONE);
        let rows = match rows_are_orders {
            true => log.order.iter().filter(|&&order| order != NONE).max().map_or(0, |&last| last as usize + 1),
            false => log.users.len(),
        };
        let triples: Vec<(u32, u32, f32)> = (0..log.len())
            .into_par_iter()
            .filter_map(|event| {
                let row = if rows_are_orders { log.order_of(event) } else { log.user_of(event) };
                let kind = log.type_of(event);
                let fading = kind.half_life_days.filter(|_| !log.time.is_empty()).map_or(1.0, |days| {
                    let age = (latest - log.time_of(event)) as f64 / DAY_MS;
                    (-age / f64::from(days)).exp2() as f32
                });
                (row != NONE).then(|| (row, log.item[event], kind.weight * fading))
            })
            .collect();
        Self::from_csr(Csr::from_triples(rows, triples).positive(), log.items.len(), rows_are_orders)
    }

    /// From (user, item, value) triples; values that sum to zero or less are left out.
    pub fn from_triples(users: usize, items: usize, triples: Vec<(u32, u32, f32)>) -> Self {
        Self::from_csr(Csr::from_triples(users, triples).positive(), items, false)
    }

    fn from_csr(by_user: Csr, items: usize, rows_are_orders: bool) -> Self {
        let by_item = by_user.transposed(items);
        Self { by_user, by_item, rows_are_orders }
    }

    /// Rows.
    pub fn users(&self) -> usize {
        self.by_user.rows()
    }

    /// Columns.
    pub fn items(&self) -> usize {
        self.by_item.rows()
    }

    /// Columns with at least one entry.
    pub fn items_with_users(&self) -> usize {
        self.by_item.offsets.windows(2).filter(|pair| pair[1] > pair[0]).count()
    }

    /// Entries.
    pub fn nnz(&self) -> usize {
        self.by_user.nnz()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_directions_hold_the_same_sums(cells in prop::collection::vec((0u32..7, 0u32..9, -2i32..4), 0..80)) {
            let triples = cells.iter().map(|&(u, i, v)| (u, i, v as f32)).collect();
            let matrix = Interactions::from_triples(7, 9, triples);
            let mut dense = [[0i32; 9]; 7];
            cells.iter().for_each(|&(u, i, v)| dense[u as usize][i as usize] += v);
            for (user, row) in dense.iter().enumerate() {
                let (items, values) = matrix.by_user.row(user);
                let expected: Vec<(u32, f32)> =
                    row.iter().enumerate().filter(|(_, v)| **v > 0).map(|(i, v)| (i as u32, *v as f32)).collect();
                let found: Vec<(u32, f32)> = items.iter().copied().zip(values.iter().copied()).collect();
                prop_assert_eq!(found, expected);
            }
            prop_assert_eq!(matrix.by_item.transposed(7), matrix.by_user.clone());
            let capped = matrix.by_user.capped(2);
            for (user, sums) in dense.iter().enumerate() {
                let (all, (kept, values)) = (matrix.by_user.columns(user), capped.row(user));
                prop_assert_eq!(kept.len(), all.len().min(2));
                prop_assert!(kept.is_sorted() && kept.iter().all(|item| all.contains(item)));
                prop_assert!(kept.iter().zip(values).all(|(&item, &value)| sums[item as usize] as f32 == value));
            }
        }
    }
}
