//! What can be bought: models, who sells them, and for how much. The data is in the binary, so that a price is known without asking
//! anybody; a person refreshes it with `cargo run --example refresh_catalog` and reads the difference. Everything here is a plain value
//! or a pure function; nothing does I/O or reads a clock.

pub mod address;
mod called;
mod everyday;
mod fees;
pub mod find;
mod index;
pub mod models;
pub mod prices;
pub mod providers;
mod synonyms;
mod text;
mod vocabulary;

use std::{collections::HashMap, io::Read as _, sync::Arc, sync::OnceLock};

pub use find::{Found, Hit, Item, Kind, Query};
pub use models::{Capabilities, Capability, Mode, Model, Source, Unit};
pub use prices::{PriceError, Prices, Rates, Tier};
pub use providers::{Auth, CostUnit, Dialect, Provider, ReportedCost};
pub use text::bare;

/// The packed data; `build.rs` made these from `src/catalog/data`.
static MODELS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/models.jsonl.gz"));
static PROVIDERS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/providers.jsonl.gz"));

/// What is wrong with a catalog.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// A line is not what its place says it is.
    #[error("{file} line {line}: {reason}")]
    Line {
        /// `models` or `providers`.
        file: &'static str,
        /// Counted from one.
        line: usize,
        /// What was expected.
        reason: String,
    },
}

/// Models and the providers who sell them.
pub struct Catalog {
    date: Box<str>,
    models: Vec<Model>,
    providers: Vec<Provider>,
    /// Place of each provider by id and by alias.
    provider_places: HashMap<Box<str>, usize>,
    /// Every name of every model as (model, which name), ordered by name, so that a name is found by halving.
    names: Vec<(u32, u16)>,
    /// The models that have a maker's name before a slash, ordered by what is behind the last one.
    resold: Vec<u32>,
    /// Built at the first search.
    index: OnceLock<index::Index>,
}

