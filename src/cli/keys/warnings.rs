//! Names in the lists of a key that nothing is called by. A list with a typo allows less than was meant, and shows it only when a request is refused.

use serde::Serialize;
use serde_json::Value;

use crate::{
    catalog::Catalog,
    cli::known,
    client::{Change, Client, SpendKeyObject},
    config::{Mode, Settings},
    domain::KeySettings,
    gateway::LOCAL_SERVERS,
};

/// Something that is likely not what was meant.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Warning {
    /// What it is about: `models`, `providers` or `name`.
    about: &'static str,
    /// What was written.
    value: String,
    /// A sentence.
    pub(super) message: String,
    /// What may have been meant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nearest: Vec<String>,
}

impl Warning {
    fn new(about: &'static str, value: &str, message: &str, nearest: Vec<String>) -> Self {
        Self { about, value: value.to_owned(), message: format!("{message}{}", known::did_you_mean(&nearest)), nearest }
    }
}

/// The providers of a list by their ids, where another name of one was written, and what is not one.
pub(super) async fn providers(
    client: &Client,
    settings: &Settings,
    list: Option<Change<Vec<String>>>,
) -> (Option<Change<Vec<String>>>, Vec<Warning>) {
    let Some(Change::Set(list)) = list else { return (list, Vec::new()) };
    let mut warnings = Vec::new();
    let mut ids = Vec::new();
    for name in list {
        let found = known::provider(settings, &name);
        // A gateway elsewhere has providers of its own, and knows its own names.
        let is_elsewhere = settings.mode != Mode::Embedded;
        let is_known = found.is_some()
            || (settings.local_servers && LOCAL_SERVERS.contains(&name.as_str()))
            || (is_elsewhere && client.provider_docs(&name).await.is_ok());
        if !is_known {
            let nearest = known::providers_near(settings, &name);
            warnings.push(Warning::new("providers", &name, &format!("no provider is called \"{name}\""), nearest));
        }
        ids.push(found.filter(|_| !is_elsewhere).unwrap_or(name));
    }
    (Some(Change::Set(ids)), warnings)
}

/// The patterns of a list that no model is called by.
pub(super) async fn models(client: &Client, settings: &Settings, list: Option<&Change<Vec<String>>>) -> Vec<Warning> {
    let Some(Change::Set(list)) = list else { return Vec::new() };
    let mut doubtful: Vec<&String> = list.iter().filter(|pattern| !is_listed(settings, pattern)).collect();
    if !doubtful.is_empty() {
        // Servers on this machine, and what a gateway elsewhere has beside the catalog.
        let callable = client.reachable().await.unwrap_or_default();
        let names: Vec<&str> =
            callable["data"].as_array().into_iter().flatten().filter_map(|model| model.get("id").and_then(Value::as_str)).collect();
        // Aliases are among them, and are not what a list is about.
        let is_alias = |pattern: &str| settings.model_aliases.all.contains_key(pattern);
        doubtful.retain(|pattern| is_alias(pattern) || !names.iter().any(|name| allows(pattern, "", name) || is_bare(pattern, name)));
    }
    doubtful.into_iter().map(|pattern| unknown(settings, pattern)).collect()
}

/// Whether a list of this one pattern would allow a model.
fn allows(pattern: &str, provider: &str, model: &str) -> bool {
    let settings = KeySettings { allowed_models: Some(vec![pattern.to_owned()]), ..KeySettings::default() };
    settings.allows_model(provider, model)
}

/// Whether it names `provider/model` by the model alone.
fn is_bare(pattern: &str, name: &str) -> bool {
    name.split_once('/').is_some_and(|(provider, model)| allows(pattern, provider, model))
}

fn is_listed(settings: &Settings, pattern: &str) -> bool {
    let catalog = Catalog::embedded();
    let is_custom = |id: &str, models: &[String]| match models {
        // One without a list is asked for any.
        [] => pattern.strip_prefix(id).is_some_and(|rest| rest.starts_with('/')),
        models => models.iter().any(|model| allows(pattern, id, model)),
    };
    let is_custom =
        settings.providers.iter().filter(|(_, config)| config.base_url.is_some()).any(|(id, config)| is_custom(id, &config.models));
    let is_local = || settings.local_servers && pattern.split_once('/').is_some_and(|(server, _)| LOCAL_SERVERS.contains(&server));
    let is_sold = || {
        let second = catalog.providers().iter().filter(|known| known.models_of.is_some());
        catalog.models().iter().any(|model| {
            allows(pattern, &model.provider, &model.id)
                || second.clone().any(|known| known.models_of.as_deref() == Some(&*model.provider) && allows(pattern, &known.id, &model.id))
        })
    };
    pattern == "*" || is_custom || is_local() || is_sold()
}

fn unknown(settings: &Settings, pattern: &str) -> Warning {
    let catalog = Catalog::embedded();
    let warning = |message: String, nearest| Warning::new("models", pattern, &message, nearest);
    if let Some(model) = settings.model_aliases.all.get(pattern) {
        return warning(
            format!("\"{pattern}\" is an alias in the config file; the list is about the model behind it"),
            vec![model.clone()],
        );
    }
    if pattern.trim_end_matches('*').contains('*') {
        return warning(format!("no model is called \"{pattern}\": a * is only special at the end"), Vec::new());
    }
    if let Some(id) = known::provider(settings, pattern) {
        return warning(format!("\"{pattern}\" is a provider, not a model"), vec![format!("{id}/*")]);
    }
    let (provider, bare) = pattern.split_once('/').map_or((None, pattern), |(provider, model)| (Some(provider), model));
    let same = catalog.models_named(bare);
    let of_provider = provider.and_then(|provider| catalog.model(provider, bare));
    if let Some(model) = of_provider.or_else(|| same.first().copied()) {
        let written = if provider.is_some() { format!("{}/{}", model.provider, model.id) } else { model.id.to_string() };
        return warning(format!("\"{pattern}\" is another name for a model, and the list needs the one that is billed"), vec![written]);
    }
    let lower = pattern.to_lowercase();
    if lower != pattern && is_listed(settings, &lower) {
        return warning(format!("no model is called \"{pattern}\": names are case-sensitive"), vec![lower]);
    }
    let wanted = bare.trim_end_matches('*');
    let nearest = catalog.nearest_models(wanted, 3).into_iter().map(|model| model.id.to_string()).collect();
    let what = if pattern.ends_with('*') { "no model begins with" } else { "no model is called" };
    warning(format!("{what} \"{}\"", pattern.trim_end_matches('*')), nearest)
}

/// That a name is taken: commands then need the id.
pub(super) fn duplicate(name: &str, keys: &[SpendKeyObject], but: Option<&str>) -> Option<Warning> {
    let other = keys.iter().find(|key| key.name == name && Some(key.spend_key_id.as_str()) != but)?;
    let message = format!("another key is called \"{name}\" ({}): use their ids in commands, not the name", other.spend_key_id);
    Some(Warning::new("name", name, &message, Vec::new()))
}
