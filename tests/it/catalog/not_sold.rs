//! Questions for something that is not sold here find nothing, and the answer names what that is; words that a model's name has are left out.

use lava_mcp::catalog::{Found, Item, Kind, Mode, Query};

use super::catalog;

/// What people look for in a list of APIs, beside models.
const NOT_SOLD: [&str; 96] = [
    "send SMS",
    "send email",
    "send a text message",
    "send whatsapp message",
    "weather forecast",
    "weather API",
    "current weather in Berlin",
    "what is the weather",
    "stock prices",
    "crypto price",
    "currency exchange rate",
    "book a flight",
    "cheap flights",
    "hotel booking",
    "restaurant near me",
    "best restaurants",
    "movie tickets",
    "free movies",
    "latest news",
    "news headlines",
    "google maps",
    "maps",
    "geocoding",
    "reverse geocode an address",
    "directions",
    "qr code",
    "zip code",
    "promo code",
    "barcode scanner",
    "web scraping",
    "scrape a website",
    "take a screenshot of a website",
    "pdf to html",
    "ip geolocation",
    "domain whois lookup",
    "phone verification",
    "company enrichment",
    "linkedin profile",
    "find email address",
    "slack message",
    "stripe payments",
    "shipping label",
    "order pizza",
    "calendar event",
    "todo list",
    "sports scores",
    "football results",
    "horoscope",
    "lottery numbers",
    "train timetable",
    "palms",
    "palm tree",
    "clouds",
    "opening hours",
    "phone call",
    "fax",
    "wikipedia",
    "spotify playlist",
    "youtube transcript",
    "podcast search",
    "tax calculator",
    "unit conversion",
    "time zone",
    "postal address validation",
    "credit card check",
    "vin decoder",
    "real estate listings",
    "job search",
    "dictionary definition",
    "flash card",
    "flash flood warning",
    "seed catalogue",
    "nova scotia",
    "whisper campaign",
    "command line",
    "magazine subscription",
    "fireworks display",
    "together forever",
    "amazon shopping",
    "iphone 16",
    "world cup 2026",
    "who won the match",
    "sound effects",
    "face recognition",
    "object detection",
    "invoice parsing",
    "spreadsheet formula",
    "twilio",
    "sendgrid",
    "openweathermap",
    "serpapi",
    "alpha vantage",
    "firecrawl",
    "zapier",
    "telegram",
    "chess",
];

fn ask(text: &str, kind: Kind) -> Found<'static> {
    catalog().find(&Query { text, kind, provider: None, ready: &|_| false })
}

#[test]
fn what_is_not_sold_is_not_found_and_is_named() {
    let mut faults = Vec::new();
    for question in NOT_SOLD {
        for kind in [Kind::Any, Kind::Model, Kind::Service] {
            let found = ask(question, kind);
            if let Some(hit) = found.hits.first() {
                faults.push(format!("{question}: {:?}", hit.item));
            }
            let lower = question.to_lowercase();
            assert!(!found.unknown.is_empty(), "{question}");
            assert!(found.unknown.iter().all(|word| lower.contains(&**word)), "{question}: {:?}", found.unknown);
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// A question, the words that no name has, and what every one of the first three answers is.
const PARTLY_SOLD: [(&str, &[&str], Mode); 18] = [
    ("an llm for a weather bot", &["weather"], Mode::Chat),
    ("cheap model for poems", &["poems"], Mode::Chat),
    ("customer support chatbot", &["customer"], Mode::Chat),
    ("summarize legal contracts", &["legal", "contracts"], Mode::Chat),
    ("write an email", &["email"], Mode::Chat),
    ("explain quantum physics", &["quantum", "physics"], Mode::Chat),
    ("vision model for receipts", &["receipts"], Mode::Chat),
    ("reasoning model for math homework", &["homework"], Mode::Chat),
    ("long context model for books", &["books"], Mode::Chat),
    ("claude poems", &["poems"], Mode::Chat),
    ("gpt-4o weather", &["weather"], Mode::Chat),
    ("coding assistant for invoices", &["invoices"], Mode::Chat),
    ("generate a picture of a cat", &["cat"], Mode::Image),
    ("make a video of a dog", &["dog"], Mode::Video),
    ("text to speech for audiobooks", &["audiobooks"], Mode::AudioSpeech),
    ("transcribe a podcast", &["podcast"], Mode::AudioTranscription),
    ("read scanned invoices", &["invoices"], Mode::Ocr),
    ("embeddings for invoices", &["invoices"], Mode::Embedding),
];

#[test]
fn the_rest_of_a_question_is_answered_where_it_asks_for_a_model() {
    for (question, unknown, mode) in PARTLY_SOLD {
        let found = ask(question, Kind::Model);
        assert_eq!(found.unknown.iter().map(|word| &**word).collect::<Vec<_>>(), unknown, "{question}");
        assert!(found.hits.len() >= 3, "{question}: {} results", found.hits.len());
        // The best names of a family come first; what else is called so may be of any kind.
        let first = if question.starts_with("gpt") { 1 } else { 3 };
        for hit in found.hits.iter().take(first) {
            let Item::Model(model) = hit.item else { panic!("{question}: {:?}", hit.item) };
            let is_meant = model.mode == mode || (mode == Mode::Chat && model.mode == Mode::Responses);
            assert!(is_meant, "{question}: {} is for {:?}", model.id, model.mode);
        }
    }
}

#[test]
fn a_slip_in_a_name_finds_what_the_name_does() {
    for (slip, name) in [
        ("gtp-4o", "gpt-4o"),
        ("gpt-4o-mnii", "gpt-4o-mini"),
        ("gemini-2.5-falsh", "gemini-2.5-flash"),
        ("text-embeding-3-small", "text-embedding-3-small"),
        ("claude-sonet-4-5", "claude-sonnet-4-5"),
        // Nor do words that no name has.
        ("gpt-4o on mars", "gpt-4o"),
        ("gpt-4o for my weather app", "gpt-4o"),
    ] {
        let first = |text| format!("{:?}", ask(text, Kind::Model).hits[0].item);
        assert_eq!(first(slip), first(name), "{slip}");
    }
}

/// Of the words of a dictionary that no name has, every 97th: it finds nothing by itself, and nothing beside another such word.
#[test]
fn no_everyday_word_is_a_slip_of_a_name() {
    let names: String = catalog()
        .models()
        .iter()
        .flat_map(|model| model.names().map(str::to_lowercase))
        .chain(catalog().providers().iter().flat_map(|provider| provider.all_names().chain([provider.host()]).map(str::to_lowercase)))
        .collect::<Vec<_>>()
        .join(" ");
    let words = include_str!("../../../src/catalog/data/english.txt");
    let (mut asked, mut purposes, mut last) = (0, Vec::new(), "tickets");
    for word in words.lines().step_by(97).filter(|word| word.len() > 4 && !names.contains(&word[..4])) {
        let found = ask(word, Kind::Any);
        asked += 1;
        // Found it may be for what it says a model should do. A slip would have no unknown word either.
        if found.unknown.is_empty() {
            purposes.push(word);
            continue;
        }
        for question in [word.to_owned(), format!("{word} {last}"), format!("{last} {word}")] {
            let found = ask(&question, Kind::Any);
            assert!(found.hits.is_empty(), "{question}: {:?}", found.hits[0].item);
        }
        last = word;
    }
    assert!(asked > 150 && purposes.len() * 50 < asked, "of {asked} words: {purposes:?}");
}
