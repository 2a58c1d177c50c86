//! What README shows as a config file is one: as printed, every command reads it, and its own provider can be used.

use std::process::Output;

use crate::{cli::program, fake_upstream::FakeUpstream};

const ADDRESS: &str = "http://10.0.0.7:8000/v1";

/// The first block of this kind.
fn block(kind: &str) -> String {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let (_, rest) = readme.split_once(&format!("```{kind}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn its_config_file_works_as_printed() {
    let upstream = FakeUpstream::start().await;
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("config.toml");
    let printed = block("toml");
    assert!(printed.contains(ADDRESS), "the address of this test: {printed}");
    let run = |text: &str, key: Option<&str>, arguments: &[&str]| -> Output {
        std::fs::write(&config, text).unwrap();
        program(home.path()).envs(key.map(|key| ("HOUSE_API_KEY", key))).arg("--config").arg(&config).args(arguments).output().unwrap()
    };
    let out = |output: Output| format!("{}{}", String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    for key in [None, Some("sk-house")] {
        for arguments in [&["doctor"] as &[&str], &["search", "our-model"], &["status"]] {
            let done = run(&printed, key, arguments);
            assert!(done.status.success(), "{arguments:?}: {}", out(done));
        }
        let found = out(run(&printed, key, &["search", "our-model"]));
        assert!(found.contains("house/our-model") && found.contains("0.15") && found.contains("0.60"), "{found}");
        let asked = out(run(&printed.replace(ADDRESS, &format!("{}/v1", upstream.url)), key, &["prompt", "house/our-model", "Hi"]));
        let allows_house = printed.lines().any(|line| line.starts_with("allowed_providers") && line.contains("\"house\""));
        match (key, allows_house) {
            (None, _) => assert!(asked.contains("Set HOUSE_API_KEY"), "{asked}"),
            (Some(_), true) => assert!(!asked.contains("error:"), "{asked}"),
            (Some(_), false) => assert!(asked.contains("does not allow the provider house"), "{asked}"),
        }
    }
    let status = out(run(&printed, None, &["status"]));
    assert!(status.contains("5.00 USD a day (set by session.limit in the config file)"), "{status}");
}
