//! What a refresh changes, and whether that looks wrong.

use std::fmt::Write as _;

use lava_mcp::catalog::{Catalog, Model};

use crate::merge::Notes;

/// Share of the priced models that may go before a refresh is refused, in percent.
const LOST_PERCENT_MAX: usize = 2;
/// How far the price of a first-party model may move.
const MOVE_MAX: u64 = 5;
/// How many lines of each kind are printed.
const SHOWN: usize = 400;

pub(crate) struct Report {
    pub(crate) text: String,
    /// Why the data should not be written.
    pub(crate) refusals: Vec<String>,
}

pub(crate) fn compare(old: &Catalog, fresh: &Catalog, notes: &Notes) -> Report {
    let (mut removed, mut moved, mut refusals) = (Vec::new(), Vec::new(), Vec::new());
    let mut lost = 0;
    for before in old.models() {
        let Some(after) = fresh.model(&before.provider, &before.id) else {
            lost += usize::from(before.prices().is_some());
            removed.push(label(before));
            continue;
        };
        match (prices(before), prices(after)) {
            (Some(_), None) => lost += 1,
            (Some(was), Some(is)) => {
                if was.iter().zip(is).any(|(was, is)| was.abs_diff(is) * 10 > *was) {
                    moved.push(format!("{}: {}/{} to {}/{}", label(before), was[0], was[1], is[0], is[1]));
                }
                let important = fresh.provider(&before.provider).is_some_and(|provider| provider.first_party) && !before.retired;
                let far = was
                    .iter()
                    .zip(is)
                    .any(|(was, is)| *was > 0 && (is > was.saturating_mul(MOVE_MAX) || is.saturating_mul(MOVE_MAX) < *was));
                if important && far {
                    refusals.push(format!("{} moved from {}/{} to {}/{}", label(before), was[0], was[1], is[0], is[1]));
                }
            }
            _ => {}
        }
    }
    let added: Vec<String> = fresh.models().iter().filter(|model| old.model(&model.provider, &model.id).is_none()).map(label).collect();
    let priced_before = old.models().iter().filter(|model| model.prices().is_some()).count();
    if lost * 100 > priced_before * LOST_PERCENT_MAX {
        refusals.push(format!("{lost} of {priced_before} prices would be lost"));
    }
    let count = |test: fn(&Model) -> bool| fresh.models().iter().filter(|model| test(model)).count();
    let mut text = format!(
        "{} models ({} priced, {} retired, {} disputed) of {} providers; {} compared with genai-prices\n",
        fresh.models().len(),
        count(|model| model.prices().is_some()),
        count(|model| model.retired),
        count(|model| model.disputed),
        fresh.providers().len(),
        notes.compared,
    );
    section(&mut text, "added", &added);
    section(&mut text, "removed", &removed);
    section(&mut text, "moved by more than 10 % (pico-dollars in/out)", &moved);
    section(&mut text, "disputed by more than 1 %", &notes.disputes);
    section(&mut text, "providers left out because nobody knows them", &notes.unknown_providers.iter().cloned().collect::<Vec<_>>());
    Report { text, refusals }
}

fn label(model: &Model) -> String {
    format!("{} {}", model.provider, model.id)
}

fn prices(model: &Model) -> Option<[u64; 2]> {
    model.prices().map(|prices| [prices.rates.input.picos(), prices.rates.output.picos()])
}

fn section(text: &mut String, title: &str, lines: &[String]) {
    let _ = writeln!(text, "\n{} {title}", lines.len());
    for line in lines.iter().take(SHOWN) {
        let _ = writeln!(text, "  {line}");
    }
    if lines.len() > SHOWN {
        let _ = writeln!(text, "  and {} more", lines.len() - SHOWN);
    }
}

/// The notice that the licences of the sources ask for.
pub(crate) fn notice(licences: &[(String, String)]) -> String {
    let mut text = String::from(
        "The data in this folder is made from the packages below by `cargo run --example refresh_catalog`.\n\
         models.jsonl: prices and limits of litellm (the file lies outside its enterprise/ folder), of genai-prices and of tokencost.\n\
         providers.jsonl: provider facts of @mastra/core (the file lies outside its ee/ folders) and of litellm, changed and extended by hand.\n",
    );
    for (name, licence) in licences {
        let _ = write!(text, "\n{line}\n{name}\n{line}\n\n{}\n", licence.trim(), line = "-".repeat(72));
    }
    text
}
