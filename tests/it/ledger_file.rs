//! The ledger's file is taken away, exchanged, or rewritten by a newer program while this one runs: nothing is sold.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use http::StatusCode;
use serde_json::json;

use crate::{cli::program, harness::Harness};

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// As when a person opens several MCP clients for the first time.
#[test]
fn many_processes_can_open_a_new_ledger_at_once() {
    for _ in 0..5 {
        let home = tempfile::tempdir().unwrap();
        let start = || program(home.path()).args(["keys", "list"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let all: Vec<_> = std::iter::repeat_with(start).take(12).collect();
        for child in all {
            let done = child.wait_with_output().unwrap();
            assert!(done.status.success(), "{done:?}");
        }
    }
}

async fn assert_sells(harness: &Harness, key: &str) {
    let answer = harness.chat(key, "ok", json!({})).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    harness.settled().await;
}

async fn assert_sells_nothing(harness: &Harness, key: &str) {
    let seen = harness.upstream.seen().len();
    for _ in 0..3 {
        let answer = harness.chat(key, "ok", json!({})).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "ledger_unavailable"), "{}", answer.text());
        // Past the pause after which a failed file is opened again.
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
    assert_eq!(harness.upstream.seen().len(), seen);
}

#[tokio::test]
async fn a_ledger_that_was_moved_away_sells_nothing_until_it_is_back() {
    let harness = Harness::start().await;
    let (key, id) = harness.key_with_limit("1.00").await;
    assert_sells(&harness, &key).await;
    let (path, away) = (harness.ledger_path(), harness.ledger_path().with_file_name("away.db"));
    std::fs::rename(&path, &away).unwrap();
    assert_sells_nothing(&harness, &key).await;
    assert!(!path.exists(), "no empty ledger takes its place");
    std::fs::rename(&away, &path).unwrap();
    assert_sells(&harness, &key).await;
    assert_eq!(harness.object(&id).await["current_requests"], 2);
    harness.finish().await;
}

#[tokio::test]
async fn a_ledger_that_was_replaced_or_lost_a_file_beside_it_sells_nothing() {
    for what in ["", "-wal", "-shm"] {
        let harness = Harness::start().await;
        let (key, _) = harness.key_with_limit("1.00").await;
        assert_sells(&harness, &key).await;
        let path = beside(&harness.ledger_path(), what);
        if what.is_empty() {
            let copy = path.with_file_name("copy.db");
            std::fs::copy(&path, &copy).unwrap();
            std::fs::rename(&copy, &path).unwrap();
        } else {
            std::fs::remove_file(&path).unwrap();
        }
        assert_sells_nothing(&harness, &key).await;
    }
}

#[tokio::test]
async fn a_settlement_waits_for_the_file_and_is_not_lost() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    let (path, away) = (harness.ledger_path(), harness.ledger_path().with_file_name("away.db"));
    let asked = harness.chat(&key, "slow-300", json!({}));
    let moved = async {
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        std::fs::rename(&path, &away).unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(600)).await;
        std::fs::rename(&away, &path).unwrap();
    };
    let (answer, ()) = tokio::join!(asked, moved);
    assert_eq!(answer.status, StatusCode::OK);
    let entries = harness.entries().await;
    assert_eq!((entries.len(), entries[0].basis.as_str()), (1, "measured"));
    harness.finish().await;
}

#[tokio::test]
async fn a_newer_format_is_refused_by_a_process_that_runs() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    assert_sells(&harness, &key).await;
    let newer = rusqlite::Connection::open(harness.ledger_path()).unwrap();
    newer.execute_batch("BEGIN IMMEDIATE; ALTER TABLE entry ADD COLUMN later TEXT; PRAGMA user_version = 99; COMMIT").unwrap();
    assert_sells_nothing(&harness, &key).await;
    let said = harness.chat(&key, "ok", json!({})).await.text();
    assert!(said.contains("format 99") && said.contains("update lava-mcp"), "{said}");
}
