//! Where a reply or a stream of the Anthropic dialect says what was used.
//!
//! `input_tokens` leaves out what was read from or written to a cache; those are counted beside it. In a stream, `message_start` has the input and
//! `message_delta` the running total of the output; hidden reasoning is part of the output.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::{
    domain::Usage,
    translate::reply::{Count, Seen, Service, TextBytes, begins_as_object, count, says_only},
};

/// The usage block of a reply or an event, or of one of the iterations that the answer took.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Block {
    input_tokens: Option<Count>,
    cache_read_input_tokens: Option<Count>,
    cache_creation_input_tokens: Option<Count>,
    cache_creation: Option<CacheCreation>,
    output_tokens: Option<Count>,
    /// Of an iteration: what it was for.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Of an iteration: the model that ran, where it is another one.
    model: Option<String>,
    /// Each run of a model for this answer: compactions and advisors are not part of the counters beside this list.
    iterations: Option<Vec<Block>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CacheCreation {
    ephemeral_1h_input_tokens: Option<Count>,
    ephemeral_5m_input_tokens: Option<Count>,
}

impl Block {
    fn to_usage(&self) -> Option<Usage> {
        if self.input_tokens.is_none() && self.output_tokens.is_none() {
            return None;
        }
        let cache_read = count(self.cache_read_input_tokens);
        let part = |read: fn(&CacheCreation) -> Option<Count>| count(self.cache_creation.as_ref().and_then(read));
        let for_an_hour = part(|creation| creation.ephemeral_1h_input_tokens);
        let parts = for_an_hour.saturating_add(part(|creation| creation.ephemeral_5m_input_tokens));
        let written = count(self.cache_creation_input_tokens).max(parts);
        Some(Usage {
            input: count(self.input_tokens).saturating_add(cache_read).saturating_add(written),
            cache_read,
            cache_write: written - for_an_hour,
            cache_write_1h: for_an_hour,
            output: count(self.output_tokens),
            ..Usage::default()
        })
    }

    /// What the model that was asked used in all its iterations, and what others did. The counters at the top are the sum of the messages; what they say beyond the list
    /// is the model's own. Compactions and advisors are listed beside them.
    fn to_usages(&self) -> (Option<Usage>, Vec<(String, Usage)>) {
        let Some(top) = self.to_usage() else { return (None, Vec::new()) };
        let (mut own, mut beside, mut of_others, mut others) = (Usage::default(), Usage::default(), Usage::default(), Vec::new());
        for iteration in self.iterations.iter().flatten() {
            let Some(usage) = iteration.to_usage() else { continue };
            let is_message = iteration.kind.as_deref().is_none_or(|kind| kind == "message");
            match &iteration.model {
                Some(model) => {
                    others.push((model.clone(), usage));
                    of_others = if is_message { of_others.plus(usage) } else { of_others };
                }
                None if is_message => own = own.plus(usage),
                None => beside = beside.plus(usage),
            }
        }
        (Some(own.max_each(top.minus(of_others)).plus(beside)), others)
    }
}

/// Reads the usage block of a reply: of the model that was asked, and of others by their names. `None` when there is none, or a counter is not a number of
/// zero or more.
pub fn usage(block: &str) -> (Option<Usage>, Vec<(String, Usage)>) {
    serde_json::from_str::<Block>(block).map_or_else(|_| (None, Vec::new()), |block| block.to_usages())
}

/// How many searches a usage block reports; each has a price of its own.
fn searches(block: &str) -> u64 {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Tools {
        web_search_requests: Option<Count>,
    }
    #[derive(Deserialize)]
    struct Searched {
        #[serde(default)]
        server_tool_use: Option<Tools>,
    }
    // Most answers have none, and need not be read again.
    if memchr::memmem::find(block.as_bytes(), b"web_search_requests").is_none() {
        return 0;
    }
    let searched = serde_json::from_str::<Searched>(block).ok().and_then(|block| block.server_tool_use);
    count(searched.and_then(|tools| tools.web_search_requests))
}

