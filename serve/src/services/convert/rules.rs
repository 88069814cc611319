//! Rules and controls, in both directions.

use aisle_models::{Boost, Controls, ExcludeBought, Pin, Rule, RuleSet};
use aisle_proto::{self as proto, rule};

/// Converts the controls of a request or a rule; absent ones set nothing.
pub fn controls(controls: Option<&proto::Controls>) -> Controls {
    let Some(controls) = controls else {
        return Controls::default();
    };
    Controls {
        max_per_brand: controls.max_per_brand,
        max_per_category: controls.max_per_category,
        diversity: controls.diversity,
        rotation: controls.rotation,
        min_relevance: controls.min_relevance,
    }
}

/// Converts a rule of a request. Whether it can hold is checked when it is set.
pub fn rule_from_proto(rule: proto::Rule) -> Rule {
    let non_empty = |text: String| Some(text).filter(|text| !text.is_empty());
    let controls = controls(rule.controls.as_ref());
    let pin = |pin: rule::Pin| Pin {
        item_id: pin.item_id,
        position: pin.position,
    };
    Rule {
        name: rule.name,
        placements: rule.placements,
        when: non_empty(rule.when),
        from: non_empty(rule.from),
        until: non_empty(rule.until),
        only: non_empty(rule.only),
        exclude: non_empty(rule.exclude),
        boost: rule.boost.map(|boost| Boost {
            items: boost.items,
            factor: boost.factor,
        }),
        pins: rule.pins.into_iter().map(pin).collect(),
        exclude_bought: rule.exclude_bought.map(|bought| ExcludeBought {
            days: bought.days,
            items: non_empty(bought.items),
        }),
        max_per_brand: controls.max_per_brand,
        max_per_category: controls.max_per_category,
        diversity: controls.diversity,
        rotation: controls.rotation,
        min_relevance: controls.min_relevance,
    }
}

/// Converts the rules in force.
pub fn rule_set_to_proto(set: &RuleSet) -> proto::RuleSet {
    proto::RuleSet {
        revision: set.revision,
        rules: set.rules.iter().map(rule_to_proto).collect(),
    }
}

fn rule_to_proto(rule: &Rule) -> proto::Rule {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let controls = rule.controls();
    let proto_controls = proto::Controls {
        diversity: controls.diversity,
        max_per_brand: controls.max_per_brand,
        max_per_category: controls.max_per_category,
        min_relevance: controls.min_relevance,
        rotation: controls.rotation,
    };
    let pin = |pin: &Pin| rule::Pin {
        item_id: pin.item_id.clone(),
        position: pin.position,
    };
    proto::Rule {
        name: rule.name.clone(),
        placements: rule.placements.clone(),
        when: text(&rule.when),
        from: text(&rule.from),
        until: text(&rule.until),
        only: text(&rule.only),
        exclude: text(&rule.exclude),
        boost: rule.boost.as_ref().map(|boost| rule::Boost {
            items: boost.items.clone(),
            factor: boost.factor,
        }),
        pins: rule.pins.iter().map(pin).collect(),
        exclude_bought: rule
            .exclude_bought
            .as_ref()
            .map(|bought| rule::ExcludeBought {
                days: bought.days,
                items: text(&bought.items),
            }),
        controls: (controls != Controls::default()).then_some(proto_controls),
    }
}