impl Catalog {
    /// The catalog inside this binary, unpacked at first use.
    pub fn embedded() -> &'static Self {
        static EMBEDDED: OnceLock<Catalog> = OnceLock::new();
        EMBEDDED.get_or_init(|| {
            // A test reads the same bytes, so a binary with unreadable data cannot be released. If it ever were, an empty catalog
            // refuses every purchase, which is the safe side.
            Self::parse(&unpack(MODELS), &unpack(PROVIDERS)).unwrap_or_else(|_| Self::build("", Vec::new(), Vec::new()))
        })
    }

    /// Reads a catalog from the text of its two files.
    ///
    /// # Errors
    /// The first line that is not understood.
    pub fn parse(models_jsonl: &str, providers_jsonl: &str) -> Result<Self, CatalogError> {
        let mut providers: Vec<Provider> = Vec::new();
        for (line, text) in lines(providers_jsonl) {
            providers.push(serde_json::from_str(text).map_err(|error| bad("providers", line, &error))?);
        }
        let mut models: Vec<Model> = Vec::with_capacity(8_192);
        let mut provider_names: HashMap<Box<str>, Arc<str>> = HashMap::new();
        for (line, text) in lines(models_jsonl) {
            let read: models::Line<'_> = serde_json::from_str(text).map_err(|error| bad("models", line, &error))?;
            let provider = match provider_names.get(&*read.provider) {
                Some(shared) => Arc::clone(shared),
                None => {
                    let shared: Arc<str> = Arc::from(&*read.provider);
                    provider_names.insert(Box::from(&*shared), Arc::clone(&shared));
                    shared
                }
            };
            models.push(read.into_model(provider));
        }
        fees::add(&mut models);
        models.sort_by(|a, b| (&*a.provider, &*a.id).cmp(&(&*b.provider, &*b.id)));
        let first: Header<'_> = serde_json::from_str(models_jsonl.lines().next().unwrap_or("{}")).unwrap_or_default();
        Ok(Self::build(&first.date, models, providers))
    }

    fn build(date: &str, models: Vec<Model>, providers: Vec<Provider>) -> Self {
        let mut provider_places = HashMap::new();
        for (place, provider) in providers.iter().enumerate() {
            provider_places.insert(provider.id.clone(), place);
        }
        for (place, provider) in providers.iter().enumerate() {
            for alias in &provider.aliases {
                provider_places.entry(alias.clone()).or_insert(place);
            }
        }
        let mut names: Vec<(u32, u16)> = Vec::with_capacity(models.len() * 2);
        for (place, model) in models.iter().enumerate() {
            let place = u32::try_from(place).unwrap_or(u32::MAX);
            names.extend((0..=u16::try_from(model.aliases.len()).unwrap_or(u16::MAX)).map(|which| (place, which)));
        }
        names.sort_unstable_by(|a, b| name_of(&models, *a).cmp(name_of(&models, *b)).then(a.cmp(b)));
        let mut resold: Vec<u32> = (0..).zip(&models).filter(|(_, model)| model.id.contains('/')).map(|(place, _)| place).collect();
        resold.sort_unstable_by_key(|&place| (bare_at(&models, place), place));
        Self { date: date.into(), models, providers, provider_places, names, resold, index: OnceLock::new() }
    }

    /// The day the prices are of, `YYYY-MM-DD`; empty when the file does not say.
    pub fn date(&self) -> &str {
        &self.date
    }

    /// All models, ordered by provider and id.
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// All providers, the best known first.
    pub fn providers(&self) -> &[Provider] {
        &self.providers
    }

    /// The provider with this id, or the one other tools call so.
    pub fn provider(&self, id: &str) -> Option<&Provider> {
        self.provider_places.get(id).and_then(|place| self.providers.get(*place))
    }

    /// The model of that provider with this id or alias.
    pub fn model(&self, provider: &str, id: &str) -> Option<&Model> {
        let seller = self.seller(provider);
        let mut same = self.named(id).filter(|model| *model.provider == *seller);
        let first = same.next()?;
        // An id beats somebody else's alias.
        Some(if *first.id == *id { first } else { same.find(|model| *model.id == *id).unwrap_or(first) })
    }

    /// Every model with exactly this id or alias: first-party providers before resellers, then live before retired, then in the order of
    /// [`Self::providers`].
    pub fn models_named(&self, id: &str) -> Vec<&Model> {
        let mut all: Vec<&Model> = self.named(id).collect();
        all.sort_by_key(|model| (self.seller_rank(model), *model.id != *id));
        all
    }

    /// Everybody who sells what is called so, also under the maker's name and a slash: makers first, live before retired, then the cheapest.
    pub fn models_called(&self, name: &str) -> Vec<&Model> {
        let start = self.resold.partition_point(|&place| bare_at(&self.models, place) < name);
        let resold = self.resold[start..].iter().take_while(|&&place| bare_at(&self.models, place) == name);
        let mut all: Vec<&Model> = self.named(name).collect();
        let exact = all.len();
        for model in resold.filter_map(|&place| self.models.get(place as usize)) {
            if !all[..exact].iter().any(|known| std::ptr::eq(*known, model)) {
                all.push(model);
            }
        }
        all.sort_by_cached_key(|model| {
            let (is_reseller, retired, place) = self.seller_rank(model);
            let is_alias = *model.id != *name;
            let price = model.prices().map_or(u64::MAX, |prices| prices.rates.input.picos().saturating_add(prices.rates.output.picos()));
            (is_reseller, retired, if is_reseller { price } else { 0 }, place, is_alias)
        });
        all
    }

    /// The provider that sells the same models with the same credential in another wire format, as Google does.
    pub fn sibling(&self, provider: &str, dialect: Dialect) -> Option<&Provider> {
        self.providers.iter().find(|known| known.dialect == dialect && known.models_of.as_deref() == Some(provider))
    }

    /// Models whose names look like `name`, the most alike first, each id once. For "did you mean".
    pub fn nearest_models(&self, name: &str, n: usize) -> Vec<&Model> {
        self.index().nearest(self, name, n)
    }

    /// The provider whose API is at this host and path.
    pub fn provider_for_url(&self, host: &str, path: &str) -> Option<&Provider> {
        let mut best: Option<(usize, &Provider)> = None;
        for provider in &self.providers {
            if let Some(fit) = provider.fit(host, path)
                && best.is_none_or(|(most, _)| fit > most)
            {
                best = Some((fit, provider));
            }
        }
        best.map(|(_, provider)| provider)
    }

    /// Models and providers for a question, best first. Empty for an empty question, unless it names a provider: then all its models.
    pub fn find(&self, query: &Query<'_>) -> Found<'_> {
        self.index().find(self, query)
    }

    fn index(&self) -> &index::Index {
        self.index.get_or_init(|| index::Index::new(self))
    }

    /// The id under which the models of this provider are listed.
    fn seller<'a>(&'a self, provider: &'a str) -> &'a str {
        self.provider(provider).map_or(provider, |known| known.models_of.as_deref().unwrap_or(&known.id))
    }

    /// Sorts first-party before reseller, live before retired, and well-known providers before others. A lab that sells what others made
    /// puts the maker before a slash.
    fn seller_rank(&self, model: &Model) -> (bool, bool, usize) {
        let place = self.provider_places.get(&*model.provider).copied();
        let lab = place.and_then(|place| self.providers.get(place)).is_some_and(|provider| provider.first_party);
        let first_party = lab && !model.id.contains('/');
        (!first_party, model.retired, place.unwrap_or(usize::MAX))
    }

    fn named<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Model> {
        let start = self.names.partition_point(|&at| name_of(&self.models, at) < name);
        let count = self.names[start..].partition_point(|&at| name_of(&self.models, at) == name);
        self.names[start..start + count].iter().filter_map(|&(place, _)| self.models.get(place as usize))
    }
}