/// The service that a usage block reports.
fn service(block: &str) -> Service {
    #[derive(Deserialize)]
    struct Reported<'a> {
        #[serde(borrow, default)]
        inference_geo: Option<&'a RawValue>,
        #[serde(borrow, default)]
        service_tier: Option<&'a RawValue>,
        #[serde(borrow, default)]
        speed: Option<&'a RawValue>,
    }
    // Priority is capacity that was bought beforehand, of which tokens take as much as they cost.
    const LISTED: [&str; 5] = ["auto", "batch", "priority", "standard", "standard_only"];
    let Ok(Reported { inference_geo, service_tier, speed }) = serde_json::from_str(block) else { return Service::Listed };
    if !says_only(speed, &["standard"]) || !says_only(service_tier, &LISTED) {
        Service::Unlisted
    } else if !says_only(inference_geo, &["global", "not_available"]) {
        Service::InAPlace
    } else {
        Service::Listed
    }
}

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Option<&'a str>,
    /// Of a whole reply and of `message_delta`.
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    /// Of `message_start`.
    #[serde(borrow, default)]
    message: Option<Start<'a>>,
    #[serde(default)]
    content: Option<TextBytes>,
    #[serde(default)]
    delta: Option<TextBytes>,
    #[serde(default)]
    content_block: Option<TextBytes>,
    #[serde(default)]
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Start<'a> {
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

