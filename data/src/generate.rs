//! A synthetic shop: logs of any size with the structure of real ones, for tests of scale where no real log is at hand.
//!
//! Items have Zipf popularity inside categories, categories have seasons and complements (what is bought with them), shoppers have
//! favourite categories and very different activity, sessions run from views to carts to orders. The same settings give the
//! same rows.

use crate::split_mix::SplitMix;
use crate::{DataError, Result};
use arrow_array::{ArrayRef, Float32Array, RecordBatch, StringArray, TimestampMillisecondArray, UInt32Array, UInt64Array};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// How large the shop is.
#[derive(Clone, Copy, Debug)]
pub struct Generator {
    /// Rows of events, 1 or more; the last session is cut to fit.
    pub events: u64,
    /// Shoppers, 1 or more.
    pub users: u32,
    /// Items, 1 or more.
    pub items: u32,
    /// Days that the log covers, 1 or more.
    pub days: u32,
    /// Of the draws.
    pub seed: u64,
}

/// Rows of one batch.
const BATCH: usize = 1 << 19;
const DAY_MS: i64 = 86_400_000;
/// 2024-01-01.
const START_MS: i64 = 1_704_067_200_000;

/// Rows waiting to be written.
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
    fn categories(&self) -> u32 {
        (f64::from(self.items).sqrt() as u32 / 2).clamp(1, 2000)
    }

    /// The items of a category: every `categories`-th, the most popular first.
    fn item(&self, category: u32, random: &mut SplitMix) -> u32 {
        let categories = self.categories();
        let count = (self.items - category).div_ceil(categories).max(1);
        // A power of the number with a uniform exponent falls off as Zipf's law.
        let rank = (f64::from(count).powf(f64::from(random.uniform())) as u32 - 1).min(count - 1);
        category + rank * categories
    }

    fn price(&self, item: u32) -> f32 {
        let mut own = SplitMix(self.seed ^ 0x5EED ^ u64::from(item));
        let level = 2.0 + (item % self.categories() % 17) as f32;
        ((level * (0.5 * own.normal()).exp() * 100.0).round() / 100.0).max(0.05)
    }

    /// The category of a session: often a favourite of the shopper, and more so in its season.
    fn category(&self, user: u32, day: u32, random: &mut SplitMix) -> u32 {
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

    fn session(&self, number: u64, rows: &mut Rows) {
        let mut random = SplitMix(self.seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        // Few shoppers are busy: the square of a uniform number.
        let user = ((random.uniform() * random.uniform()) * self.users as f32) as u32 % self.users;
        let day = (random.uniform() * self.days as f32) as u32;
        let mut time = START_MS + i64::from(day) * DAY_MS + (random.uniform() * DAY_MS as f32) as i64;
        let mut category = self.category(user, day, &mut random);
        let length = 1 + (random.uniform() * random.uniform() * 14.0) as usize;
        for _ in 0..length {
            let item = self.item(category, &mut random);
            let mut add = |kind, time| {
                rows.user.push(user);
                rows.item.push(item);
                rows.kind.push(kind);
                rows.time.push(time);
                rows.session.push(number);
                rows.price.push(self.price(item));
            };
            add("view", time);
            let interest = random.uniform();
            if interest < 0.3 {
                add("cart", time + 20_000);
            }
            if interest < 0.15 {
                add("purchase", time + 60_000);
                // What goes with it lies in the next category.
                category = (category + 1) % self.categories();
            }
            time += 90_000;
        }
    }

    /// Writes `events.parquet` and `items.parquet` into a folder. O(events); memory is that of one batch.
    ///
    /// # Errors
    /// [`DataError`] for sizes of 0 and what writing returns.
    pub fn write(&self, folder: &Path) -> Result<()> {
        for (name, size) in
            [("events", self.events), ("users", self.users.into()), ("items", self.items.into()), ("days", self.days.into())]
        {
            if size == 0 {
                return Err(DataError::Setting { name: name.into(), found: "0".into(), expected: "1 or more".into() });
            }
        }
        std::fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))?;
        let categories = self.categories();
        let names =
            (0..self.items).map(|item| Some(format!("Department {} > Category {}", item % categories % 20, item % categories)));
        let items: Vec<(&str, ArrayRef)> = vec![
            ("item_id", Arc::new(UInt32Array::from_iter_values(0..self.items))),
            ("category", Arc::new(names.collect::<StringArray>())),
            ("price", Arc::new(Float32Array::from_iter_values((0..self.items).map(|item| self.price(item))))),
        ];
        let mut writer = Writer::create(&folder.join("items.parquet"), &items)?;
        writer.add(items)?;
        writer.close()?;

        let mut rows = Rows::default();
        let (mut left, mut session) = (self.events, 0u64);
        let mut writer = Writer::create(&folder.join("events.parquet"), &rows.columns())?;
        while left > 0 {
            while rows.user.len() < BATCH && (rows.user.len() as u64) < left {
                self.session(session, &mut rows);
                session += 1;
            }
            rows.truncate(left);
            left -= rows.user.len() as u64;
            writer.add(rows.columns())?;
            rows = Rows::default();
        }
        writer.close()
    }
}

impl Rows {
    fn truncate(&mut self, most: u64) {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        self.user.truncate(most);
        self.item.truncate(most);
        self.kind.truncate(most);
        self.time.truncate(most);
        self.session.truncate(most);
        self.price.truncate(most);
    }

    fn columns(&self) -> Vec<(&'static str, ArrayRef)> {
        vec![
            ("user_id", Arc::new(UInt32Array::from(self.user.clone()))),
            ("item_id", Arc::new(UInt32Array::from(self.item.clone()))),
            ("event_type", Arc::new(StringArray::from_iter_values(&self.kind))),
            ("timestamp", Arc::new(TimestampMillisecondArray::from(self.time.clone()))),
            ("session_id", Arc::new(UInt64Array::from(self.session.clone()))),
            ("price", Arc::new(Float32Array::from(self.price.clone()))),
        ]
    }
}

/// One Parquet file in the making.
struct Writer {
    path: std::path::PathBuf,
    writer: ArrowWriter<File>,
}

impl Writer {
    fn create(path: &Path, columns: &[(&'static str, ArrayRef)]) -> Result<Self> {
        let file = File::create(path).map_err(|error| unwritable(path, &error))?;
        let level = ZstdLevel::try_new(1).map_err(|error| unwritable(path, &error))?;
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
        let schema = RecordBatch::try_from_iter(columns.iter().cloned()).map_err(|error| unwritable(path, &error))?.schema();
        let writer = ArrowWriter::try_new(file, schema, Some(properties)).map_err(|error| unwritable(path, &error))?;
        Ok(Self { path: path.into(), writer })
    }

    fn add(&mut self, columns: Vec<(&'static str, ArrayRef)>) -> Result<()> {
        let batch = RecordBatch::try_from_iter(columns).map_err(|error| unwritable(&self.path, &error))?;
        self.writer.write(&batch).map_err(|error| unwritable(&self.path, &error))
    }

    fn close(self) -> Result<()> {
        self.writer.close().map(|_| ()).map_err(|error| unwritable(&self.path, &error))
    }
}

fn unwritable(path: &Path, error: &dyn std::fmt::Display) -> DataError {
    DataError::Unwritable { path: path.into(), detail: error.to_string() }
}
