//! A synthetic shop: logs of any size with the structure of real ones, for tests of scale where no
//! real log is at hand.
//!
//! The popularity of items follows Zipf's law inside categories. Categories have seasons and
//! complements (categories that are bought with them). Shoppers have favourite categories and
//! differ much in activity. Sessions lead from views to carts to purchases. The same settings give
//! the same rows.

use crate::error::{DataError, Result};
use crate::time::DAY_MILLIS;
use aisle_math::random::SplitMix;
use arrow_array::{
    ArrayRef, Float32Array, RecordBatch, StringArray, TimestampMillisecondArray, UInt32Array,
    UInt64Array,
};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The size of a synthetic shop.
#[derive(Clone, Copy, Debug)]
pub struct Generator {
    /// The number of events, 1 or more; the last session is cut to fit.
    pub events: u64,
    /// The number of shoppers to draw from, 1 or more.
    pub users: u32,
    /// The number of items, 1 or more.
    pub items: u32,
    /// The number of days that the log covers, 1 or more.
    pub days: u32,
    /// Seed of the random numbers.
    pub seed: u64,
}

/// The number of rows that are written at a time.
const BATCH_ROWS: usize = 1 << 19;
/// The first day of the log, 2024-01-01 UTC, in milliseconds.
const START_MILLIS: i64 = 1_704_067_200_000;

/// Events that are to be written.
#[derive(Default)]
struct Rows {
    user: Vec<u32>,
    item: Vec<u32>,
    kind: Vec<&'static str>,
    time: Vec<i64>,
    session: Vec<u64>,
    price: Vec<f32>,
}

impl Generator {
    /// The number of categories: half the square root of the number of items.
    fn categories(&self) -> u32 {
        (f64::from(self.items).sqrt() as u32 / 2).clamp(1, 2000)
    }

    /// Draws an item of a category. A category holds every `categories`-th item, the most popular
    /// first.
    fn draw_item(&self, category: u32, random: &mut SplitMix) -> u32 {
        let categories = self.categories();
        let count = (self.items - category).div_ceil(categories).max(1);
        // The number of items to the power of a uniform number is distributed by Zipf's law.
        let rank = (f64::from(count).powf(f64::from(random.uniform())) as u32 - 1).min(count - 1);
        category + rank * categories
    }

    /// The price of an item: log-normal around the level of its category.
    fn price(&self, item: u32) -> f32 {
        let mut random = SplitMix(self.seed ^ 0x5EED ^ u64::from(item));
        let level = 2.0 + (item % self.categories() % 17) as f32;
        ((level * (0.5 * random.normal()).exp() * 100.0).round() / 100.0).max(0.05)
    }

    /// Draws the category of a session: mostly one of the shopper's four favourites, and categories
    /// in season more often than others.
    fn draw_category(&self, user: u32, day: u32, random: &mut SplitMix) -> u32 {
        let categories = self.categories();
        let mut category = 0;
        for _ in 0..4 {
            category = match random.uniform() {
                u if u < 0.7 => {
                    let favourite = u64::from(user) << 8 | (random.uniform() * 4.0) as u64;
                    (SplitMix(self.seed ^ favourite).draw() % u64::from(categories)) as u32
                }
                _ => (random.uniform() * categories as f32) as u32,
            };
            let phase = (day % 365) as f32 / 365.0 + (category % 12) as f32 / 12.0;
            if random.uniform() < 0.65 + 0.35 * (phase * std::f32::consts::TAU).sin() {
                break;
            }
        }
        category.min(categories - 1)
    }

