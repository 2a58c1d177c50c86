//! `kill -9` at random moments, many times, on one ledger. What a client was told must be in the books, and nothing may be left open.

use std::collections::HashMap;

use serde_json::json;

use crate::mcp_stdio::Server;

/// Lives of the server; `LAVA_KILLS` makes it more.
const KILLS: u64 = 12;
const PROMPTS: u64 = 150;
/// Answers after which a life ends, at most; the other prompts are then on their way.
const ANSWERS: u64 = 25;

#[test]
fn what_was_answered_survives_kill_nine() {
    let kills = std::env::var("LAVA_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let home = tempfile::tempdir().unwrap();
    let mut first = Server::sandbox(home.path(), false);
    assert_eq!(first.call("login", json!({}))["isError"], false);
    first.close();
    let mut told: HashMap<String, String> = HashMap::new();
    for life in 0..kills {
        let mut server = Server::sandbox(home.path(), false);
        for at in 0..PROMPTS {
            server.post(
                "tools/call",
                json!({"name": "prompt", "arguments": {"model": "gpt-4o-mini", "input": format!("{life} {at}"), "max_tokens": 20}}),
            );
        }
        // Each life dies at another moment of its work.
        let count = usize::try_from(1 + life * 7 % ANSWERS).unwrap();
        for answer in server.answers_until_killed(count) {
            let result = &answer["result"]["structuredContent"];
            if let (Some(id), Some(cost)) = (result["request_id"].as_str(), result["cost"].as_str()) {
                told.insert(id.to_owned(), cost.to_owned());
            }
        }
    }
    assert!(!told.is_empty(), "some answers came before the end");
    // One more life settles what the others left.
    let mut last = Server::sandbox(home.path(), false);
    assert_eq!(last.call("usage", json!({}))["isError"], false);
    last.close();

    let ledger = rusqlite::Connection::open(home.path().join(".local/share/lava-mcp/ledger.db")).unwrap();
    for (id, cost) in &told {
        let booked: i64 = ledger.query_row("SELECT sum(amount_n) FROM entry WHERE request_id = ?1", [id], |row| row.get(0)).unwrap();
        let cost: lava_mcp::domain::Money = cost.parse().unwrap();
        assert_eq!(booked, cost.nanos(), "{id}");
    }
    let count = |query: &str| ledger.query_row(query, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM hold"), 0);
    assert_eq!(count("SELECT sum(held_n) FROM budget"), 0);
    assert_eq!(count("SELECT sum(spent_n) - (SELECT sum(amount_n) FROM entry) FROM budget"), 0, "the budget is the sum of its entries");
    assert_eq!(count("SELECT count(*) FROM (SELECT hold_id FROM entry GROUP BY hold_id HAVING count(*) > 1)"), 0, "every hold ended once");
    assert!(count("SELECT count(*) FROM entry WHERE kind = 'suspect'") > 0, "some calls were cut off, and are charged");
    assert_eq!(count("SELECT count(*) FROM entry WHERE kind = 'suspect' AND amount_n <> held_n"), 0);
}
