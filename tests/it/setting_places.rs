//! A setting that cannot be used is named by its place: file, line and column, or the variable or flag; with what is allowed.

use std::process::Output;

use crate::cli::program;

fn said(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_mistake_in_the_config_file_is_named_by_line_and_key() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("lava.toml");
    for (text, place, says) in [
        ("[session]\nlimit = 5\n", "line 2, column 9: session.limit:", &["invalid type: integer", "string", "5.00/daily"][..]),
        (
            "[session]\nlimt = \"5.00/daily\"\n",
            "line 2, column 1: session.limt:",
            &["unknown field `limt`", "did you mean `limit`?", "`ask_above`"],
        ),
        ("\n[sesion]\n", "line 2, column 2: sesion:", &["did you mean `session`?"]),
        ("sandbox = \"yes\"\n", "line 1, column 11: sandbox:", &["boolean"]),
        ("[session]\nlimit = \"lots\"\n", "line 2, column 1: session.limit:", &["5.00/daily"]),
        ("[session]\nlimit = \"5.00/hourly\"\n", "line 2, column 1: session.limit:", &["hourly", "daily"]),
        ("[session]\nlimit = \"-5/daily\"\n", "line 2, column 1: session.limit:", &[]),
        ("[session]\nask_above = \"much\"\n", "line 2, column 1: session.ask_above:", &["\"much\"", "0.50"]),
        ("\ncredential_store = \"paper\"\n", "line 2, column 1: credential_store:", &["keyring", "file", "paper"]),
        ("log = \"loud\"\n", "line 1, column 1: log:", &["\"loud\" is not a level", "debug"]),
        ("[gateway]\n\napi_url = \"lava\"\n", "line 3, column 1: gateway.api_url:", &["http"]),
        ("[gateway]\napi_url = \"http://api.example.com\"\n", "line 2, column 1: gateway.api_url:", &["https"]),
        ("[gateway]\napi_url = \"https://a.example\"\napp_url = \"x\"\n", "line 3, column 1: gateway.app_url:", &[]),
        ("[gateway]\nforward_with = \"both\"\n", "line 2, column 1: gateway.forward_with:", &["spend-key", "secret-key"]),
        ("[providers.x]\nbase_url = \"nowhere\"\n", "line 2, column 12: providers.x.base_url:", &["http://127.0.0.1:8000/v1"]),
        ("[providers.x]\nmodels = [\"m\"]\n", "line 1, column 12: providers.x:", &["base_url"]),
        (
            "[providers.x]\nbase_url = \"http://x/v1\"\ndialect = \"opnai\"\n",
            "line 3, column 11: providers.x.dialect:",
            &["did you mean `openai`?"],
        ),
        ("[providers.x]\nprice = { input = \"-1\", output = \"1\" }\n", "line 2, column 9: providers.x.price:", &["\"-1\""]),
        ("[providers.x]\nprice = { input = 1, output = 1 }\n", "line 2, column 9: providers.x.price:", &["in quotes"]),
        ("[providers.x]\nprice = \"cheap\"\n", "line 2, column 9: providers.x.price:", &["\"free\""]),
        ("[providers]\nopenai = \"sk-canary\"\n", "line 2, column 10: providers.openai:", &["a text"]),
        ("[model_aliases]\nfast = \"\"\n", "line 2, column 1: model_aliases.fast:", &["a name on both sides"]),
        ("[network]\nproxy = \"proxy.example\"\n", "line 2, column 1: [network] proxy:", &["http://proxy.example:3128"]),
        ("[network]\nno_proxy = [\"x\"]\n", "line 2, column 1: [network] no_proxy:", &["proxy"]),
        ("[network]\nca_file = \"missing.pem\"\n", "line 2, column 1: network.ca_file:", &["missing.pem: there is no such file"]),
        ("[network]\nca_file = \"lava.toml\"\n", "line 2, column 1: [network] ca_file:", &["BEGIN CERTIFICATE"]),
        ("[network]\nsilence_timeout_s = 0\n", "line 2, column 1: network.silence_timeout_s:", &["from 1 to"]),
        ("[listen]\ntrusted_proxies = [\"proxy\"]\n", "line 2, column 20: listen.trusted_proxies:", &["IP address"]),
        ("sandbox = true\nsandbox = false\n", "line 2, column 1:", &["duplicate key"]),
        ("[session]\n[session]\n", "line 2, column 2:", &["duplicate key"]),
        ("sandbox = \n", "line 1, column ", &[]),
        ("a = \"é\n", "line 1, column ", &[]),
    ] {
        std::fs::write(&path, text).unwrap();
        let command = || {
            let mut command = program(home.path());
            command.env_remove("LAVA_CREDENTIAL_STORE").arg("status");
            command
        };
        let by_flag = said(&command().arg("--config").arg(&path).output().unwrap());
        let by_variable = said(&command().env("LAVA_CONFIG", &path).output().unwrap());
        for error in [by_flag, by_variable] {
            assert!(error.starts_with(&format!("error: {}, {place}", path.display())), "{text:?}: {error}");
            for word in says {
                assert!(error.contains(word), "{text:?}: {word}: {error}");
            }
            assert!(!error.contains("canary"), "{error}");
            assert_eq!(error.matches("error: ").count(), 1, "{error}");
        }
    }
}

#[test]
fn a_variable_or_a_flag_is_named_as_one() {
    let home = tempfile::tempdir().unwrap();
    for (name, value, says) in [
        ("LAVA_LOG", "loud", "\"loud\" is not a level"),
        ("LAVA_LOG", "bogus=", "use error, warn, info, debug, trace or off"),
        ("LAVA_LOG", "bogus=debug", "nothing is logged as \"bogus\""),
        ("LAVA_LOG", "inof", "did you mean \"info\""),
        ("LAVA_SESSION_LIMIT", "lots", "5.00/daily"),
        ("LAVA_SANDBOX", "maybe", "use 1 or 0"),
        ("LAVA_ASK", "maybe", "use 1 or 0"),
        ("LAVA_ASK_ABOVE", "-1", "0.50"),
        ("LAVA_CREDENTIAL_STORE", "paper", "keyring or file"),
        ("LAVA_API_URL", "lava", "http"),
        ("LAVA_FORWARD_WITH", "both", "secret-key"),
        ("LAVA_CONFIG", "/nowhere/lava.toml", "/nowhere/lava.toml: there is no such file"),
    ] {
        for command in [&["status"][..], &["gateway", "--listen", "0"], &[]] {
            let error = said(&program(home.path()).env(name, value).args(command).output().unwrap());
            assert!(error.starts_with(&format!("error: environment variable {name}: ")) && error.contains(says), "{name}={value}: {error}");
        }
    }
    let error = said(&program(home.path()).args(["--config", "/nowhere/lava.toml", "status"]).output().unwrap());
    assert!(error.starts_with("error: --config: /nowhere/lava.toml: there is no such file"), "{error}");
    let folder = home.path().to_str().unwrap();
    assert!(said(&program(home.path()).args(["--config", folder, "status"]).output().unwrap()).contains("this is a folder"));
    let binary = home.path().join("binary.toml");
    std::fs::write(&binary, [0xff, 0xfe]).unwrap();
    assert!(said(&program(home.path()).arg("--config").arg(&binary).arg("status").output().unwrap()).contains("not text in UTF-8"));
}
