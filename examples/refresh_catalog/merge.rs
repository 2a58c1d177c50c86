//! Joins the sources. LiteLLM wins; genai-prices adds what LiteLLM has dropped, and where the two disagree the higher price is set aside
//! while LiteLLM's is charged.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{
    entry::{Entry, IN, OUT, Rates},
    genai::{Genai, Known},
    sellers::Sellers,
};

/// From this difference on a person is told.
const DISPUTE_PERMILLE: u64 = 10;

/// Names of genai-prices that are no provider of their own: one company's router to another provider, or a subscription.
fn skipped(provider: &str) -> bool {
    provider.starts_with("huggingface_") || matches!(provider, "github-copilot" | "cursor" | "openai-decisions" | "modal")
}

/// The list has one provider for Google's two shops. What others made is only sold in the one for companies.
fn made_by_google(id: &str) -> bool {
    ["gemini", "gemma", "imagen", "veo", "learnlm", "text-embedding", "embedding", "lyria"].iter().any(|family| id.starts_with(family))
}

/// What a person should look at before committing.
#[derive(Default)]
pub(crate) struct Notes {
    pub(crate) disputes: Vec<String>,
    pub(crate) unknown_providers: BTreeSet<String>,
    pub(crate) compared: usize,
}

/// Names an older price list knew, with the limits it gave: provider and name to context and output limit.
pub(crate) type Remembered = BTreeMap<(String, String), (Option<u64>, Option<u64>)>;

/// Reads the names and limits of the older list.
pub(crate) fn remembered(json: &str, sellers: &Sellers) -> Result<Remembered, serde_json::Error> {
    let all: BTreeMap<String, Value> = serde_json::from_str(json)?;
    let mut names = Remembered::new();
    for (key, model) in all {
        let Some(seller) = model["litellm_provider"].as_str().and_then(|provider| sellers.id(provider)) else { continue };
        let name = match key.split_once('/') {
            Some((first, rest)) if sellers.id(first).as_deref() == Some(&seller) => rest,
            _ => &key,
        };
        names.insert((seller, name.to_owned()), (model["max_input_tokens"].as_u64(), model["max_output_tokens"].as_u64()));
    }
    Ok(names)
}

/// One entry for each provider and name; the names of regions are aliases as long as the price is the same.
pub(crate) fn without_regions(entries: Vec<Entry>) -> BTreeMap<(String, String), Entry> {
    let mut groups: BTreeMap<(String, String), Vec<(u8, Entry)>> = BTreeMap::new();
    for entry in entries {
        let (plain, rank) = plain_name(&entry.provider, &entry.id);
        groups.entry((entry.provider.clone(), plain)).or_default().push((rank, entry));
    }
    let mut kept = BTreeMap::new();
    for ((provider, plain), mut group) in groups {
        group.sort_by_key(|(rank, entry)| (*rank, entry.rates.is_none(), entry.id.clone()));
        let mut all = group.into_iter().map(|(_, entry)| entry);
        let Some(mut first) = all.next() else { continue };
        let callable = |id: &str| provider == "bedrock" && !id.contains('/');
        if callable(&first.id) && first.id != plain {
            first.aliases.insert(first.id.clone());
        }
        first.id.clone_from(&plain);
        for other in all {
            let same =
                matches!((other.rates, first.rates), (Some(one), Some(two)) if one.permille_apart(&two) == 0) || other.rates.is_none();
            if callable(&other.id) && other.id != plain {
                if same {
                    first.aliases.insert(other.id);
                } else {
                    // The name is part of the request, so its own price can be charged.
                    kept.insert((provider.clone(), other.id.clone()), other);
                }
            } else if let (Some(rates), false) = (other.rates, same)
                && first.rates.is_some()
            {
                // The region is part of the address, which the price cannot see.
                first.dispute(0, &rates);
            }
        }
        kept.insert((provider, plain), first);
    }
    kept
}

