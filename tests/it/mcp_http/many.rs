//! Many clients: what they cost, and that nothing of them stays.

#![cfg(target_os = "linux")]

use futures_util::{StreamExt, stream};
use reqwest::StatusCode;
use serde_json::json;

use super::{Serving, Sse, last_message};

/// What a process holds: MiB of memory, open files.
fn holds(process: u32) -> (usize, usize) {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    (kib / 1024, std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_sessions_answer_and_take_little() {
    let home = tempfile::tempdir().unwrap();
    let serving = Serving::sandbox(home.path());
    serving.call("login", json!({})).await;
    let sessions: Vec<String> = stream::iter(0..200).map(|_| serving.initialize()).buffer_unordered(20).collect().await;
    // Each has its stream open, as a client that waits for notifications has.
    let listening = stream::iter(&sessions).map(|session| {
        let request =
            serving.http.get(format!("{}/mcp", serving.root)).header("mcp-session-id", session).header("accept", "text/event-stream");
        async { request.send().await.unwrap() }
    });
    let listening: Vec<reqwest::Response> = listening.buffer_unordered(20).collect().await;
    assert!(listening.iter().all(|stream| stream.status() == StatusCode::OK));
    let asked = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "prompt", "arguments":
        {"model": "gpt-4o-mini", "input": "Hi", "max_tokens": 9}}});
    let answers = stream::iter(&sessions).map(|session| {
        let request = serving.in_session(session, &asked);
        async { last_message(request.send().await.unwrap()).await["result"]["isError"].clone() }
    });
    let answers: Vec<_> = answers.buffer_unordered(200).collect().await;
    assert!(answers.iter().all(|is_error| *is_error == false), "{answers:?}");
    // Without optimisation the futures of calls in flight are several times as large.
    let (mib, _) = holds(serving.child.id());
    assert!(mib <= if cfg!(debug_assertions) { 256 } else { 64 }, "{mib} MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_clients_that_come_and_go_leave_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let serving = Serving::sandbox(home.path());
    serving.call("login", json!({})).await;
    let visit = async |n: usize| {
        let client = serving.another();
        match n % 3 {
            0 => assert_eq!(client.modern("tools/list", json!({})).send().await.unwrap().status(), StatusCode::OK),
            1 => {
                let session = client.initialize().await;
                let ended = client.http.delete(format!("{}/mcp", client.root)).header("mcp-session-id", session).send().await.unwrap();
                assert!(ended.status().is_success());
            }
            _ => Sse::connect(&client).await.introduce(&client.http).await,
        }
    };
    // What a crowd takes at once is taken once; more of it must not take more.
    let crowd = async |visits: std::ops::Range<usize>| stream::iter(visits).for_each_concurrent(10, visit).await;
    crowd(0..300).await;
    let settle = async || tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    settle().await;
    let (before_mib, before_files) = holds(serving.child.id());
    crowd(300..1_300).await;
    settle().await;
    let (after_mib, after_files) = holds(serving.child.id());
    assert!(after_files <= before_files + 3, "{before_files} files open before, {after_files} after");
    // A task or a session that stayed would take more than 16 KiB each.
    assert!(after_mib <= before_mib + 16, "{before_mib} MiB before, {after_mib} after");
}
