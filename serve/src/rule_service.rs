//! `RuleService`: the rules in force, and their changes.

use crate::error::ServeError;
use crate::live::Live;
use aisle_models::{Boost, Bought, Controls, Pin, Rule, RuleSet};
use aisle_proto::rule_service_server::RuleService;
use aisle_proto::{self as proto, GetRulesRequest, RollbackRulesRequest, SetRulesRequest, rule};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The service.
pub struct Rules {
    live: Arc<Live>,
}

impl Rules {
    /// Administers the rules of the versions in service.
    pub fn new(live: Arc<Live>) -> Self {
        Self { live }
    }

    async fn aside(
        &self,
        work: impl FnOnce(&Live) -> Result<Arc<RuleSet>, ServeError> + Send + 'static,
    ) -> Result<Response<proto::RuleSet>, Status> {
        let live = self.live.clone();
        let outcome = tokio::task::spawn_blocking(move || work(&live)).await;
        Ok(Response::new(told(&*outcome.map_err(|error| ServeError::Internal(error.to_string()))??)))
    }
}

/// Controls of a request or a rule.
pub fn controls(asked: Option<&proto::Controls>) -> Controls {
    asked.map_or_else(Controls::default, |asked| Controls {
        max_per_brand: asked.max_per_brand,
        max_per_category: asked.max_per_category,
        diversity: asked.diversity,
        rotation: asked.rotation,
        min_relevance: asked.min_relevance,
    })
}

fn understood(asked: proto::Rule) -> Rule {
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    let controls = controls(asked.controls.as_ref());
    Rule {
        name: asked.name,
        placements: asked.placements,
        when: some(asked.when),
        from: some(asked.from),
        until: some(asked.until),
        only: some(asked.only),
        exclude: some(asked.exclude),
        boost: asked.boost.map(|boost| Boost { items: boost.items, factor: boost.factor }),
        pins: asked.pins.into_iter().map(|pin| Pin { item_id: pin.item_id, position: pin.position }).collect(),
        exclude_bought: asked.exclude_bought.map(|bought| Bought { days: bought.days, items: some(bought.items) }),
        max_per_brand: controls.max_per_brand,
        max_per_category: controls.max_per_category,
        diversity: controls.diversity,
        rotation: controls.rotation,
        min_relevance: controls.min_relevance,
    }
}

fn told(set: &RuleSet) -> proto::RuleSet {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let rule = |rule: &Rule| {
        let Controls { max_per_brand, max_per_category, diversity, rotation, min_relevance } = rule.controls();
        let arranged = rule.controls() != Controls::default();
        proto::Rule {
            name: rule.name.clone(),
            placements: rule.placements.clone(),
            when: text(&rule.when),
            from: text(&rule.from),
            until: text(&rule.until),
            only: text(&rule.only),
            exclude: text(&rule.exclude),
            boost: rule.boost.as_ref().map(|boost| rule::Boost { items: boost.items.clone(), factor: boost.factor }),
            pins: rule.pins.iter().map(|pin| rule::Pin { item_id: pin.item_id.clone(), position: pin.position }).collect(),
            exclude_bought: rule
                .exclude_bought
                .as_ref()
                .map(|bought| rule::ExcludeBought { days: bought.days, items: text(&bought.items) }),
            controls: arranged.then_some(proto::Controls { diversity, max_per_brand, max_per_category, min_relevance, rotation }),
        }
    };
    proto::RuleSet { revision: set.revision, rules: set.rules.iter().map(rule).collect() }
}

#[tonic::async_trait]
impl RuleService for Rules {
    async fn get_rules(&self, request: Request<GetRulesRequest>) -> Result<Response<proto::RuleSet>, Status> {
        self.live.check_model(&request.get_ref().model)?;
        Ok(Response::new(told(&self.live.rules())))
    }

    async fn set_rules(&self, request: Request<SetRulesRequest>) -> Result<Response<proto::RuleSet>, Status> {
        let SetRulesRequest { model, rules, expected_revision } = request.into_inner();
        let rules = rules.into_iter().map(understood).collect();
        self.aside(move |live| {
            live.check_model(&model)?;
            live.change_rules(Some(rules), expected_revision)
        })
        .await
    }

    async fn rollback_rules(&self, request: Request<RollbackRulesRequest>) -> Result<Response<proto::RuleSet>, Status> {
        let model = request.into_inner().model;
        self.aside(move |live| {
            live.check_model(&model)?;
            live.change_rules(None, 0)
        })
        .await
    }
}
