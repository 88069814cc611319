//! `ModelService`: the versions in the registry, those in service, and the items of the shop.

use crate::error::ServeError;
use crate::services::convert::item_updates::item_updates;
use crate::services::run_blocking;
use crate::versions::{LoadingPool, VersionState, Versions};
use aisle_models::{Aliases, ListedVersion};
use aisle_proto::model_service_server::ModelService;
use aisle_proto::model_version::State;
use aisle_proto::{
    Alias, ListVersionsRequest, ListVersionsResponse, LoadVersionRequest, ModelVersion,
    RollbackRequest, SetAliasRequest, UpdateItemsRequest, UpdateItemsResponse,
};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The service.
pub struct Models {
    versions: Arc<Versions>,
    pool: Arc<LoadingPool>,
}

impl Models {
    /// Administers the versions in service, and loads others on a pool.
    pub fn new(versions: Arc<Versions>, pool: Arc<LoadingPool>) -> Self {
        Self { versions, pool }
    }

    /// Runs work that blocks, but waits for no load.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Versions) -> Result<T, ServeError> + Send + 'static,
    ) -> Result<T, ServeError> {
        run_blocking(&self.versions, work).await
    }

    /// Brings a version into memory. One that is there already waits for no other load.
    async fn load(&self, model: String, version: String) -> Result<(), ServeError> {
        let name = version.clone();
        let is_loaded = self
            .blocking(move |versions| {
                versions.resolve_model(&model)?;
                Ok(versions.is_loaded(&name))
            })
            .await?;
        if !is_loaded {
            let versions = self.versions.clone();
            self.pool
                .run(move || versions.load(&version).map(drop))
                .await??;
        }
        Ok(())
    }
}

/// An alias as the registry has it.
fn alias_to_proto(model: &str, aliases: &Aliases, name: &str) -> Alias {
    let mut alias = Alias {
        model: model.into(),
        alias: name.into(),
        ..Alias::default()
    };
    if let Some(known) = aliases.aliases.get(name) {
        alias.version = known.version.clone();
        alias.since = known.since.clone();
        alias.previous = known.previous.clone();
    }
    alias
}

/// A version of the registry, with its state here and the aliases that point at it.
fn version_to_proto(
    versions: &Versions,
    model: &str,
    aliases: &Aliases,
    listed: ListedVersion,
) -> ModelVersion {
    let pointing = aliases
        .aliases
        .iter()
        .filter(|(_, alias)| alias.version == listed.version);
    let mut version = ModelVersion {
        model: model.into(),
        aliases: pointing.map(|(name, _)| name.clone()).collect(),
        version: listed.version,
        ..ModelVersion::default()
    };
    let manifest = match listed.manifest {
        Ok(manifest) => manifest,
        Err(error) => {
            version.failure = error.to_string();
            version.set_state(State::Failed);
            return version;
        }
    };
    version.algorithm = manifest.algorithm;
    version.users = manifest.counts.users as u64;
    version.items = manifest.counts.items as u64;
    version.interactions = manifest.counts.interactions as u64;
    version.metrics = manifest.metrics.into_iter().collect();
    let state = match versions.version_state(&version.version) {
        VersionState::Discovered => State::Discovered,
        VersionState::Ready => State::Ready,
        VersionState::Failed(reason) => {
            version.failure = reason;
            State::Failed
        }
    };
    version.set_state(state);
    version
}

fn list_versions(versions: &Versions, model: &str) -> Result<ListVersionsResponse, ServeError> {
    let model = versions.resolve_model(model)?;
    let aliases = versions.registry().aliases(&model)?;
    let listed = versions.registry().versions(&model)?;
    let names = aliases.aliases.keys();
    Ok(ListVersionsResponse {
        versions: listed
            .into_iter()
            .map(|listed| version_to_proto(versions, &model, &aliases, listed))
            .collect(),
        aliases: names
            .map(|name| alias_to_proto(&model, &aliases, name))
            .collect(),
    })
}

#[tonic::async_trait]
impl ModelService for Models {
    async fn list_versions(
        &self,
        request: Request<ListVersionsRequest>,
    ) -> Result<Response<ListVersionsResponse>, Status> {
        let model = request.into_inner().model;
        let listed = self.blocking(move |versions| list_versions(versions, &model));
        Ok(Response::new(listed.await?))
    }

    async fn load_version(
        &self,
        request: Request<LoadVersionRequest>,
    ) -> Result<Response<ModelVersion>, Status> {
        let LoadVersionRequest { model, version } = request.into_inner();
        self.load(model.clone(), version.clone()).await?;
        let put_in_service = move |versions: &Versions| {
            versions.load_version(&version)?;
            let listed = list_versions(versions, &model)?.versions;
            let found = listed.into_iter().find(|listed| listed.version == version);
            found.ok_or_else(|| ServeError::Internal("a loaded version left the registry".into()))
        };
        Ok(Response::new(self.blocking(put_in_service).await?))
    }

    async fn set_alias(
        &self,
        request: Request<SetAliasRequest>,
    ) -> Result<Response<Alias>, Status> {
        let SetAliasRequest {
            model,
            alias,
            version,
        } = request.into_inner();
        self.load(model, version.clone()).await?;
        let set_alias = move |versions: &Versions| {
            let aliases = versions.set_alias(&alias, &version)?;
            Ok(alias_to_proto(&versions.model()?, &aliases, &alias))
        };
        Ok(Response::new(self.blocking(set_alias).await?))
    }

    async fn rollback(&self, request: Request<RollbackRequest>) -> Result<Response<Alias>, Status> {
        let RollbackRequest { model, alias } = request.into_inner();
        let (requested_model, name) = (model.clone(), alias.clone());
        let earlier = self
            .blocking(move |versions| {
                versions.resolve_model(&requested_model)?;
                versions.earlier_version(&name)
            })
            .await?;
        self.load(model, earlier).await?;
        let rollback = move |versions: &Versions| {
            let aliases = versions.rollback(&alias)?;
            Ok(alias_to_proto(&versions.model()?, &aliases, &alias))
        };
        Ok(Response::new(self.blocking(rollback).await?))
    }

    async fn update_items(
        &self,
        request: Request<UpdateItemsRequest>,
    ) -> Result<Response<UpdateItemsResponse>, Status> {
        let UpdateItemsRequest { model, updates } = request.into_inner();
        let update = move |versions: &Versions| {
            versions.resolve_model(&model)?;
            let updates = item_updates(updates, |id| versions.currency_of(id))?;
            let changed = versions.change_items(updates)?;
            Ok(UpdateItemsResponse {
                unknown_item_ids: changed.unknown,
                changed_items: changed.in_force as u64,
            })
        };
        Ok(Response::new(self.blocking(update).await?))
    }
}