    /// Appends the events of a session.
    fn append_session(&self, number: u64, rows: &mut Rows) {
        let mut random = SplitMix(self.seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        // The product of two uniform numbers is mostly small, so a few shoppers are very active.
        let user = ((random.uniform() * random.uniform()) * self.users as f32) as u32 % self.users;
        let day = (random.uniform() * self.days as f32) as u32;
        let mut time = START_MILLIS
            + i64::from(day) * DAY_MILLIS
            + (random.uniform() * DAY_MILLIS as f32) as i64;
        let mut category = self.draw_category(user, day, &mut random);
        let length = 1 + (random.uniform() * random.uniform() * 14.0) as usize;
        for _ in 0..length {
            let item = self.draw_item(category, &mut random);
            let mut append = |kind, time| {
                rows.user.push(user);
                rows.item.push(item);
                rows.kind.push(kind);
                rows.time.push(time);
                rows.session.push(number);
                rows.price.push(self.price(item));
            };
            append("view", time);
            let interest = random.uniform();
            if interest < 0.3 {
                append("cart", time + 20_000);
            }
            if interest < 0.15 {
                append("purchase", time + 60_000);
                // The complement of a category is the next one.
                category = (category + 1) % self.categories();
            }
            time += 90_000;
        }
    }

    /// Writes `events.parquet` and `items.parquet` into a folder. O(events) time, and memory for
    /// one batch of rows.
    ///
    /// # Errors
    /// [`DataError::Setting`] for sizes of 0, [`DataError::Unwritable`] if writing fails.
    pub fn write(&self, folder: &Path) -> Result<()> {
        self.check_sizes()?;
        std::fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))?;
        self.write_items(&folder.join("items.parquet"))?;
        self.write_events(&folder.join("events.parquet"))
    }

    fn check_sizes(&self) -> Result<()> {
        for (name, size) in [
            ("events", self.events),
            ("users", self.users.into()),
            ("items", self.items.into()),
            ("days", self.days.into()),
        ] {
            if size == 0 {
                return Err(DataError::Setting {
                    name: name.into(),
                    found: "0".into(),
                    expected: "1 or more".into(),
                });
            }
        }
        Ok(())
    }

    fn write_items(&self, path: &Path) -> Result<()> {
        let categories = self.categories();
        let paths = (0..self.items).map(|item| {
            let category = item % categories;
            let department = category % 20;
            Some(format!("Department {department} > Category {category}"))
        });
        let ids = UInt32Array::from_iter_values(0..self.items);
        let prices = (0..self.items).map(|item| self.price(item));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("item_id", Arc::new(ids)),
            ("category", Arc::new(paths.collect::<StringArray>())),
            ("price", Arc::new(Float32Array::from_iter_values(prices))),
        ];
        let mut writer = Writer::create(path, &columns)?;
        writer.write(columns)?;
        writer.close()
    }

    fn write_events(&self, path: &Path) -> Result<()> {
        let mut rows = Rows::default();
        let (mut left, mut session) = (self.events, 0u64);
        let mut writer = Writer::create(path, &rows.columns())?;
        while left > 0 {
            while rows.user.len() < BATCH_ROWS && (rows.user.len() as u64) < left {
                self.append_session(session, &mut rows);
                session += 1;
            }
            rows.truncate(left);
            left -= rows.user.len() as u64;
            writer.write(rows.columns())?;
            rows = Rows::default();
        }
        writer.close()
    }
}

impl Rows {
    fn truncate(&mut self, max_rows: u64) {
        let rows = usize::try_from(max_rows).unwrap_or(usize::MAX);
        self.user.truncate(rows);
        self.item.truncate(rows);
        self.kind.truncate(rows);
        self.time.truncate(rows);
        self.session.truncate(rows);
        self.price.truncate(rows);
    }

    fn columns(&self) -> Vec<(&'static str, ArrayRef)> {
        vec![
            ("user_id", Arc::new(UInt32Array::from(self.user.clone()))),
            ("item_id", Arc::new(UInt32Array::from(self.item.clone()))),
            (
                "event_type",
                Arc::new(StringArray::from_iter_values(&self.kind)),
            ),
            (
                "timestamp",
                Arc::new(TimestampMillisecondArray::from(self.time.clone())),
            ),
            (
                "session_id",
                Arc::new(UInt64Array::from(self.session.clone())),
            ),
            ("price", Arc::new(Float32Array::from(self.price.clone()))),
        ]
    }
}

/// A Parquet file that is being written.
struct Writer {
    path: PathBuf,
    writer: ArrowWriter<File>,
}

impl Writer {
    fn create(path: &Path, columns: &[(&'static str, ArrayRef)]) -> Result<Self> {
        let file = File::create(path).map_err(|error| unwritable(path, &error))?;
        let level = ZstdLevel::try_new(1).map_err(|error| unwritable(path, &error))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .build();
        let schema = RecordBatch::try_from_iter(columns.iter().cloned())
            .map_err(|error| unwritable(path, &error))?
            .schema();
        let writer = ArrowWriter::try_new(file, schema, Some(properties))
            .map_err(|error| unwritable(path, &error))?;
        Ok(Self {
            path: path.into(),
            writer,
        })
    }

    fn write(&mut self, columns: Vec<(&'static str, ArrayRef)>) -> Result<()> {
        let batch =
            RecordBatch::try_from_iter(columns).map_err(|error| unwritable(&self.path, &error))?;
        self.writer
            .write(&batch)
            .map_err(|error| unwritable(&self.path, &error))
    }

    fn close(self) -> Result<()> {
        self.writer
            .close()
            .map(|_| ())
            .map_err(|error| unwritable(&self.path, &error))
    }
}

fn unwritable(path: &Path, error: &dyn std::fmt::Display) -> DataError {
    DataError::Unwritable {
        path: path.into(),
        detail: error.to_string(),
    }
}
