//! The fitted segments, and which shopper is in which.

use crate::error::Result;
use crate::weights::{Tensor, Weights};
use aisle_data::IdMap;
use aisle_math::array::Array;
use serde::{Deserialize, Serialize};

/// What a segment is like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// The name, unique within a version.
    pub name: String,
    /// The condition of a named segment; `None` for a learned one.
    pub condition: Option<String>,
    /// How many shoppers are in it.
    pub shoppers: usize,
    /// The median of their orders.
    pub orders: f64,
    /// The median of the days from their last order to the end of the log; `None` without times.
    pub days_since: Option<f64>,
    /// The median of their spend; `None` without prices.
    pub spend: Option<f64>,
    /// The top categories that set the segment apart, the one that does most first.
    pub favourites: Vec<FavouriteCategory>,
}

/// A top category of which the shoppers of a segment buy more than others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FavouriteCategory {
    /// The name of the category.
    pub category: String,
    /// Its mean share of a shopper's lines, 0 to 1.
    pub share: f64,
    /// That share as a multiple of the mean share of all shoppers.
    pub lift: f64,
}

/// Segments that are not published because they have too few shoppers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WithheldSegments {
    /// The names of named segments.
    pub named: Vec<String>,
    /// How many learned segments there are beside them.
    pub learned: usize,
}

/// The segments of a version, as its manifest lists them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SegmentList {
    /// The named segments by name, then the learned ones by descending spend. The number of a
    /// segment is its place here.
    pub published: Vec<Segment>,
    /// The segments with too few shoppers.
    pub withheld: WithheldSegments,
}

/// A segment and the rows of its shoppers, ascending.
pub(super) struct SegmentMembers {
    pub segment: Segment,
    pub members: Vec<u32>,
}

/// The segments, and which shopper is in which.
pub struct SegmentsModel {
    list: SegmentList,
    /// `users + 1` positions into `segments`.
    offsets: Array<u64>,
    /// Segment numbers, ascending within a user.
    segments: Array<u32>,
}

impl Default for SegmentsModel {
    fn default() -> Self {
        Self {
            list: SegmentList::default(),
            offsets: vec![0].into(),
            segments: Array::default(),
        }
    }
}

impl SegmentsModel {
    /// `users` shoppers, none of them in a segment.
    pub(crate) fn none(users: usize) -> Self {
        Self::new(Vec::new(), WithheldSegments::default(), users)
    }

    /// Segments in the order of their numbers.
    pub(super) fn new(
        segments: Vec<SegmentMembers>,
        withheld: WithheldSegments,
        users: usize,
    ) -> Self {
        let mut memberships: Vec<(u32, u32)> = segments
            .iter()
            .zip(0..)
            .flat_map(|(found, number)| found.members.iter().map(move |&user| (user, number)))
            .collect();
        memberships.sort_unstable();
        let mut offsets = vec![0u64; users + 1];
        for &(user, _) in &memberships {
            offsets[user as usize + 1] += 1;
        }
        (0..users).for_each(|user| offsets[user + 1] += offsets[user]);
        let numbers: Vec<u32> = memberships.into_iter().map(|(_, number)| number).collect();
        let published = segments.into_iter().map(|found| found.segment).collect();
        Self {
            list: SegmentList {
                published,
                withheld,
            },
            offsets: offsets.into(),
            segments: numbers.into(),
        }
    }

    /// Reads the segments of `users` shoppers from the arrays of a version and the list of its
    /// manifest.
    ///
    /// # Errors
    /// [`ModelError::Damaged`](crate::ModelError::Damaged) if the two do not agree.
    pub(crate) fn load(list: &SegmentList, users: usize, weights: &mut Weights) -> Result<Self> {
        let (offsets, memberships) = weights.offsets("segments.offsets", users)?;
        let segments = weights.rows("segments.numbers", memberships, list.published.len())?;
        let mut sizes = vec![0usize; list.published.len()];
        for (user, range) in offsets.windows(2).enumerate() {
            let of_user = &segments[range[0] as usize..range[1] as usize];
            if !of_user.is_sorted_by(|a, b| a < b) {
                return Err(weights.damaged(
                    "segments.numbers",
                    format!("{of_user:?} of shopper {user}"),
                    "ascending numbers".into(),
                ));
            }
            for &segment in of_user {
                sizes[segment as usize] += 1;
            }
        }
        for (segment, size) in list.published.iter().zip(sizes) {
            if segment.shoppers != size {
                return Err(weights.damaged(
                    &format!("segment '{}'", segment.name),
                    format!("{size} shoppers"),
                    format!("{} as in the manifest", segment.shoppers),
                ));
            }
        }
        let names = list.published.iter().map(|segment| segment.name.as_str());
        let distinct_names: IdMap = names.collect();
        if distinct_names.len() != list.published.len() {
            return Err(weights.damaged(
                "segments",
                "two of the same name".into(),
                "different names".into(),
            ));
        }
        Ok(Self {
            list: list.clone(),
            offsets,
            segments,
        })
    }

    /// The arrays that a version stores.
    pub(crate) fn tensors(&self) -> Vec<Tensor<'_>> {
        vec![
            Tensor::u64("segments.offsets", &self.offsets),
            Tensor::u32("segments.numbers", &self.segments),
        ]
    }

    /// The published segments, and those that were withheld.
    pub fn list(&self) -> &SegmentList {
        &self.list
    }

    /// How many segments are published.
    pub fn len(&self) -> usize {
        self.list.published.len()
    }

    /// Whether no segment is published.
    pub fn is_empty(&self) -> bool {
        self.list.published.is_empty()
    }

    /// The names of the segments, by number.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.list
            .published
            .iter()
            .map(|segment| segment.name.as_str())
    }

    /// The number of the segment of a name. O(segments).
    pub fn number(&self, name: &str) -> Option<u32> {
        self.names()
            .position(|known| known == name)
            .map(|at| at as u32)
    }

    /// The numbers of the segments that a user is in, ascending; none for a user who is not known.
    /// O(1).
    pub fn of(&self, user: u32) -> &[u32] {
        let position = |row: usize| self.offsets.get(row).map(|&at| at as usize);
        match (position(user as usize), position(user as usize + 1)) {
            (Some(from), Some(to)) => self.segments.get(from..to).unwrap_or(&[]),
            _ => &[],
        }
    }

    /// The users in a segment, ascending. O(users).
    pub fn members(&self, segment: u32) -> Vec<u32> {
        (0..self.offsets.len().saturating_sub(1) as u32)
            .filter(|&user| self.of(user).binary_search(&segment).is_ok())
            .collect()
    }

    /// What a segment is like; `None` for a number that is not one of a segment.
    pub fn describe(&self, segment: u32) -> Option<&Segment> {
        self.list.published.get(segment as usize)
    }
}
