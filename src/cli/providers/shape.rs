//! Whose key a key looks like. Providers give their keys a beginning of their own, so a key in the wrong place is seen before a provider refuses it.

/// How keys begin, and whose they are then, the id of the first standing for its name.
const BEGINNINGS: [(&str, &[&str]); 30] = [
    ("sk-ant-", &["anthropic"]),
    ("sk-or-", &["openrouter"]),
    ("sk-proj-", &["openai"]),
    ("sk-svcacct-", &["openai"]),
    ("sk-admin-", &["openai"]),
    ("AIza", &["google", "google-openai", "vertex"]),
    ("gsk_", &["groq"]),
    ("xai-", &["xai"]),
    ("pplx-", &["perplexity"]),
    ("hf_", &["huggingface"]),
    ("r8_", &["replicate"]),
    ("nvapi-", &["nvidia"]),
    ("fw_", &["fireworks"]),
    ("csk-", &["cerebras"]),
    ("tgp_v1_", &["together"]),
    ("jina_", &["jina"]),
    ("ghp_", &["github-models"]),
    ("gho_", &["github-models"]),
    ("ghu_", &["github-models"]),
    ("ghs_", &["github-models"]),
    ("github_pat_", &["github-models"]),
    ("dapi", &["databricks"]),
    ("vck_", &["vercel-ai-gateway"]),
    ("dop_v1_", &["gradient"]),
    ("ABSK", &["bedrock"]),
    ("sk-lf-", &["langfuse"]),
    ("lava_sk_", &["lava"]),
    ("aks_live_", &["lava"]),
    ("aks_test_", &["lava"]),
    // Many have it; it is only wrong where keys begin otherwise.
    ("sk-", &["openai"]),
];
/// Providers all of whose keys begin as the table says.
const ALWAYS: [&str; 8] = ["anthropic", "openrouter", "groq", "google", "xai", "perplexity", "huggingface", "nvidia"];

/// Whether a word begins as keys do.
pub(super) fn is_key(word: &str) -> bool {
    BEGINNINGS.iter().any(|(beginning, _)| word.starts_with(beginning))
}

/// Why this key is likely another provider's, as a sentence.
pub(super) fn doubt(provider: &str, name: &str, key: &str) -> Option<String> {
    let (beginning, owners) = BEGINNINGS.iter().find(|(beginning, _)| key.starts_with(beginning))?;
    if owners.contains(&provider) || (*beginning == "sk-" && !ALWAYS.contains(&provider)) {
        return None;
    }
    let own = BEGINNINGS.iter().find(|(_, owners)| owners.first() == Some(&provider));
    let own = own.filter(|_| ALWAYS.contains(&provider)).map_or_else(String::new, |(own, _)| format!("; {name}'s begin with {own}"));
    Some(match owners.first() {
        Some(&"lava") => format!("this looks like a key of Lava, not of {name}: it begins with {beginning}{own}"),
        Some(owner) => format!("this looks like a key of {owner}, not of {name}: it begins with {beginning}{own}"),
        None => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;

    #[test]
    fn a_key_in_the_wrong_place_is_seen() {
        for (provider, key, says) in [
            ("openai", "sk-ant-api03-x", "a key of anthropic"),
            ("anthropic", "sk-proj-x", "a key of openai"),
            ("anthropic", "sk-x", "begin with sk-ant-"),
            ("groq", "sk-x", "begin with gsk_"),
            ("openai", "gsk_x", "a key of groq"),
            ("openai", "AIzaSyX", "a key of google"),
            ("google", "sk-or-v1-x", "a key of openrouter"),
            ("openai", "lava_sk_x", "a key of Lava"),
            ("deepseek", "xai-x", "a key of xai"),
        ] {
            assert!(doubt(provider, provider, key).unwrap().contains(says), "{provider} {key}");
        }
        for (provider, key) in [
            ("openai", "sk-x"),
            ("openai", "sk-proj-x"),
            ("deepseek", "sk-x"),
            ("alibaba", "sk-x"),
            ("anthropic", "sk-ant-x"),
            ("google-openai", "AIzaSyX"),
            ("cohere", "anything"),
        ] {
            assert_eq!(doubt(provider, provider, key), None, "{provider} {key}");
        }
    }

    #[test]
    fn the_owners_are_providers_of_the_catalog() {
        let owners = BEGINNINGS.iter().flat_map(|(_, owners)| owners.iter()).chain(&ALWAYS);
        for owner in owners.filter(|owner| !matches!(**owner, "lava" | "langfuse")) {
            assert_eq!(Catalog::embedded().provider(owner).map(|known| &*known.id), Some(*owner));
        }
    }
}
