//! Reads LiteLLM's price list. Only its base prices are taken: what a caller can ask for on top (faster service tiers, batches) is not
//! bought by the gateway.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;

use crate::{
    entry::{AUDIO_IN, AUDIO_OUT, CACHE_READ, CACHE_WRITE, CACHE_WRITE_1H, Entry, IN, OUT, REASONING, REQUEST, Rates},
    price_text::{picos, whole},
    sellers::Sellers,
};

/// The fields of one model, each as its text.
struct Fields(BTreeMap<String, Box<RawValue>>);

impl Fields {
    fn raw(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|raw| raw.get()).filter(|text| *text != "null")
    }

    fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.raw(name)?).ok()
    }

    fn picos(&self, name: &str) -> Option<u64> {
        picos(self.raw(name)?)
    }

    fn highest(&self, names: &[&str], suffix: &str) -> Option<u64> {
        names.iter().filter_map(|name| self.picos(&format!("{name}{suffix}"))).max()
    }

    fn yes(&self, name: &str) -> bool {
        self.raw(name) == Some("true")
    }
}

const MODES: [(&str, &str); 15] = [
    ("chat", "chat"),
    ("completion", "completion"),
    ("responses", "responses"),
    ("embedding", "embedding"),
    ("image_generation", "image"),
    ("image_edit", "image_edit"),
    ("video_generation", "video"),
    ("audio_speech", "audio_speech"),
    ("audio_transcription", "audio_transcription"),
    ("realtime", "realtime"),
    ("rerank", "rerank"),
    ("ocr", "ocr"),
    ("moderation", "moderation"),
    ("moderations", "moderation"),
    ("ocr_extraction", "ocr"),
];

const CAPS: [(&str, &str); 13] = [
    ("supports_function_calling", "tools"),
    ("supports_parallel_function_calling", "parallel_tools"),
    ("supports_vision", "vision"),
    ("supports_pdf_input", "pdf"),
    ("supports_audio_input", "audio_in"),
    ("supports_audio_output", "audio_out"),
    ("supports_video_input", "video_in"),
    ("supports_reasoning", "reasoning"),
    ("supports_response_schema", "json_schema"),
    ("supports_native_structured_output", "json_schema"),
    ("supports_prompt_caching", "prompt_cache"),
    ("supports_web_search", "web_search"),
    ("supports_computer_use", "computer_use"),
];

const UNITS: [(&str, &[&str]); 8] = [
    ("character", &["input_cost_per_character", "output_cost_per_character"]),
    ("second_in", &["input_cost_per_second", "input_cost_per_audio_per_second", "input_cost_per_video_per_second"]),
    ("second_out", &["output_cost_per_second", "output_cost_per_video_per_second", "cost_per_second", "output_cost_per_second_1080p"]),
    ("image_in", &["input_cost_per_image"]),
    ("image_out", &["output_cost_per_image"]),
    ("pixel_out", &["output_cost_per_pixel", "input_cost_per_pixel"]),
    ("page", &["ocr_cost_per_page"]),
    ("query", &["input_cost_per_query"]),
];

/// A dollar per million tokens, in pico-dollars a token.
const PICTURE_TOKEN_MIN: u64 = 1_000_000;

/// Every model whose provider is known, and the provider keys that are not.
pub(crate) fn read(json: &str, sellers: &Sellers, today: &str) -> Result<(Vec<Entry>, BTreeSet<String>), serde_json::Error> {
    let all: BTreeMap<String, BTreeMap<String, Box<RawValue>>> = serde_json::from_str(json)?;
    let mut entries = Vec::new();
    let mut unknown = BTreeSet::new();
    for (key, fields) in all {
        let fields = Fields(fields);
        let (Some(provider), Some(mode)) = (fields.text("litellm_provider"), fields.text("mode")) else { continue };
        let Some((_, mode)) = MODES.iter().find(|(theirs, _)| *theirs == mode) else { continue };
        let Some(seller) = sellers.id(&provider) else {
            if !sellers.is_left_out(&provider) {
                unknown.insert(provider);
            }
            continue;
        };
        // Prices by picture size, parameter count or commitment are no models.
        if key == "sample_spec"
            || key.starts_with("together-ai-")
            || key.starts_with("fireworks-ai-")
            || key.contains("-x-")
            || key.contains("commitment")
            || key.contains("us-gov")
        {
            continue;
        }
        entries.push(entry(&key, &fields, &seller, mode, sellers, today));
    }
    Ok((entries, unknown))
}