/// Looks into an event or a reply; `None` when it is not a JSON object of that form.
pub fn inspect(payload: &[u8]) -> Option<Seen> {
    if !begins_as_object(payload) {
        return None;
    }
    let reply: Reply<'_> = serde_json::from_slice(payload).ok()?;
    // The running total of the output stands in `message_delta`; `message_start` only has its beginning.
    let is_whole = matches!(reply.kind, Some("message_delta" | "message"));
    let block = reply.usage.or(reply.message.and_then(|message| message.usage));
    let visible_bytes = [reply.content, reply.delta, reply.content_block].into_iter().flatten().map(|TextBytes(bytes)| bytes).sum();
    let (usage, others) = block.map_or((None, Vec::new()), |raw| usage(raw.get()));
    Some(Seen {
        usage,
        others,
        searches: block.map_or(0, |raw| searches(raw.get())),
        service: block.map_or(Service::Listed, |raw| service(raw.get())),
        visible_bytes,
        is_usage_only: false,
        is_finish: is_whole && usage.is_some_and(|usage| usage.output > 0),
        is_error: reply.kind == Some("error") || reply.error.is_some(),
        is_end: reply.kind == Some("message_stop"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_input_contains_what_was_read_from_and_written_to_a_cache() {
        let block = json!({"input_tokens": 10, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 50,
            "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 30}, "output_tokens": 7});
        let expected = Usage { input: 160, cache_read: 100, cache_write: 20, cache_write_1h: 30, output: 7, ..Usage::default() };
        assert_eq!(usage(&block.to_string()).0, Some(expected));
        let nulls = json!({"input_tokens": 10, "cache_read_input_tokens": null, "cache_creation": null, "output_tokens": 7});
        assert_eq!(usage(&nulls.to_string()).0, Some(Usage::text(10, 7)));
        let floats = json!({"input_tokens": 10.0, "output_tokens": 6.5});
        assert_eq!(usage(&floats.to_string()).0, Some(Usage::text(10, 7)));
        for bad in [json!({}), json!({"input_tokens": -1, "output_tokens": 1}), json!({"input_tokens": "one"})] {
            assert_eq!(usage(&bad.to_string()).0, None, "{bad}");
        }
    }

    #[test]
    fn iterations_are_summed_and_each_has_its_model() {
        let run = |kind: &str, input: u64, output: u64| json!({"type": kind, "input_tokens": input, "output_tokens": output});
        let mut advisor = run("advisor_message", 823, 1_612);
        advisor["model"] = "claude-big".into();
        let block = json!({"input_tokens": 23_000, "output_tokens": 1_000,
            "iterations": [run("compaction", 180_000, 3_500), advisor, run("message", 23_000, 1_000)]});
        let (own, others) = usage(&block.to_string());
        assert_eq!((own, others), (Some(Usage::text(203_000, 4_500)), vec![("claude-big".to_owned(), Usage::text(823, 1_612))]));
        // A list that does not contain what the counters say does not lower them.
        let short = json!({"input_tokens": 100, "output_tokens": 10, "iterations": [run("message", 60, 4)]});
        assert_eq!(usage(&short.to_string()), (Some(Usage::text(100, 10)), Vec::new()));
        // What is not part of the counters at the top does not take anything away from them.
        let mut advisor = run("advisor_message", 0, 50);
        advisor["model"] = "claude-big".into();
        let beside =
            json!({"input_tokens": 10, "output_tokens": 100, "iterations": [run("message", 10, 60), advisor, run("compaction", 5, 30)]});
        assert_eq!(usage(&beside.to_string()).0, Some(Usage::text(15, 130)));
        assert_eq!(usage(&json!({"input_tokens": 100, "output_tokens": 10, "iterations": []}).to_string()).0, Some(Usage::text(100, 10)));
    }

    #[test]
    fn searches_are_counted_where_they_are_reported() {
        for (tools, expected) in [
            (json!({"web_search_requests": 3, "web_fetch_requests": 1}), 3),
            (json!({"web_search_requests": null}), 0),
            (json!({"web_fetch_requests": 1}), 0),
            (json!(null), 0),
        ] {
            let reply = json!({"type": "message", "usage": {"input_tokens": 1, "output_tokens": 1, "server_tool_use": tools}});
            assert_eq!(inspect(reply.to_string().as_bytes()).unwrap().searches, expected, "{reply}");
        }
    }

    #[test]
    fn a_service_above_the_price_list_is_seen() {
        for (more, expected) in [
            (json!({"service_tier": "standard", "speed": "standard", "inference_geo": "global"}), Service::Listed),
            (json!({"service_tier": "batch", "speed": null, "inference_geo": "not_available"}), Service::Listed),
            (json!({"service_tier": null, "inference_geo": null}), Service::Listed),
            (json!({"inference_geo": ""}), Service::Listed),
            (json!({"inference_geo": "us"}), Service::InAPlace),
            (json!({"inference_geo": "eu"}), Service::InAPlace),
            (json!({"speed": "fast"}), Service::Unlisted),
            (json!({"speed": "fast", "inference_geo": "us"}), Service::Unlisted),
            (json!({"service_tier": "priority"}), Service::Listed),
            (json!({"service_tier": "from_the_future"}), Service::Unlisted),
            (json!({"service_tier": 5}), Service::Unlisted),
        ] {
            let mut usage = json!({"input_tokens": 1, "output_tokens": 1});
            usage.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            for reply in [
                json!({"type": "message", "usage": usage}),
                json!({"type": "message_start", "message": {"usage": usage}}),
                json!({"type": "message_delta", "usage": usage}),
            ] {
                let seen = inspect(reply.to_string().as_bytes()).unwrap();
                assert_eq!((seen.service, seen.usage), (expected, Some(Usage::text(1, 1))), "{reply}");
            }
        }
    }

    #[test]
    fn the_events_of_a_stream_are_understood() {
        let see = |value: serde_json::Value| inspect(value.to_string().as_bytes()).unwrap();
        let start = see(json!({"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 9, "output_tokens": 1}}}));
        assert_eq!(start.usage, Some(Usage::text(9, 1)));
        let delta = see(json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "abc"}}));
        assert_eq!((delta.visible_bytes, delta.usage), (3, None));
        let last = see(json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}}));
        assert_eq!(last.usage, Some(Usage::text(0, 5)));
        assert!(see(json!({"type": "message_stop"})).is_end);
        assert!(see(json!({"type": "error", "error": {"type": "overloaded_error", "message": "x"}})).is_error);
        assert_eq!(inspect(b"[DONE]"), None);
    }
}
