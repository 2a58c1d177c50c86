//! What README and the other documents show as a config file is one: as printed, every command reads it, and README's own provider can be used.

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

#[test]
fn other_documents_show_settings_that_are_read() {
    let home = tempfile::tempdir().unwrap();
    let certificate = rcgen::generate_simple_self_signed(vec!["house".to_owned()]).unwrap().cert.pem();
    std::fs::write(home.path().join("company.pem"), certificate).unwrap();
    let config = home.path().join("config.toml");
    let mut blocks = 0;
    for name in ["docs/REFERENCE.md", "docs/guides/gateway.md"] {
        let text = std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
        for block in text.split("```toml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            std::fs::write(&config, block).unwrap();
            let done = program(home.path()).arg("--config").arg(&config).arg("doctor").output().unwrap();
            assert!(done.status.success(), "{name}:\n{block}{}", String::from_utf8_lossy(&done.stderr));
            blocks += 1;
        }
    }
    assert!(blocks >= 3, "{blocks}");
}
