//! Refreshes the data of the catalog: `cargo run --example refresh_catalog [-- --force] [--date YYYY-MM-DD]`.
//!
//! Downloads pinned packages, merges them, writes `src/catalog/data`, and prints what changed. A person runs it and reads the report; no
//! build does. It refuses a refresh that loses many prices or moves an important one far, unless `--force` is given.

#![expect(clippy::print_stdout, reason = "a command whose output is its report")]

mod entry;
mod genai;
mod hand_checked;
mod litellm;
mod merge;
mod price_text;
mod report;
mod sellers;
mod sources;

use std::{error::Error, fs, io::Write as _, path::Path, process::Command};

use flate2::{Compression, write::GzEncoder};
use lava_mcp::catalog::Catalog;

use crate::{genai::Genai, merge::Notes, sellers::Sellers};

const DATA: &str = "src/catalog/data";
const DOWNLOADS: &str = "target/refresh_catalog";
/// The list the tests check our prices against, in the form its own crate reads.
const ORACLE: &str = "tests/fixtures/genai-prices.json.gz";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let force = arguments.iter().any(|argument| argument == "--force");
    let given = arguments.iter().skip_while(|argument| *argument != "--date").nth(1).cloned();
    let today = given.map_or_else(|| date(&["-u", "+%F"]), Ok)?;
    let now_seconds: u64 = date(&["-u", "-d", &format!("{today} 12:00"), "+%s"])?.parse()?;

    let sources = sources::fetch(Path::new(DOWNLOADS))?;
    let sellers = Sellers::read(&sources.registry, &sources.openai_like)?;
    let genai = Genai::read(&sources.genai, &today, now_seconds)?;
    let remembered = merge::remembered(&sources.tokencost, &sellers)?;
    let (entries, unknown_providers) = litellm::read(&sources.litellm, &sellers, &today)?;
    let mut notes = Notes { unknown_providers, ..Notes::default() };
    let mut entries = merge::without_regions(entries);
    merge::with_genai(&mut entries, &genai, &sellers, &remembered, &mut notes);

    let meta = serde_json::json!({
        "catalog": "models",
        "date": today,
        "litellm": sources::LITELLM,
        "genai-prices": sources::GENAI_PRICES,
        "tokencost": sources::TOKENCOST,
        "rates": "pico-USD per unit",
    });
    let mut models = format!("{meta}\n");
    for entry in entries.values() {
        models.push_str(&entry.line());
        models.push('\n');
    }
    let meta = serde_json::json!({"catalog": "providers", "date": today, "@mastra/core": sources::MASTRA, "litellm": sources::LITELLM});
    let mut providers = format!("{meta}\n");
    for line in sellers.lines() {
        providers.push_str(&line);
        providers.push('\n');
    }

    let fresh = Catalog::parse(&models, &providers)?;
    let data = Path::new(DATA);
    let old_models = fs::read_to_string(data.join("models.jsonl")).unwrap_or_default();
    let old_providers = fs::read_to_string(data.join("providers.jsonl")).unwrap_or_default();
    // Data in an older shape cannot be compared; then only `--force` may write.
    let old = Catalog::parse(&old_models, &old_providers);
    if let (Err(error), false) = (&old, force) {
        return Err(format!("the present data is not readable: {error}").into());
    }
    let old = match old {
        Ok(old) => old,
        Err(_) => Catalog::parse("", "")?,
    };
    let report = report::compare(&old, &fresh, &notes);
    println!("{}", report.text);
    if !report.refusals.is_empty() && !force {
        return Err(format!("refused: {}. Use --force when this is right.", report.refusals.join("; ")).into());
    }
    fs::write(data.join("models.jsonl"), models)?;
    fs::write(data.join("providers.jsonl"), providers)?;
    fs::write(data.join("NOTICE"), report::notice(&sources.licences))?;
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(sources.genai.as_bytes())?;
    fs::write(ORACLE, packer.finish()?)?;
    Ok(())
}

/// Asks the system's `date`, so that no calendar is needed here.
fn date(arguments: &[&str]) -> Result<String, Box<dyn Error>> {
    let output = Command::new("date").args(arguments).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