/// The name without its region, and how far it was from plain.
fn plain_name(provider: &str, id: &str) -> (String, u8) {
    let mut rest = id;
    let mut rank = 0;
    if provider == "bedrock" {
        while let Some((first, after)) = rest.split_once('/') {
            let region = first.split('-').count() >= 3 && first.ends_with(|last: char| last.is_ascii_digit());
            if !(region || matches!(first, "bedrock" | "*" | "invoke" | "converse" | "claude_platform" | "bedrock_mantle" | "")) {
                break;
            }
            rest = after;
            rank = 2;
        }
        for region in ["us.", "eu.", "apac.", "global.", "jp.", "au.", "in.", "ca."] {
            if let Some(after) = rest.strip_prefix(region) {
                return (after.to_owned(), rank.max(1));
            }
        }
    }
    if provider == "azure" || provider == "azure-ai" {
        for region in ["us/", "eu/", "global/", "global-standard/", "standard/", "regional/"] {
            if let Some(after) = rest.strip_prefix(region) {
                return (after.to_owned(), 2);
            }
        }
    }
    (rest.to_owned(), rank)
}

/// Adds what genai-prices knows.
pub(crate) fn with_genai(
    entries: &mut BTreeMap<(String, String), Entry>,
    genai: &Genai,
    sellers: &Sellers,
    remembered: &Remembered,
    notes: &mut Notes,
) {
    let theirs: BTreeSet<&String> = genai.models.keys().map(|(provider, _)| provider).collect();
    for provider in theirs.into_iter().filter(|provider| !skipped(provider)) {
        let Some(seller) = sellers.id(provider) else {
            notes.unknown_providers.insert(provider.clone());
            continue;
        };
        let taken = compare(entries, genai, provider, &seller, notes);
        add(entries, genai, provider, &seller, &taken, sellers, remembered);
    }
}

/// Compares every model both know; returns the models of genai-prices that were met.
fn compare(
    entries: &mut BTreeMap<(String, String), Entry>,
    genai: &Genai,
    provider: &str,
    seller: &str,
    notes: &mut Notes,
) -> BTreeSet<String> {
    let mut met = BTreeSet::new();
    for ((_, name), entry) in entries.iter_mut().filter(|((of, _), _)| of == seller) {
        let Some((id, known)) = genai.meaning(provider, name) else { continue };
        met.insert(id.to_owned());
        entry.ctx = entry.ctx.or(known.ctx);
        let (Some(own), Some(mut other)) = (entry.rates, known.rates) else { continue };
        other.0[OUT] = other.0[OUT].or(own.0[OUT]);
        notes.compared += 1;
        let apart = settle_differences(entry, known, &other);
        if apart > DISPUTE_PERMILLE {
            let [ours, theirs] = [own, other].map(|rates| format!("{}/{}", rates.effective(IN), rates.effective(OUT)));
            notes.disputes.push(format!("{seller} {name}: in/out {ours} against {theirs}, {}.{} % apart", apart / 10, apart % 10));
        }
    }
    met
}

/// Fills gaps from the other list and disputes what both price differently. Returns the largest difference in permille.
fn settle_differences(entry: &mut Entry, known: &Known, other: &Rates) -> u64 {
    // The same step, once as "above 200000" and once as "from 200000 on": the earlier one is the dearer reading.
    for (above, _) in &mut entry.tiers {
        if known.tiers.iter().any(|(start, _)| start + 1 == *above) {
            *above -= 1;
        }
    }
    let theirs_at = |step: u64| known.tiers.iter().rev().find(|(above, _)| step + 1 > *above).map_or(*other, |(_, rates)| *rates);
    for (step, rates) in entry.rates.iter_mut().map(|rates| (0, rates)).chain(entry.tiers.iter_mut().map(|(above, rates)| (*above, rates)))
    {
        let theirs = theirs_at(step);
        if rates.0[IN] == theirs.0[IN] && rates.0[OUT] == theirs.0[OUT] {
            for (ours, theirs) in rates.0.iter_mut().zip(theirs.0) {
                *ours = ours.or(theirs);
            }
        }
    }
    let mut steps: BTreeSet<u64> = entry.tiers.iter().chain(&known.tiers).map(|(above, _)| *above).collect();
    steps.insert(0);
    // A step that the model's own limit keeps out of reach is history.
    steps.retain(|step| entry.ctx.is_none_or(|ctx| *step < ctx));
    let mut apart = 0;
    for step in steps {
        let theirs = theirs_at(step);
        let gap = entry.rates_at(step + 1).map_or(0, |ours| ours.permille_apart(&theirs));
        if gap > 0 {
            entry.dispute(step, &theirs);
            apart = apart.max(gap);
        }
    }
    apart
}

