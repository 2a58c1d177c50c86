//! The service of a provider that the catalog prices: the one of the price list is asked for, and an answer that says it was another one is not booked at that list.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use super::proxies::{Proxy, tls};
use crate::{
    cli::program,
    raw_provider::{self, Step, completion, event, plain, stream_head},
    server::{Gateway, http, json_of},
};

const GPT: &str = "openai/gpt-4o-mini";
const ROUTED: &str = "openrouter/anthropic/claude-sonnet-4.5";
const CLAUDE: &str = "anthropic/claude-opus-4-8";

/// OpenAI and Anthropic as far as this gateway can see: what they were sent, and what their next answer reports.
struct Providers {
    gateway: Gateway,
    seen: Arc<Mutex<Vec<Value>>>,
    reports: Arc<Mutex<Value>>,
}

impl Providers {
    async fn start(home: &Path) -> Self {
        let (seen, reports) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(json!({}))));
        let (kept, reported) = (seen.clone(), reports.clone());
        let url = raw_provider::start(move |path, body| {
            kept.lock().unwrap().push(body.clone());
            let (more, is_streamed) = (reported.lock().unwrap().clone(), body["stream"] == true);
            if path.starts_with("/v1/messages") { message(&more, is_streamed) } else { chat(&more, is_streamed) }
        });
        let (acceptor, authority) = tls(&["api.openai.com", "api.anthropic.com", "openrouter.ai"]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::start(Some(listener.local_addr().unwrap().port())).await;
        let plain = url.strip_prefix("http://").unwrap().to_owned();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, plain) = (acceptor.clone(), plain.clone());
                tokio::spawn(async move {
                    let Ok(mut socket) = acceptor.accept(socket).await else { return };
                    let mut provider = TcpStream::connect(plain).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut socket, &mut provider).await;
                });
            }
        });
        std::fs::write(home.join("company.pem"), authority).unwrap();
        let file = home.join("lava.toml");
        let network = format!("[network]\nproxy = \"http://127.0.0.1:{}\"\nca_file = \"company.pem\"\n", proxy.port);
        std::fs::write(&file, format!("local_servers = false\n{network}")).unwrap();
        let mut command = program(home);
        command.env("LAVA_CONFIG", file).env("OPENAI_API_KEY", "sk-a").env("ANTHROPIC_API_KEY", "sk-b").env("OPENROUTER_API_KEY", "sk-c");
        Self { gateway: Gateway::start(home, command), seen, reports }
    }

    /// What is sent of a request, and how its answer is booked: the amount in US dollars, and its basis.
    async fn booked(&self, model: &str, more: &Value, reports: &Value) -> (Value, f64, String) {
        *self.reports.lock().unwrap() = reports.clone();
        let mut body = json!({"model": model, "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let path = if model == CLAUDE { "messages" } else { "chat/completions" };
        let (address, secret) = (&self.gateway.address, &self.gateway.secret);
        let answer = http().post(format!("{address}/{path}")).bearer_auth(secret).body(body.to_string()).send().await.unwrap();
        let id = answer.headers()["x-lava-request-id"].to_str().unwrap().to_owned();
        assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().is_empty()), (200, false), "{body} {reports}");
        let request = json_of(http().get(format!("{address}/requests/{id}")).bearer_auth(secret).send().await.unwrap()).await;
        let basis = request["lava_mcp"]["attempts"][0]["basis"].as_str().unwrap().to_owned();
        (self.seen.lock().unwrap().pop().unwrap(), request["cost"].as_str().unwrap().parse().unwrap(), basis)
    }
}

/// An answer of ten tokens and five in the chat dialect, where it costs what is reported.
fn chat(more: &Value, is_streamed: bool) -> Vec<Step> {
    let mut answer = completion("hello");
    answer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    answer["usage"] = json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "cost": more["cost"]});
    if !is_streamed {
        return plain(200, &answer);
    }
    answer["choices"][0]["delta"] = answer["choices"][0]["message"].take();
    vec![stream_head(), Step::Send(event(&answer)), Step::Send(b"data: [DONE]\n\n".to_vec())]
}

/// The same in the messages dialect, whose streams report the service at their beginning.
fn message(more: &Value, is_streamed: bool) -> Vec<Step> {
    let mut usage = json!({"input_tokens": 10, "output_tokens": 5});
    usage.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer =
        |content: Value| json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": content, "usage": usage});
    if !is_streamed {
        return plain(200, &answer(json!([{"type": "text", "text": "hello"}])));
    }
    let events = [
        json!({"type": "message_start", "message": answer(json!([]))}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello"}}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}}),
        json!({"type": "message_stop"}),
    ];
    std::iter::once(stream_head()).chain(events.iter().map(|sent| Step::Send(event(sent)))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_of_the_price_list_is_asked_for_and_another_one_is_not_booked_at_it() {
    let home = tempfile::tempdir().unwrap();
    let providers = Providers::start(home.path()).await;
    for (more, tier) in [
        (json!({}), "default"),
        (json!({"service_tier": null}), "default"),
        (json!({"service_tier": "auto"}), "default"),
        (json!({"service_tier": "priority"}), "default"),
        (json!({"service_tier": "default"}), "default"),
        (json!({"service_tier": "flex"}), "flex"),
    ] {
        assert_eq!(providers.booked(GPT, &more, &json!({})).await.0["service_tier"], tier, "{more}");
    }
    assert!(providers.booked(CLAUDE, &json!({}), &json!({})).await.0.get("service_tier").is_none());
    for (model, reports, times, basis) in [
        (GPT, json!({"service_tier": "default"}), Some(1.0), "measured"),
        (GPT, json!({"service_tier": "flex"}), Some(1.0), "measured"),
        (GPT, json!({"service_tier": null}), Some(1.0), "measured"),
        (GPT, json!({"service_tier": "priority"}), None, "hold"),
        (GPT, json!({"service_tier": "fast"}), None, "hold"),
        (CLAUDE, json!({"service_tier": "standard", "speed": "standard", "inference_geo": "global"}), Some(1.0), "measured"),
        (CLAUDE, json!({"service_tier": "batch", "inference_geo": "not_available"}), Some(1.0), "measured"),
        (CLAUDE, json!({"inference_geo": "us"}), Some(1.1), "measured"),
        (CLAUDE, json!({"inference_geo": "eu"}), Some(1.1), "measured"),
        (CLAUDE, json!({"speed": "fast"}), None, "hold"),
        (CLAUDE, json!({"service_tier": "priority", "inference_geo": "us"}), Some(1.1), "measured"),
    ] {
        for is_streamed in [false, true] {
            let more = json!({"stream": is_streamed});
            let (_, listed, _) = providers.booked(model, &more, &json!({})).await;
            let (_, cost, booked) = providers.booked(model, &more, &reports).await;
            assert_eq!(booked, basis, "{model} {reports} {is_streamed}");
            match times {
                Some(times) => assert!((cost - listed * times).abs() < 2e-9, "{reports}: {cost} of {listed}"),
                None => assert!(cost > listed * 2.0, "{reports}: {cost} of {listed}"),
            }
        }
    }
    // Such an answer has come: it says nothing against the provider.
    for _ in 0..4 {
        assert_eq!(providers.booked(GPT, &json!({}), &json!({"service_tier": "priority"})).await.2, "hold");
    }
    // Who says what it took has said what the service costs.
    let (sent, cost, basis) = providers.booked(ROUTED, &json!({}), &json!({"service_tier": "priority", "cost": 0.001})).await;
    assert_eq!((sent.get("service_tier"), cost, &*basis), (None, 0.001, "measured"));
}
