//! What requests see: which versions are in service, and which of them answers a request.
//!
//! A request reads one immutable set of routes and takes no lock.

use crate::error::ServeError;
use crate::versions::served_version::ServedVersion;
use crate::versions::traffic::TrafficSplit;
use aisle_models::{FittedModels, LiveState};
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One consistent set of versions in service.
#[derive(Default)]
pub(super) struct Routes {
    /// The version that each alias leads to.
    pub by_alias: BTreeMap<String, Arc<ServedVersion>>,
    /// All versions in service by name: those of the aliases, and the one that a client loaded.
    pub by_version: BTreeMap<String, Arc<ServedVersion>>,
    /// Why the alias that the server follows leads to no version; empty if it does.
    pub not_ready: String,
}

/// Which version a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionTarget<'a> {
    /// The version of this name.
    Version(&'a str),
    /// The version that this alias leads to.
    Alias(&'a str),
    /// The version that the traffic split has for this user id; empty for a request without one.
    SplitByUser(&'a str),
}

/// A version that was chosen for one request, which makes the whole answer.
pub struct RoutedVersion {
    /// The version.
    pub version: Arc<ServedVersion>,
    /// Prices, stock and rules at the start of the request.
    pub live: Arc<LiveState>,
    /// The alias that led to the version; empty if the request named the version itself.
    pub alias: String,
}

impl RoutedVersion {
    fn new(version: &Arc<ServedVersion>, alias: &str) -> Self {
        Self {
            live: version.live(),
            version: version.clone(),
            alias: alias.into(),
        }
    }

    /// The models that the answer is made from.
    pub fn models(&self) -> &FittedModels {
        self.version.models()
    }
}

/// Leads requests to versions.
pub struct Router {
    /// The alias that the server follows.
    alias: String,
    split: TrafficSplit,
    routes: ArcSwap<Routes>,
}

impl Router {
    /// Returns a router without versions. `alias` answers where a request and the split name
    /// nothing else.
    pub(super) fn new(alias: String, split: TrafficSplit) -> Self {
        let not_ready = "the registry was not read yet".to_string();
        Self {
            alias,
            split,
            routes: ArcSwap::from_pointee(Routes {
                not_ready,
                ..Routes::default()
            }),
        }
    }

    /// The alias that the server follows.
    pub fn alias(&self) -> &str {
        &self.alias
    }

    /// Whether the alias that the server follows leads to a version.
    pub fn is_ready(&self) -> bool {
        self.routes.load().by_alias.contains_key(&self.alias)
    }

    /// Returns the version that answers a request. Takes no lock.
    ///
    /// # Errors
    /// [`ServeError::UnknownAlias`], [`ServeError::NotLoaded`] and [`ServeError::NotReady`].
    pub fn route(&self, target: VersionTarget) -> Result<RoutedVersion, ServeError> {
        let routes = self.routes.load();
        match target {
            VersionTarget::Version(name) => match routes.by_version.get(name) {
                Some(version) => Ok(RoutedVersion::new(version, "")),
                None => Err(ServeError::NotLoaded {
                    version: name.into(),
                    loaded: routes.by_version.keys().cloned().collect(),
                }),
            },
            VersionTarget::Alias(alias) => match routes.by_alias.get(alias) {
                Some(version) => Ok(RoutedVersion::new(version, alias)),
                None => Err(ServeError::UnknownAlias {
                    alias: alias.into(),
                    known: routes.by_alias.keys().cloned().collect(),
                }),
            },
            VersionTarget::SplitByUser(user) => {
                // A canary that is missing must cost no request: its users get the alias that the
                // server follows.
                [self.split.alias(user), &self.alias]
                    .into_iter()
                    .find_map(|alias| Some((alias, routes.by_alias.get(alias)?)))
                    .map(|(alias, version)| RoutedVersion::new(version, alias))
                    .ok_or_else(|| self.not_ready(&routes))
            }
        }
    }

    /// The refusal of a request that no version can answer yet.
    pub(super) fn not_ready_error(&self) -> ServeError {
        self.not_ready(&self.routes.load())
    }

    fn not_ready(&self, routes: &Routes) -> ServeError {
        ServeError::NotReady {
            why: routes.not_ready.clone(),
            alias: self.alias.clone(),
        }
    }

    /// The aliases in service with the names of their versions, by alias.
    pub fn aliases(&self) -> Vec<(String, String)> {
        let routes = self.routes.load();
        let by_alias = routes.by_alias.iter();
        by_alias
            .map(|(alias, version)| (alias.clone(), version.name().to_string()))
            .collect()
    }

    /// The routes in force.
    pub(super) fn routes(&self) -> Arc<Routes> {
        self.routes.load_full()
    }

    /// Puts other routes in force and returns those before. Requests that started keep theirs.
    pub(super) fn replace(&self, routes: Arc<Routes>) -> Arc<Routes> {
        self.routes.swap(routes)
    }
}
