//! Whether a model reads pictures, as far as the catalog knows: of one that does not, the answer may ignore what was paid for.

use crate::{
    catalog::{Capability, Catalog, Model},
    config::Settings,
};

/// Whether the catalog knows the model, and knows it as one that does not read pictures. Of providers of one's own and of servers on this machine it knows nothing.
pub(super) fn is_blind(settings: &Settings, name: &str) -> bool {
    let name = settings.model_aliases.all.get(name).map_or(name, String::as_str);
    let mut own = settings.providers.iter().filter(|(_, provider)| provider.base_url.is_some());
    let provider = name.split_once('/').map(|(provider, _)| provider);
    if own.any(|(id, config)| provider == Some(id.as_str()) || config.models.iter().any(|model| model == name)) {
        return false;
    }
    let catalog = Catalog::embedded();
    let named = name.split_once('/').and_then(|(provider, model)| catalog.model(provider, model));
    let sold: Vec<&Model> = named.map_or_else(|| catalog.models_called(name), |model| vec![model]);
    !sold.is_empty() && !sold.iter().any(|model| model.capabilities.has(Capability::Vision))
}
