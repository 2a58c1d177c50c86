//! What of an answer is shown at once, and where the rest of it is.

use rmcp::model::{ContentBlock, ProtocolVersion, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Call, LavaMcp,
    media::{self, Media},
    results::{Kept, Results},
    text,
};
use crate::session::Payer;

/// Most base64 of images and sound in one result, in characters. What does not fit is linked to.
const INLINE_CHARS_MAX: usize = 1_000_000;
/// Most images, sounds and links in one result.
const BLOCKS_MAX: usize = 16;

/// The part of an answer that is not here.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct Truncated {
    /// How many characters the whole has.
    total_chars: usize,
    /// Where it goes on: pass it as url to call, or read it as a resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// All of it, as a file on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

impl Truncated {
    pub(super) fn words(&self) -> String {
        let next = self.next.as_ref().map(|next| format!("; read on with call {{\"url\": \"{next}\"}}")).unwrap_or_default();
        let file = self.file.as_ref().map(|file| format!("; the whole is in {file}")).unwrap_or_default();
        format!("[cut: {} characters in all{next}{file}]", self.total_chars)
    }
}

/// Takes in the parts of one answer: what is too long, or no text, is kept and linked to.
pub(super) struct Shelf<'a> {
    results: &'a Results,
    payer: &'a Payer,
    version: Option<ProtocolVersion>,
    inline_left: usize,
    blocks: Vec<ContentBlock>,
}

impl<'a> Shelf<'a> {
    pub(super) fn new(server: &'a LavaMcp, call: &'a Call) -> Self {
        let version = call.context.protocol_version();
        Self { results: &server.results, payer: &call.payer, version, inline_left: INLINE_CHARS_MAX, blocks: Vec::new() }
    }

    /// The content beside the text.
    pub(super) fn into_blocks(self) -> Vec<ContentBlock> {
        self.blocks
    }

    /// Takes images and sound out of a JSON answer, and leaves in their places what they were and where they are.
    pub(super) async fn take_media(&mut self, answer: &mut Value) {
        for (place, media) in media::find(answer) {
            let about = self.put(media).await;
            if let Some(value) = answer.pointer_mut(&place) {
                *value = about;
            }
        }
    }

    /// Takes in something that is no text; returns what the structured content says of it.
    pub(super) async fn put(&mut self, media: Media) -> Value {
        let kept = self.results.keep(self.payer, media.kind, media.bytes.clone()).await;
        self.show(&media, kept.as_ref())
    }

    /// The same for what was kept before.
    pub(super) fn show(&mut self, media: &Media, kept: Option<&Kept>) -> Value {
        let Media { kind, bytes } = media;
        if self.blocks.len() < BLOCKS_MAX && bytes.len() / 3 * 4 < self.inline_left {
            let data = |bytes| media::to_base64(bytes);
            let block = match kind.split('/').next() {
                Some("image") => Some(ContentBlock::image(data(bytes), *kind)),
                Some("audio") if self.knows("2025-03-26") => Some(ContentBlock::audio(data(bytes), *kind)),
                _ => None,
            };
            if let Some(block) = block {
                self.inline_left -= bytes.len() / 3 * 4;
                self.blocks.push(block);
            }
        }
        let mut about = json!({"media_type": kind, "bytes": bytes.len()});
        if let Some(kept) = kept {
            about["uri"] = kept.uri.as_str().into();
            if let Some(file) = &kept.file {
                about["file"] = file.as_str().into();
            }
            self.link(&kept.uri, kind, bytes.len());
        }
        about
    }

    /// Cuts a text to what takes at most `max` characters in JSON, and keeps the whole.
    pub(super) async fn cut(&mut self, whole: String, kind: &'static str, max: usize) -> (String, Option<Truncated>) {
        let shown = text::shorten_for_json(&whole, max);
        if shown.len() == whole.len() {
            return (whole, None);
        }
        let shown = shown.to_owned();
        let (shown_chars, total_chars, bytes) = (shown.chars().count(), whole.chars().count(), whole.len());
        let kept = self.results.keep(self.payer, kind, whole.into()).await;
        if let Some(kept) = &kept {
            self.link(&kept.uri, kind, bytes);
        }
        let next = kept.as_ref().map(|kept| format!("{}?offset={shown_chars}", kept.uri));
        (shown, Some(Truncated { total_chars, next, file: kept.and_then(|kept| kept.file) }))
    }

    fn link(&mut self, uri: &str, kind: &str, bytes: usize) {
        if self.blocks.len() < BLOCKS_MAX && self.knows("2025-06-18") {
            let name = format!("result.{}", media::extension(kind));
            self.blocks.push(ContentBlock::resource_link(Resource::new(uri, name).with_mime_type(kind).with_size(bytes as u64)));
        }
    }

    /// Whether the client speaks this revision or a later one; an older one does not know what came with it.
    fn knows(&self, revision: &str) -> bool {
        self.version.as_ref().is_some_and(|version| version.as_str() >= revision)
    }
}

/// A page of a text, from the character at `offset` on: as much as takes `max` characters in JSON.
pub(super) fn page(whole: &str, kept: &Kept, offset: usize, max: usize) -> (String, Option<Truncated>) {
    let total_chars = whole.chars().count();
    let start = whole.char_indices().nth(offset).map_or(whole.len(), |(start, _)| start);
    let shown = text::shorten_for_json(&whole[start..], max);
    let next = offset + shown.chars().count();
    let rest =
        (next < total_chars).then(|| Truncated { total_chars, next: Some(format!("{}?offset={next}", kept.uri)), file: kept.file.clone() });
    (shown.to_owned(), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_put_together_are_the_whole() {
        let whole = "äö\"ü\n".repeat(50);
        let kept = Kept { uri: "lava-mcp://results/x".to_owned(), file: None };
        let (mut all, mut offset) = (String::new(), 0);
        loop {
            let (part, rest) = page(&whole, &kept, offset, 40);
            all.push_str(&part);
            let Some(next) = rest.and_then(|rest| rest.next) else { break };
            offset = next.rsplit_once('=').unwrap().1.parse().unwrap();
        }
        assert_eq!(all, whole);
        assert_eq!(page(&whole, &kept, 9_999, 40).0, "");
    }
}
