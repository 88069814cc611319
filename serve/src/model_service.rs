//! `ModelService`: what is in the registry, what is loaded here, and where the aliases point.

use crate::ask;
use crate::background::Background;
use crate::error::ServeError;
use crate::live::{Live, State};
use aisle_models::Aliases;
use aisle_proto::model_service_server::ModelService;
use aisle_proto::model_version::State as ProtoState;
use aisle_proto::{
    Alias, ListVersionsRequest, ListVersionsResponse, LoadVersionRequest, ModelVersion, RollbackRequest, SetAliasRequest,
    UpdateItemsRequest, UpdateItemsResponse,
};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The service.
pub struct Models {
    live: Arc<Live>,
    background: Arc<Background>,
}

impl Models {
    /// Administers the versions in service.
    pub fn new(live: Arc<Live>, background: Arc<Background>) -> Self {
        Self { live, background }
    }

    /// Files and verification take their time: they run beside the serving threads.
    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Live) -> Result<T, ServeError> + Send + 'static,
    ) -> Result<T, Status> {
        let live = self.live.clone();
        Ok(self.background.run(move || work(&live)).await??)
    }

    /// What does not wait for versions that are being loaded.
    async fn at_once<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Live) -> Result<T, ServeError> + Send + 'static,
    ) -> Result<T, Status> {
        let live = self.live.clone();
        let outcome: Result<Result<_, ServeError>, _> = tokio::task::spawn_blocking(move || work(&live)).await;
        Ok(outcome.map_err(|error| ServeError::Internal(error.to_string()))??)
    }

    /// Moves an alias of the served model and returns where it points then.
    async fn move_alias(
        &self,
        model: String,
        alias: String,
        to: impl FnOnce(&Live, &str) -> Result<Aliases, ServeError> + Send + 'static,
    ) -> Result<Response<Alias>, Status> {
        let work = move |live: &Live| {
            let model = live.check_model(&model)?;
            Ok(alias_of(&model, &to(live, &alias)?, &alias))
        };
        Ok(Response::new(self.aside(work).await?))
    }
}

fn alias_of(model: &str, aliases: &Aliases, name: &str) -> Alias {
    let entry = aliases.aliases.get(name);
    Alias {
        model: model.into(),
        alias: name.into(),
        version: entry.map(|entry| entry.version.clone()).unwrap_or_default(),
        since: entry.map(|entry| entry.since.clone()).unwrap_or_default(),
        previous: entry.map(|entry| entry.previous.clone()).unwrap_or_default(),
    }
}

fn list(live: &Live, asked: &str) -> Result<ListVersionsResponse, ServeError> {
    let model = live.check_model(asked)?;
    let aliases = live.registry().aliases(&model)?;
    let versions = live
        .registry()
        .versions(&model)?
        .into_iter()
        .map(|listed| {
            let pointing = aliases.aliases.iter().filter(|(_, alias)| alias.version == listed.version);
            let mut version = ModelVersion {
                model: model.clone(),
                version: listed.version.clone(),
                aliases: pointing.map(|(name, _)| name.clone()).collect(),
                ..ModelVersion::default()
            };
            match listed.manifest {
                Ok(manifest) => {
                    version.algorithm = manifest.algorithm;
                    version.users = manifest.counts.users as u64;
                    version.items = manifest.counts.items as u64;
                    version.interactions = manifest.counts.interactions as u64;
                    version.metrics = manifest.metrics.into_iter().collect();
                    let state = match live.state(&listed.version) {
                        State::Discovered => ProtoState::Discovered,
                        State::Ready => ProtoState::Ready,
                        State::Failed(reason) => {
                            version.failure = reason;
                            ProtoState::Failed
                        }
                    };
                    version.set_state(state);
                }
                Err(error) => {
                    version.failure = error.to_string();
                    version.set_state(ProtoState::Failed);
                }
            }
            version
        })
        .collect();
    let aliases = aliases.aliases.keys().map(|name| alias_of(&model, &aliases, name)).collect();
    Ok(ListVersionsResponse { versions, aliases })
}

#[tonic::async_trait]
impl ModelService for Models {
    async fn list_versions(&self, request: Request<ListVersionsRequest>) -> Result<Response<ListVersionsResponse>, Status> {
        let asked = request.into_inner().model;
        Ok(Response::new(self.at_once(move |live| list(live, &asked)).await?))
    }

    async fn load_version(&self, request: Request<LoadVersionRequest>) -> Result<Response<ModelVersion>, Status> {
        let request = request.into_inner();
        let loaded = self
            .aside(move |live| {
                live.check_model(&request.model)?;
                live.pin(&request.version)?;
                let listed = list(live, &request.model)?;
                let found = listed.versions.into_iter().find(|version| version.version == request.version);
                found.ok_or_else(|| ServeError::Internal("a loaded version left the registry".into()))
            })
            .await?;
        Ok(Response::new(loaded))
    }

    async fn set_alias(&self, request: Request<SetAliasRequest>) -> Result<Response<Alias>, Status> {
        let SetAliasRequest { model, alias, version } = request.into_inner();
        self.move_alias(model, alias, move |live, alias| live.set_alias(alias, &version)).await
    }

    async fn rollback(&self, request: Request<RollbackRequest>) -> Result<Response<Alias>, Status> {
        let RollbackRequest { model, alias } = request.into_inner();
        self.move_alias(model, alias, Live::rollback).await
    }

    async fn update_items(&self, request: Request<UpdateItemsRequest>) -> Result<Response<UpdateItemsResponse>, Status> {
        let UpdateItemsRequest { model, updates } = request.into_inner();
        // What is sold out should be so at once, however much there is to do.
        let work = move |live: &Live| {
            live.check_model(&model)?;
            let news = ask::news(updates, |id| live.currency(id))?;
            let (unknown_item_ids, changed) = live.change_items(news)?;
            Ok(UpdateItemsResponse { unknown_item_ids, changed_items: changed as u64 })
        };
        Ok(Response::new(self.at_once(work).await?))
    }
}
