//! The same from the command line, with real processes: the lid over all keys, what a crash leaves behind, and models whose prices were wrong.

use std::path::Path;

use serde_json::{Value, json};

use crate::{
    cli::program,
    fake_upstream::FakeUpstream,
    mcp_stdio::{Server, hanging_prompt, ledger, with_upstream},
    server::{Gateway, http},
};

/// Runs the program, with the fake provider's config file if there is one; returns exit code, stdout and stderr.
fn run(home: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let config = home.join("config.toml");
    let mut command = program(home);
    command.envs(config.exists().then_some(("LAVA_CONFIG", config)));
    let output = command.args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn json_of(home: &Path, arguments: &[&str]) -> Value {
    let (code, out, err) = run(home, &[arguments, &["--json"]].concat());
    assert_eq!(code, Some(0), "{err}");
    serde_json::from_str(&out).unwrap()
}

fn check(home: &Path, what: &str) -> Option<String> {
    let report = json_of(home, &["doctor"]);
    let checks = report["checks"].as_array().unwrap().clone();
    checks.into_iter().find(|check| check["what"] == what).map(|check| check["detail"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_lid_over_all_keys_holds_for_two_processes() {
    let upstream = FakeUpstream::start().await;
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let gateways = [0, 1].map(|_| Gateway::start(home, with_upstream(home, &upstream)));
    let keys: Vec<String> = (0..4)
        .map(|at| {
            let (code, key, err) = run(home, &["keys", "create", &format!("key {at}"), "--unlimited", "--quiet"]);
            assert_eq!(code, Some(0), "{err}");
            key.trim().to_owned()
        })
        .collect();
    let http = http();
    let ask = |at: usize, script: &str| {
        let body =
            json!({"model": format!("fake/{script}"), "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 50}).to_string();
        let url = format!("{}/chat/completions", gateways[at % 2].address);
        let asked = http.post(url).bearer_auth(&keys[at / 2 % 4]).body(body).send();
        async move {
            let answer = asked.await.unwrap();
            let status = answer.status().as_u16();
            (status, serde_json::from_str::<Value>(&answer.text().await.unwrap()).unwrap())
        }
    };
    assert_eq!(ask(0, "ok").await.0, 200);
    let settled = || {
        ledger(home)
            .query_row("SELECT coalesce(max(held_n), 0), coalesce(sum(amount_n), 0), (SELECT count(*) FROM hold) FROM entry", [], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
            })
            .unwrap()
    };
    while settled().2 > 0 || settled().0 == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let (hold_n, spent_n, _) = settled();
    let lid_n = spent_n + hold_n * 6 + hold_n / 2;
    let limited = json_of(home, &["account", "limit", &format!("0.{lid_n:09}/monthly")]);
    assert_eq!(limited["spend_limit"]["cycle"], "monthly");
    let asks = (0..48).map(|at| tokio::spawn(ask(at, "slow-3000")));
    let answers: Vec<(u16, Value)> = futures_util::future::join_all(asks).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|(status, _)| *status == 200).count(), 6, "{answers:?}");
    for (_, refused) in answers.iter().filter(|(status, _)| *status != 200) {
        assert_eq!(refused["error"]["limit_of"], "account", "{refused}");
    }
    while settled().2 > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(settled().1 <= lid_n);
}

#[test]
fn the_limit_of_the_account_from_the_command_line() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let sandbox = |arguments: &[&str]| run(home, &[&["--sandbox"], arguments].concat());
    assert_eq!(sandbox(&["login"]).0, Some(0));
    let (code, shown, _) = sandbox(&["account"]);
    assert_eq!(code, Some(0));
    for line in ["Account  sandbox", "Limit    none", "Spent    0.00 USD in total", "Left     unlimited"] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let ask = || sandbox(&["prompt", "gpt-4o-mini", "Hi", "--max-tokens", "9"]);
    assert_eq!(ask().0, Some(0));
    let limited = json_of(home, &["--sandbox", "account", "limit", "0.000001/monthly"]);
    assert_eq!((&limited["spend_limit"], &limited["remaining"]), (&json!({"amount": "0.000001", "cycle": "monthly"}), &json!("0.00")));
    assert_ne!(limited["current_spend"], "0.0000000000", "what was spent before counts");
    let (code, _, err) = ask();
    assert!(code == Some(1) && err.contains("Account spend limit exceeded."), "{err}");
    let (_, shown, _) = sandbox(&["account"]);
    assert!(shown.contains("Limit    0.000001 USD monthly") && shown.contains("USD this cycle") && shown.contains("Resets"), "{shown}");
    assert_eq!(json_of(home, &["account"])["spend_limit"], Value::Null, "live keys have an account of their own");
    for wrong in ["50", "0/daily", "5.00/hourly"] {
        let (code, _, err) = sandbox(&["account", "limit", wrong]);
        assert!(code == Some(1) && err.contains("is not a limit"), "{wrong}: {err}");
    }
    assert_eq!(json_of(home, &["--sandbox", "account", "limit", "none"])["spend_limit"], Value::Null);
    assert_eq!(ask().0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_leaves_behind_is_seen_and_can_be_taken_back() {
    let upstream = FakeUpstream::start().await;
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let mut server = Server::start(with_upstream(home, &upstream), true);
    hanging_prompt(&mut server, home, false);
    let (_, table, _) = run(home, &["keys", "holds"]);
    assert!(table.contains("open") && table.contains("fake/never"), "{table}");
    assert_eq!(check(home, "unverified"), None);
    server.child.kill().unwrap();
    server.child.wait().unwrap();

    let holds = json_of(home, &["keys", "holds"]);
    assert_eq!(holds["open"], json!([]));
    let [suspect] = &holds["suspect"].as_array().unwrap()[..] else { panic!("{holds}") };
    let text = |field: &str| suspect[field].as_str().unwrap().to_owned();
    let (hold, id, amount) = (text("hold_id"), text("spend_key_id"), text("amount"));
    let object = json_of(home, &["keys", "show", &id]);
    assert_eq!((&object["lava_mcp"]["suspect"], &object["lava_mcp"]["held"]), (&json!(amount), &json!("0.00")));
    assert!(run(home, &["keys", "list"]).2.contains(&format!("{id}: {amount} USD")), "a person is told");
    let (_, table, err) = run(home, &["keys", "holds", &id]);
    assert!(table.contains(&hold) && table.contains("unverified") && err.contains("write-off"), "{table}{err}");
    assert!(check(home, "unverified").unwrap().starts_with(&format!("1 charge of {amount} USD")));

    let (code, _, err) = run(home, &["keys", "write-off", &hold]);
    assert!(code == Some(1) && err.contains("--reason"), "{err}");
    assert_eq!(run(home, &["keys", "write-off", &hold, "--reason", ""]).0, Some(1));
    assert_eq!(
        json_of(home, &["keys", "write-off", &hold, "--reason", "not on the bill"]),
        json!({"hold_id": hold, "written_off": amount})
    );
    let (code, _, err) = run(home, &["keys", "write-off", &hold, "--reason", "again"]);
    assert!(code == Some(1) && err.contains("written off before"), "{err}");
    let (code, _, err) = run(home, &["keys", "write-off", "hold_nobody", "--reason", "x"]);
    assert!(code == Some(1) && err.contains("hold_nobody"), "{err}");
    let (code, _, err) = run(home, &["keys", "holds", "spk_nobody"]);
    assert!(code == Some(1) && err.contains("spk_nobody"), "{err}");
    let object = json_of(home, &["keys", "show", &id]);
    assert_eq!((&object["lava_mcp"]["suspect"], &object["current_spend"]), (&json!("0.00"), &json!("0.0000000000")));
    assert!(run(home, &["keys", "holds"]).2.contains("no charge is unverified"));
    assert_eq!(check(home, "unverified"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mispriced_model_from_the_command_line() {
    let upstream = FakeUpstream::start().await;
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let _ = with_upstream(home, &upstream);
    let config = home.join("config.toml");
    std::fs::write(&config, std::fs::read_to_string(&config).unwrap() + "models = [\"house/lies\"]\n").unwrap();
    assert_eq!(run(home, &["login"]).0, Some(0));
    assert!(run(home, &["mispriced"]).2.contains("No model"));
    assert_eq!(check(home, "quarantined"), None);
    let ask = || run(home, &["prompt", "fake/house/lies", "Hi", "--max-tokens", "9"]);
    assert_eq!(ask().0, Some(0));
    let (code, _, err) = ask();
    assert!(code == Some(1) && err.contains("fake/house/lies is quarantined") && err.contains("lava-mcp quarantined"), "{err}");
    // Who names no provider is sold it by another one that has it.
    let alone = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &config,
        format!("{alone}{}", alone.split_once('[').map(|(_, own)| format!("[{own}")).unwrap().replace(".fake]", ".other]")),
    )
    .unwrap();
    let sold = json_of(home, &["prompt", "house/lies", "Hi", "--max-tokens", "9"]);
    assert_eq!(sold["provider"], "other", "{sold}");
    assert_eq!(run(home, &["quarantined", "reinstate", "other/house/lies"]).0, Some(0));
    std::fs::write(&config, alone).unwrap();
    // What a search finds, and the list of models, say so as well.
    let found = || json_of(home, &["search", "house/lies"])["results"][0].clone();
    assert_eq!((&found()["id"], &found()["available"]), (&json!("fake/house/lies"), &json!(false)), "{}", found());
    assert!(found()["unavailable_reason"].as_str().unwrap().contains("is quarantined"), "{}", found());
    let (_, table, err) = run(home, &["mispriced"]);
    assert!(table.contains("fake/house/lies") && table.contains("2.000011") && err.contains("quarantined reinstate"), "{table}{err}");
    assert_eq!(json_of(home, &["mispriced"])["data"][0]["model"], "house/lies");
    assert!(check(home, "quarantined").unwrap().starts_with("fake/house/lies billed more"));
    let fake = json_of(home, &["doctor"])["providers"][0].clone();
    assert_eq!((&fake["available"], &fake["models"]), (&json!(false), &json!(0)), "{fake}");
    assert!(fake["unavailable_reason"].as_str().unwrap().contains("is quarantined"), "{fake}");
    for (wrong, says) in [("house", "openai/gpt-4o-mini"), ("fake/ok", "fake/ok is not quarantined")] {
        let (code, _, err) = run(home, &["mispriced", "sell-again", wrong]);
        assert!(code == Some(1) && err.contains(says), "{wrong}: {err}");
    }
    assert_eq!(
        json_of(home, &["mispriced", "sell-again", "fake/house/lies"]),
        json!({"reinstated": "fake/house/lies", "sold_again": "fake/house/lies"})
    );
    assert_eq!(found()["available"], true);
    assert_eq!(ask().0, Some(0));
    // The words for people; the older ones go on to work.
    assert_eq!(json_of(home, &["quarantined"])["data"][0]["model"], "house/lies");
    assert_eq!(run(home, &["quarantined", "reinstate", "fake/house/lies"]).0, Some(0));
    assert_eq!(json_of(home, &["quarantined"])["data"], json!([]));
}
