//! The versions that answer: loaded beside those in service, swapped without a lost request.
//!
//! In: the files of a registry, and the changes that clients ask for. Out: a [`RoutedVersion`] for
//! each request. Requests read only [`Router`], take no lock and touch no file.
//!
//! - `traffic.rs`: which alias a user belongs to.
//! - `item_cache.rs`: the encoded fields of a version's items.
//! - `served_version.rs`: one version in memory with prices, stock and rules laid over it.
//! - `routes.rs`: what requests see, replaced as a whole.
//! - `state.rs`: [`Versions`], and the one state behind one lock.
//! - `loading_pool.rs`: threads of low priority on which versions are loaded.
//! - `loader.rs`: reads, verifies and warms versions, if there is memory for them.
//! - `follower.rs`: brings the routes in line with the registry.
//! - `administration.rs`: the changes that clients ask for.
//!
//! What may be changed here: how often the registry is read, how long versions are kept, and how
//! they are loaded. That nothing holds the lock during a load must stay.

mod administration;
mod follower;
mod item_cache;
mod loader;
mod loading_pool;
mod routes;
mod served_version;
mod state;
pub mod traffic;

pub use administration::ChangedItems;
pub use follower::{follow_aliases, follow_changes};
pub use item_cache::{CachedPrice, ItemCache};
pub use loading_pool::LoadingPool;
pub use routes::{RoutedVersion, Router, VersionTarget};
pub use served_version::ServedVersion;
pub use state::{VersionState, Versions, VersionsConfig};