fn entry(key: &str, fields: &Fields, seller: &str, mode: &'static str, sellers: &Sellers, today: &str) -> Entry {
    let id = match key.split_once('/') {
        Some((first, rest)) if sellers.id(first).as_deref() == Some(seller) => rest,
        _ => key,
    };
    let deprecation = fields.text("deprecation_date").filter(|date| date.len() == 10 && date.as_bytes()[0].is_ascii_digit());
    let mut caps: Vec<&'static str> = Vec::new();
    for (theirs, ours) in CAPS {
        if fields.yes(theirs) && !caps.contains(&ours) {
            caps.push(ours);
        }
    }
    let mut units: Vec<(&'static str, u64)> =
        UNITS.iter().filter_map(|(unit, names)| Some((*unit, fields.highest(names, "")?))).filter(|(_, picos)| *picos > 0).collect();
    if let Some(search) = search_picos(fields).filter(|_| !always_searches(seller, id)) {
        units.push(("web_search", search));
    }
    let (mut base, tiers) = priced(fields, always_searches(seller, id));
    if matches!(mode, "embedding" | "rerank" | "moderation") && base.0[OUT].is_none() {
        base.0[OUT] = Some(0);
    }
    let mut reserve = BTreeMap::new();
    let text = fields.picos("input_cost_per_token");
    if mode == "embedding" && text < base.0[IN] {
        // Nearly everything that is embedded is text. Pictures and video are dearer: their price is set aside, the text's is charged.
        reserve.insert(0, base.tidied());
        base.0[IN] = text;
    }
    let rates = is_sound(&base, fields, mode, id, seller, &units).then(|| base.tidied());
    Entry {
        provider: seller.to_owned(),
        id: id.to_owned(),
        mode,
        ctx: limit(fields, "max_input_tokens"),
        max_out: limit(fields, "max_output_tokens"),
        caps,
        tiers: if rates.is_some() { tiers } else { Vec::new() },
        reserve: if rates.is_some() { reserve } else { BTreeMap::new() },
        rates,
        units,
        retired: deprecation.as_deref().is_some_and(|date| date < today),
        deprecation,
        src: "litellm",
        ..Entry::default()
    }
}

fn limit(fields: &Fields, name: &str) -> Option<u64> {
    whole(fields.raw(name)?).filter(|tokens| *tokens > 0)
}

/// The dearest web search, whatever its size.
fn search_picos(fields: &Fields) -> Option<u64> {
    let sizes: BTreeMap<String, Box<RawValue>> = serde_json::from_str(fields.raw("search_context_cost_per_query")?).ok()?;
    sizes.values().filter_map(|raw| picos(raw.get())).max().filter(|picos| *picos > 0)
}

/// Whether every request to the model is also a web search, paid by the piece.
fn always_searches(seller: &str, id: &str) -> bool {
    seller == "perplexity" || id.contains("-search-preview") || id.contains("-search-api")
}

/// The prices of short requests and those of longer ones.
fn priced(fields: &Fields, always_searches: bool) -> (Rates, Vec<(u64, Rates)>) {
    let mut base = rates(fields, "");
    // The size of the search is the caller's choice: the dearest counts.
    let search = if always_searches { search_picos(fields) } else { None };
    base.0[REQUEST] = fields.picos("input_cost_per_request").max(search);
    let mut tiers: BTreeMap<u64, Rates> = BTreeMap::new();
    if let Some(steps) = fields.raw("tiered_pricing") {
        let steps: Vec<BTreeMap<String, Box<RawValue>>> = serde_json::from_str(steps).unwrap_or_default();
        for step in steps {
            let step = Fields(step);
            let range: Vec<Box<RawValue>> = step.raw("range").and_then(|range| serde_json::from_str(range).ok()).unwrap_or_default();
            let Some(above) = range.first().and_then(|from| whole(from.get())) else { continue };
            let own = rates(&step, "");
            if above == 0 {
                base = own;
            } else {
                tiers.insert(above, own);
            }
        }
    }
    for thousands in fields.0.keys().filter_map(|name| name.strip_prefix("input_cost_per_token_above_")?.strip_suffix("k_tokens")) {
        let Ok(count) = thousands.parse::<u64>() else { continue };
        tiers.insert(count * 1_000, rates(fields, &format!("_above_{thousands}k_tokens")));
    }
    let complete = tiers.into_iter().map(|(above, own)| {
        let mut full = base;
        for (which, picos) in own.0.into_iter().enumerate().filter(|(_, picos)| picos.is_some()) {
            full.0[which] = picos;
        }
        (above, full.tidied())
    });
    let complete = complete.collect();
    (base, complete)
}

/// The prices with this suffix. Kinds of token that no counter tells apart (text and pictures) share the higher price.
fn rates(fields: &Fields, suffix: &str) -> Rates {
    let mut rates = Rates::default();
    rates.0[IN] = fields.highest(&["input_cost_per_token", "input_cost_per_image_token", "input_cost_per_video_token"], suffix);
    rates.0[OUT] = fields
        .highest(&["output_cost_per_token", "output_cost_per_image_token", "output_cost_per_video_token"], suffix)
        .or_else(|| fields.highest(&["output_cost_per_audio_token"], suffix));
    rates.0[CACHE_READ] = fields.highest(&["cache_read_input_token_cost", "cache_read_input_image_token_cost"], suffix);
    rates.0[CACHE_WRITE] = fields.highest(&["cache_creation_input_token_cost"], suffix);
    rates.0[CACHE_WRITE_1H] =
        fields.highest(&["cache_creation_input_token_cost_above_1hr", "cache_creation_input_token_cost_above_12hr"], suffix);
    rates.0[REASONING] = fields.highest(&["output_cost_per_reasoning_token"], suffix);
    rates.0[AUDIO_IN] = fields.highest(&["input_cost_per_audio_token"], suffix);
    rates.0[AUDIO_OUT] = fields.highest(&["output_cost_per_audio_token"], suffix);
    rates
}

/// Whether tokens alone decide what a call costs. When in doubt it is not, and the model cannot be bought.
fn is_sound(rates: &Rates, fields: &Fields, mode: &str, id: &str, seller: &str, units: &[(&str, u64)]) -> bool {
    let writes_nothing = matches!(mode, "embedding" | "rerank" | "moderation");
    let (Some(input), Some(output)) = (rates.0[IN], rates.0[OUT]) else { return false };
    let charged_otherwise = |unit: &str| units.iter().any(|(name, _)| *name == unit);
    if charged_otherwise("image_out") && fields.raw("output_cost_per_image_token").is_none()
        || charged_otherwise("query")
        || charged_otherwise("page")
        || charged_otherwise("pixel_out")
        || fields.raw("citation_cost_per_token").is_some()
        || (mode == "realtime" && charged_otherwise("second_in"))
    {
        return false;
    }
    // Some prices by the step are filed as prices by the token. No picture made of tokens is that cheap.
    if matches!(mode, "image" | "image_edit" | "video") && output < PICTURE_TOKEN_MIN {
        return false;
    }
    match (input, output) {
        // Zero usually means that nobody wrote the price down.
        (0, 0) => units.is_empty() && rates.is_free() && (seller == "zai" || id.starts_with("omni-moderation") || id.ends_with(":free")),
        (0, _) => mode == "image" || mode == "audio_speech",
        (_, 0) => writes_nothing,
        _ => true,
    }
}
