//! Ledgers that earlier versions wrote are opened, and what is in them counts. The schemas in `fixtures/formats` are those that programs had; two of them call
//! themselves by the number of a later one and lack a column.

use std::path::Path;

use lava_mcp::{
    domain::{
        HoldId, KeyId, Money, RequestId,
        ledger::{Ending, Outcome, Refusal, Reserve, Settle, Subject},
    },
    store::{RequestPage, Store},
};

use crate::harness::TestClock;

const FORMATS: [(&str, i64, &str); 4] = [
    ("the first one", 1, include_str!("../fixtures/formats/ledger_1_first.sql")),
    ("1", 1, include_str!("../fixtures/formats/ledger_1.sql")),
    ("the first with a limit over all keys", 2, include_str!("../fixtures/formats/ledger_2_first.sql")),
    ("2", 2, include_str!("../fixtures/formats/ledger_2.sql")),
];

/// A key with a limit of 5 dollars a day, of which 1 is spent, 1 was charged after a crash, and 1 is held by a process that has ended.
const ROWS: &str = "
INSERT INTO process VALUES ('gone', 1);
INSERT INTO secret_key (id, hash, preview, name, test, created_at) VALUES ('aks_1', x'01', 'aks', 'own', 0, 1);
INSERT INTO spend_key (id, owner, hash, preview, name, test, shape, created_at) VALUES ('sk_1', 'aks_1', x'02', 'lava', 'k', 0, 'openai', 1);
INSERT INTO budget (key_id, status, limit_n, spend_cycle, spend_window, spent_n, held_n, total_spent_n, total_requests)
    VALUES ('sk_1', 0, 5000000000, 0, 20781, 2000000000, 1000000000, 2000000000, 3);
INSERT INTO entry (hold_id, key_id, request_id, kind, amount_n, basis, usage_json, held_n, spend_window, upstream_status, provider, model, endpoint, opened_at, at)
    VALUES ('h1', 'sk_1', 'req_1', 'charge', 1000000000, 'measured', '{\"input\":5}', 1000000000, 20781, 200, 'p', 'm', 'POST u', 1795521600000000, 1795521600000001),
           ('h2', 'sk_1', 'req_2', 'suspect', 1000000000, 'crash', NULL, 1000000000, 20781, NULL, 'p', 'm', 'POST u', 1795521600000001, 1795521600000002);
INSERT INTO hold (id, key_id, request_id, process_id, spend_window, request_window, counted, amount_n, provider, model, endpoint, opened_at)
    VALUES ('h3', 'sk_1', 'req_3', 'gone', 20781, 0, 1, 1000000000, 'p', 'm', 'POST u', 1795521600000002);
";

fn write(path: &Path, format: i64, schema: &str) {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute_batch(schema).unwrap();
    connection.execute_batch(ROWS).unwrap();
    if format == 2 {
        let budget = "INSERT INTO spend_key (id, owner, hash, preview, name, test, shape, created_at) SELECT id, id, hash, preview, name, test, 'openai', 1 FROM secret_key;
            INSERT INTO budget (key_id, status) SELECT id, 0 FROM secret_key;";
        connection.execute_batch(budget).unwrap();
    }
    connection
        .execute_batch(&format!("PRAGMA application_id = 0x6c617661; PRAGMA user_version = {format}; PRAGMA journal_mode = WAL"))
        .unwrap();
}

#[tokio::test]
async fn every_ledger_that_was_ever_written_opens_and_counts() {
    let clock = TestClock::at("2026-11-24T18:00:00Z");
    for (name, format, schema) in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        write(&path, format, schema);
        let store = Store::open(&path, clock.clock()).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let key = store.spend_key(&KeyId::from_text("sk_1")).unwrap().unwrap();
        assert_eq!(
            (key.current_spend, key.held),
            (Money::from_dollars(3), Money::ZERO),
            "{name}: the hold of the process that is gone is charged"
        );
        assert_eq!(store.unverified(false, None).unwrap().len(), 2, "{name}");
        let listed = store.requests(&RequestPage { limit: 10, ..RequestPage::default() }).unwrap();
        let seen: Vec<_> = listed.iter().map(|request| (request.request.as_str(), request.status())).collect();
        assert_eq!(seen, [("req_3", "error"), ("req_2", "error"), ("req_1", "completed")], "{name}");

        let reserve = |dollars| Reserve {
            hold: HoldId::from_text(format!("new_{dollars}")),
            request: RequestId::generate(false),
            key: key.id.clone(),
            generation: 1,
            amount: Money::from_dollars(dollars),
            counted: true,
            test: false,
            subject: Subject::default(),
        };
        assert!(matches!(store.reserve(reserve(3)).await.unwrap(), Err(Refusal::SpendLimit(_))), "{name}: 2 of 5 dollars are left");
        store.reserve(reserve(2)).await.unwrap().unwrap();
        let outcome = Outcome::Void { dispatched: true };
        store
            .settle(Settle { hold: HoldId::from_text("new_2"), outcome, upstream_status: Some(500), ending: Ending::Refused })
            .await
            .unwrap();
        store.close().await;
        Store::open(&path, clock.clock()).await.unwrap().close().await;
    }
}
