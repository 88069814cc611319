//! `RuleService`: the rules in force, and their changes.

use crate::error::ServeError;
use crate::services::convert::rules::{rule_from_proto, rule_set_to_proto};
use crate::services::run_blocking;
use crate::versions::Versions;
use aisle_models::RuleSet;
use aisle_proto::rule_service_server::RuleService;
use aisle_proto::{self as proto, GetRulesRequest, RollbackRulesRequest, SetRulesRequest};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The service.
pub struct Rules {
    versions: Arc<Versions>,
}

impl Rules {
    /// Administers the rules of the versions in service.
    pub fn new(versions: Arc<Versions>) -> Self {
        Self { versions }
    }

    /// Runs work that blocks, if a client's name for the model is right.
    async fn blocking(
        &self,
        model: String,
        work: impl FnOnce(&Versions) -> Result<Arc<RuleSet>, ServeError> + Send + 'static,
    ) -> Result<Response<proto::RuleSet>, Status> {
        let checked = move |versions: &Versions| {
            versions.resolve_model(&model)?;
            work(versions)
        };
        let set = run_blocking(&self.versions, checked).await?;
        Ok(Response::new(rule_set_to_proto(&set)))
    }
}

#[tonic::async_trait]
impl RuleService for Rules {
    async fn get_rules(
        &self,
        request: Request<GetRulesRequest>,
    ) -> Result<Response<proto::RuleSet>, Status> {
        let model = request.into_inner().model;
        self.blocking(model, |versions| Ok(versions.rules())).await
    }

    async fn set_rules(
        &self,
        request: Request<SetRulesRequest>,
    ) -> Result<Response<proto::RuleSet>, Status> {
        let SetRulesRequest {
            model,
            rules,
            expected_revision,
        } = request.into_inner();
        let rules = rules.into_iter().map(rule_from_proto).collect();
        self.blocking(model, move |versions| {
            versions.set_rules(rules, expected_revision)
        })
        .await
    }

    async fn rollback_rules(
        &self,
        request: Request<RollbackRulesRequest>,
    ) -> Result<Response<proto::RuleSet>, Status> {
        let model = request.into_inner().model;
        self.blocking(model, Versions::rollback_rules).await
    }
}
