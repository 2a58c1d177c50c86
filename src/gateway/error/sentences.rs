//! Sentences of the messages that are longer than a line.

pub(super) fn bodies_sentence(is_own: bool) -> String {
    let whose = if is_own { "of this key" } else { "of all callers" };
    format!(
        "The requests {whose} that are under way fill the room there is for their bodies. Send this one again in a moment, or fewer at a time."
    )
}

pub(super) fn nearest_sentence(nearest: &[String]) -> String {
    if nearest.is_empty() { " Search lists what there is.".to_owned() } else { format!(" Nearest: {}.", nearest.join(", ")) }
}

pub(super) fn how_to_set(provider: &str, env: &[String]) -> String {
    let command = format!("lava-mcp providers set {provider}");
    if env.is_empty() { format!("Run `{command}`.") } else { format!("Set {} or run `{command}`.", env.join(" or ")) }
}