/// What is read from the first line of the models.
#[derive(Default, serde::Deserialize)]
struct Header<'a> {
    #[serde(borrow, default)]
    date: std::borrow::Cow<'a, str>,
}

/// The name at a place of [`Catalog::names`]; place 0 is the id.
fn name_of(models: &[Model], (place, which): (u32, u16)) -> &str {
    models.get(place as usize).and_then(|model| model.names().nth(which.into())).unwrap_or_default()
}

/// What is behind the last slash of a model's id.
fn bare_at(models: &[Model], place: u32) -> &str {
    models.get(place as usize).map(|model| bare(&model.id)).unwrap_or_default()
}

/// The lines of a file with their numbers, without the first, which describes the file.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().skip(1).map(|(at, line)| (at + 1, line)).filter(|(_, line)| !line.is_empty())
}

fn bad(file: &'static str, line: usize, error: &serde_json::Error) -> CatalogError {
    CatalogError::Line { file, line, reason: error.to_string() }
}

fn unpack(packed: &[u8]) -> String {
    let mut text = String::with_capacity(packed.len() * 16);
    match flate2::read::GzDecoder::new(packed).read_to_string(&mut text) {
        Ok(_) => text,
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny() -> Catalog {
        let models = concat!(
            "{\"catalog\":\"models\",\"date\":\"2026-01-02\"}\n",
            r#"{"id":"small","provider":"shop","mode":"chat","rates":{"in":5,"out":9},"src":"litellm"}"#,
            "\n",
            r#"{"id":"big","provider":"lab","mode":"chat","aliases":["large","small"],"rates":{"in":1,"out":2},"tiers":[{"above":9,"rates":{"in":3,"out":4}},{"above":5,"rates":{"in":2,"out":3}}],"src":"litellm"}"#,
            "\n",
            r#"{"id":"small","provider":"lab","mode":"chat","retired":true,"src":"genai-prices"}"#,
            "\n",
        );
        let providers = concat!(
            "{\"catalog\":\"providers\"}\n",
            r#"{"id":"shop","name":"Shop","base_url":"https://shop.example/v1","docs":"https://shop.example","auth":{"scheme":"bearer"},"env":[],"dialect":"openai"}"#,
            "\n",
            r#"{"id":"lab","name":"Lab","base_url":"https://lab.example","docs":"https://lab.example","auth":{"scheme":"none"},"env":[],"dialect":"custom","first_party":true,"aliases":["the-lab"]}"#,
            "\n",
            r#"{"id":"lab-two","name":"Lab","base_url":"https://lab.example/two","docs":"https://lab.example","auth":{"scheme":"none"},"env":[],"dialect":"openai","models_of":"lab"}"#,
        );
        Catalog::parse(models, providers).unwrap()
    }

    #[test]
    fn an_id_beats_an_alias() {
        let catalog = tiny();
        assert_eq!(catalog.date(), "2026-01-02");
        assert_eq!(&*catalog.model("lab", "small").unwrap().id, "small");
        assert_eq!(&*catalog.model("lab", "large").unwrap().id, "big");
        assert!(catalog.model("shop", "large").is_none());
        assert!(catalog.model("nobody", "small").is_none());
    }

    #[test]
    fn the_maker_comes_first_and_what_is_sold_before_what_is_not() {
        let catalog = tiny();
        let found: Vec<_> = catalog.models_named("small").into_iter().map(|model| (&*model.provider, &*model.id)).collect();
        assert_eq!(found, [("lab", "big"), ("lab", "small"), ("shop", "small")]);
    }

    #[test]
    fn two_addresses_share_their_models() {
        let catalog = tiny();
        assert_eq!(&*catalog.provider_for_url("lab.example", "/two/chat").unwrap().id, "lab-two");
        assert_eq!(&*catalog.provider_for_url("lab.example", "/one/chat").unwrap().id, "lab");
        assert_eq!(catalog.model("lab-two", "big"), catalog.model("the-lab", "big"));
    }

    #[test]
    fn steps_are_read_in_any_order() {
        let prices = tiny().model("lab", "big").unwrap().prices().unwrap().clone();
        assert_eq!([5, 6, 9, 10].map(|input| prices.rates_for(input).input.picos()), [1, 2, 2, 3]);
    }

    #[test]
    fn prices_that_are_unknown_are_none() {
        assert!(tiny().model("lab", "small").unwrap().prices().is_none());
    }
}