/// Adds the models that were not met, under every name that is known to mean them.
fn add(
    entries: &mut BTreeMap<(String, String), Entry>,
    genai: &Genai,
    provider: &str,
    seller: &str,
    met: &BTreeSet<String>,
    sellers: &Sellers,
    remembered: &Remembered,
) {
    let listed: BTreeSet<String> = entries
        .iter()
        .filter(|((of, _), _)| of == seller)
        .flat_map(|((_, id), entry)| entry.aliases.iter().cloned().chain([id.clone()]))
        .collect();
    let none = Vec::new();
    let sold = sellers.sold_today.get(seller).unwrap_or(&none);
    let older = remembered.keys().filter(|(of, _)| of == seller).map(|(_, name)| name);
    // By model: the names that LiteLLM no longer has.
    let mut names: BTreeMap<&str, BTreeSet<&String>> = BTreeMap::new();
    for name in sold.iter().chain(older).filter(|name| !listed.contains(*name)) {
        if let Some((id, _)) = genai.meaning(provider, name) {
            names.entry(id).or_default().insert(name);
        }
    }
    let mut used: BTreeSet<String> = listed.clone();
    for ((of, id), known) in &genai.models {
        let Some(mut rates) = known.rates else { continue };
        // Without an output price it must be a model that writes nothing.
        let writes_nothing = ["embed", "rerank", "bge-", "gte-"].iter().any(|kind| id.contains(kind));
        if rates.0[OUT].is_none() && writes_nothing {
            rates.0[OUT] = Some(0);
        }
        if of != provider || rates.0[OUT].is_none() || (seller == "google" && !made_by_google(id)) {
            continue;
        }
        let mut own: Vec<&String> = names.remove(id.as_str()).into_iter().flatten().collect();
        if !met.contains(id) {
            own.extend(&known.names);
        }
        let mut own: Vec<String> = own.into_iter().filter(|name| !used.contains(*name) && !name.contains(' ')).cloned().collect();
        own.sort_by_key(|name| (name != id, name.clone()));
        own.dedup();
        let Some(first) = own.first().cloned() else { continue };
        used.extend(own.iter().cloned());
        let limits: Vec<_> = own.iter().filter_map(|name| remembered.get(&(seller.to_owned(), name.clone()))).collect();
        // Variants of a live model (`:free`, `:batch`) are not in the registry by themselves.
        let live = own.iter().any(|name| sold.iter().any(|sold| name == sold || name.split(':').next() == Some(sold)));
        let entry = Entry {
            provider: seller.to_owned(),
            id: first.clone(),
            mode: match writes_nothing {
                true if id.contains("rerank") => "rerank",
                true => "embedding",
                false => "chat",
            },
            aliases: own.into_iter().skip(1).collect(),
            ctx: known.ctx.or_else(|| limits.iter().find_map(|(input, _)| *input)),
            max_out: limits.iter().find_map(|(_, output)| *output),
            rates: Some(rates),
            tiers: known.tiers.clone(),
            retired: known.deprecated || !live,
            src: "genai-prices",
            ..Entry::default()
        };
        entries.insert((seller.to_owned(), first), entry);
    }
}
