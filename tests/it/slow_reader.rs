//! A caller who does not read, and hangs up later, at a provider that stops billing when its stream is closed: what it has made and sent by then is paid.

use std::time::Duration;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    time::sleep,
};

use crate::{
    billing_upstream::BillingUpstream,
    harness::{Harness, Served, UPSTREAM_KEY},
};

/// 8 KiB each: more than the buffers between the provider and the caller hold.
const TOKENS: u64 = 3_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_slowly_and_hangs_up_pays_what_the_provider_has_sent() {
    let upstream = BillingUpstream::start().await;
    let harness = Harness::start_at(&upstream.url, UPSTREAM_KEY).await;
    let gateway = Served::start(harness.gateway.clone()).await;
    for ending in ["hose-1", "hose-then-still-2"] {
        let (key, _) = harness.key(json!({})).await;
        let asked = json!({"model": format!("azure/{ending}"), "messages": [{"role": "user", "content": "Hi"}], "max_tokens": TOKENS, "stream": true}).to_string();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(2_048).unwrap();
        let mut socket = socket.connect(gateway.address).await.unwrap();
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\ncontent-length: {}\r\n\r\n",
            asked.len()
        );
        socket.write_all(format!("{head}{asked}").as_bytes()).await.unwrap();
        assert_eq!(socket.read(&mut [0; 12]).await.unwrap(), 12);
        // Until every buffer is full, or all of it was made.
        let mut made = upstream.bills.of(ending);
        loop {
            sleep(Duration::from_millis(400)).await;
            if std::mem::replace(&mut made, upstream.bills.of(ending)) == upstream.bills.of(ending) {
                break;
            }
        }
        drop(socket);
        harness.settled().await;
        let (billed_n, entry) = (upstream.bills.of(ending).unwrap(), harness.entries().await.pop().unwrap());
        assert!(billed_n > 2 * 500_000, "{ending}: {billed_n}");
        assert!(entry.amount_n >= billed_n, "{ending}: {billed_n} were billed, and {} booked ({})", entry.amount_n, entry.basis);
        assert_ne!(entry.basis, "hold", "{ending}: all that had come was read");
    }
    gateway.stop().await;
}
