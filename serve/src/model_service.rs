//! `ModelService`: what is in the registry, what is loaded here, and where the aliases point.

use crate::ask;
use crate::background::{Background, PATIENCE};
use crate::error::ServeError;
use crate::live::{Live, State, Version};
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

    /// What does not wait for versions that are being loaded.
    async fn at_once<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Live) -> Result<T, ServeError> + Send + 'static,
    ) -> Result<T, Status> {
        let live = self.live.clone();
        let outcome: Result<Result<_, ServeError>, _> = tokio::task::spawn_blocking(move || work(&live)).await;
        Ok(outcome.map_err(|error| ServeError::Internal(error.to_string()))??)
    }

    /// Loads a version beside the serving threads; what follows finds it in memory.
    async fn bring(&self, model: String, version: String) -> Result<Arc<Version>, Status> {
        self.at_once(move |live| live.check_model(&model)).await?;
        let live = self.live.clone();
        Ok(self.background.run(PATIENCE, move || live.bring(&version)).await??)
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
        let LoadVersionRequest { model, version } = request.into_inner();
        let _loaded = self.bring(model.clone(), version.clone()).await?;
        let pin = move |live: &Live| {
            live.pin(&version)?;
            let listed = list(live, &model)?;
            let found = listed.versions.into_iter().find(|listed| listed.version == version);
            found.ok_or_else(|| ServeError::Internal("a loaded version left the registry".into()))
        };
        Ok(Response::new(self.at_once(pin).await?))
    }

    async fn set_alias(&self, request: Request<SetAliasRequest>) -> Result<Response<Alias>, Status> {
        let SetAliasRequest { model, alias, version } = request.into_inner();
        let _loaded = self.bring(model, version.clone()).await?;
        let point = move |live: &Live| Ok(alias_of(&live.model()?, &live.set_alias(&alias, &version)?, &alias));
        Ok(Response::new(self.at_once(point).await?))
    }

    async fn rollback(&self, request: Request<RollbackRequest>) -> Result<Response<Alias>, Status> {
        let RollbackRequest { model, alias } = request.into_inner();
        let (asked, of) = (model.clone(), alias.clone());
        let earlier = self.at_once(move |live| live.check_model(&asked).and_then(|_| live.earlier(&of))).await?;
        let _loaded = self.bring(model, earlier).await?;
        let point = move |live: &Live| Ok(alias_of(&live.model()?, &live.rollback(&alias)?, &alias));
        Ok(Response::new(self.at_once(point).await?))
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
