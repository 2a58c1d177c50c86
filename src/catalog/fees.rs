//! Models that search the web for each answer, and charge for that beside the tokens. Price lists of those who resell them seldom say so; such a model is sold
//! with the fee of its maker, or, where nobody states one, not at all.

use std::collections::HashMap;

use super::models::Model;
use crate::domain::money::Rate;

/// Adds the fee to every such model that is listed without one.
pub(super) fn add(models: &mut [Model]) {
    let mut known: HashMap<Box<str>, Rate> = HashMap::new();
    for model in models.iter().filter(|model| searches(bare(&model.id))) {
        if let Some(fee) = model.prices().and_then(|prices| prices.rates.request) {
            let most = known.entry(bare(&model.id).into()).or_default();
            *most = fee.max(*most);
        }
    }
    for model in models.iter_mut().filter(|model| searches(bare(&model.id))) {
        let fee = known.get(bare(&model.id)).copied();
        model.charge_each_request(fee);
    }
}

/// The model's own name, without that of a vendor.
fn bare(id: &str) -> &str {
    id.rsplit_once('/').map_or(id, |(_, bare)| bare)
}

/// Whether a model of this name searches by itself.
fn searches(bare: &str) -> bool {
    let is_sonar = bare.starts_with("sonar") && !bare.ends_with("-chat");
    let is_online = bare.ends_with("-online") || bare.ends_with(":online");
    is_sonar || is_online || ["search-preview", "preview-search", "search-api", "deep-research"].iter().any(|part| bare.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_that_search_by_themselves_are_known_by_their_names() {
        for name in [
            "sonar",
            "sonar-pro",
            "sonar-pro-search",
            "gpt-4o-search-preview-2025-03-11",
            "gpt-5-search-api",
            "o3-deep-research",
            "x-online",
        ] {
            assert!(searches(name), "{name}");
        }
        for name in ["sonar-small-chat", "gpt-5", "nous-research", "relace-search", "claude-opus-5"] {
            assert!(!searches(name), "{name}");
        }
    }
}
