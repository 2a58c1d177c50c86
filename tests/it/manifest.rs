//! server.json, the entry for the MCP registry: as the registry's schema wants it, and with nothing made up.

use std::path::Path;

use serde_json::Value;

use crate::cli::program;

fn server_json(home: &Path, arguments: &[&str]) -> Result<Value, String> {
    let output = program(home).args([&["manifest", "--server-json"], arguments].concat()).output().unwrap();
    if output.status.success() {
        return Ok(serde_json::from_slice(&output.stdout).unwrap());
    }
    Err(String::from_utf8(output.stderr).unwrap())
}

#[test]
fn the_one_in_the_repository_is_the_one_that_is_made() {
    let home = tempfile::tempdir().unwrap();
    let made = server_json(home.path(), &[]).unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("server.json");
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(kept, made, "run `cargo run -- manifest --server-json > server.json`");
    assert_eq!(kept.get("packages"), None, "there is no released bundle yet, so none has a checksum");
}

#[test]
fn it_has_the_shape_of_the_registrys_schema() {
    let home = tempfile::tempdir().unwrap();
    let bundle = home.path().join("lava-mcp.mcpb");
    std::fs::write(&bundle, b"PK\x03\x04 a bundle").unwrap();
    let bundle = bundle.to_str().unwrap();
    let url = "https://example.com/releases/lava-mcp.mcpb";
    let server = server_json(home.path(), &["--mcpb", bundle, "--url", url]).unwrap();
    assert_eq!(server["$schema"], "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (namespace, name) = text(&server["name"]).split_once('/').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let is_made_of = |text: &str, more: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
    assert!(namespace.contains('.') && is_made_of(&namespace, ".-") && is_made_of(&name, "._-"), "reverse DNS: {namespace}/{name}");
    assert!((1..=100).contains(&text(&server["description"]).chars().count()));
    assert_eq!(server["version"], env!("CARGO_PKG_VERSION"));
    let package = &server["packages"][0];
    assert!(text(&package["fileSha256"]).len() == 64 && text(&package["fileSha256"]).chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')));
    assert_eq!((&package["identifier"], &package["registryType"]), (&url.into(), &"mcpb".into()));
    let known = ["registryType", "identifier", "version", "fileSha256", "transport", "environmentVariables"];
    assert!(package.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())), "{package}");
    for variable in package["environmentVariables"].as_array().unwrap() {
        let is_secret = text(&variable["name"]).ends_with("_KEY");
        assert_eq!(variable.get("isSecret").is_some_and(|secret| secret == true), is_secret, "{variable}");
    }
    for (file, url, says) in [
        (bundle, "https://example.com/lava.zip", "\"mcp\""),
        (bundle, "http://example.com/lava-mcp.mcpb", "https"),
        ("/nowhere/lava-mcp.mcpb", url, "/nowhere"),
        (concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"), url, "scripts/bundle"),
    ] {
        let said = server_json(home.path(), &["--mcpb", file, "--url", url]).unwrap_err();
        assert!(said.contains(says), "{said}");
    }
    assert!(server_json(home.path(), &["--mcpb", bundle]).unwrap_err().contains("--url"));
}
