//! `lava-mcp call` as it is typed: what search printed, names and addresses, bodies from wherever they come, and answers of every kind.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    cli::{program, program_with},
    raw_provider::{self, Step, completion, piece, plain, stream_end, stream_head},
    terminal::on_terminal,
};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\x1b]0;pwn\x07";
const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":50}"#;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("not JSON: {output:?}"))
}

fn sandbox(home: &Path, arguments: &[&str]) -> Output {
    program(home).arg("--sandbox").args(arguments).output().unwrap()
}

fn fed(mut command: Command, piped: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(piped).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn what_search_prints_is_called_unchanged() {
    let home = tempfile::tempdir().unwrap();
    let mut called = 0;
    for query in ["gpt-4o-mini", "claude haiku", "embeddings", "cheap vision model", "groq"] {
        let found = json_of(&sandbox(home.path(), &["search", query, "--json", "--limit", "5"]));
        for hit in found["results"].as_array().unwrap().iter().filter(|hit| hit["available"] == true) {
            let body = hit["example_body"].to_string();
            let mut arguments = vec!["--json", "call", hit["url"].as_str().unwrap(), "-X", hit["method"].as_str().unwrap()];
            if hit["example_body"].is_object() {
                arguments.extend(["--data", &body]);
            }
            let done = sandbox(home.path(), &arguments);
            assert!(done.status.success() && json_of(&done)["status"] == 200, "{arguments:?}: {done:?}");
            called += 1;
        }
    }
    assert!(called > 10, "{called}");
}

#[test]
fn an_address_is_written_in_several_ways() {
    let home = tempfile::tempdir().unwrap();
    let chat = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}],"max_tokens":20}"#;
    let without_model = r#"{"messages":[{"role":"user","content":"hi"}],"max_tokens":20}"#;
    let mut server = crate::mcp_stdio::Server::sandbox(home.path(), true);
    server.call("login", json!({}));
    for (url, body) in [
        ("https://api.openai.com/v1/chat/completions", Some(chat)),
        ("api.openai.com/v1/chat/completions", Some(chat)),
        ("openai/chat/completions", Some(chat)),
        ("OpenAI/v1/chat/completions/", Some(chat)),
        ("openai/gpt-4o-mini", Some(without_model)),
        ("gpt-4o-mini", Some(without_model)),
        // With a point in its name, and not a host.
        ("gpt-4.1-mini", Some(without_model)),
        ("text-embedding-3-small", Some(r#"{"input":"Hello"}"#)),
        ("openai", None),
        ("openai/models", None),
    ] {
        let arguments: Vec<&str> = ["--json", "call", url].into_iter().chain(body.into_iter().flat_map(|body| ["-d", body])).collect();
        let done = sandbox(home.path(), &arguments);
        assert!(done.status.success() && json_of(&done)["status"] == 200, "{url}: {done:?}");
        // The tool takes the same.
        let mut arguments = json!({"url": url});
        if let Some(body) = body {
            arguments["body"] = serde_json::from_str(body).unwrap();
        }
        let answer = server.call("call", arguments);
        assert_eq!(answer["structuredContent"]["status"], 200, "{url}: {answer}");
    }
    server.close();
}

#[test]
fn what_cannot_be_called_says_what_to_do_and_a_name_makes_no_key() {
    for (arguments, code, expected) in [
        (
            &["https://api.opnai.com/v1/chat/completions", "-d", CHAT][..],
            "forward_endpoint_not_supported",
            "openai, at https://api.openai.com/v1",
        ),
        (&["https://openai.com/v1/chat/completions", "-d", CHAT], "forward_endpoint_not_supported", "openai, at https://api.openai.com/v1"),
        (&["https://nothing.example/v1/models"], "forward_endpoint_not_supported", "`lava-mcp --sandbox search` shows them"),
        (&["opnai/gpt-4o-mini", "-d", "{}"], "forward_endpoint_not_supported", "`lava-mcp --sandbox search opnai/gpt-4o-mini`"),
        (&["opnai/gpt-4o-mini", "-d", "{}"], "forward_endpoint_not_supported", "the nearest: gpt-4o-mini"),
        (&["openai/imagez", "-d", "{}"], "forward_endpoint_not_supported", "https://api.openai.com/v1/embeddings"),
        (&["openai/gpt-4o-mini"], "bad_body", "\"messages\""),
        (&["dall-e-3"], "forward_endpoint_not_supported", "is not a chat model but one that makes images"),
        (&["whisper-1", "-d", "{}"], "forward_endpoint_not_supported", "transcription"),
        (&["https://api.openai.com/v1/chat/completions"], "forward_endpoint_not_supported", "It takes POST, with a JSON body."),
        (&["https://api.openai.com/v1/models", "-d", "{}"], "forward_endpoint_not_supported", "It takes GET, without a body."),
        (&["openai/gpt-4o-mini", "-d", "body.json"], "bad_body", "`-d @body.json` sends what is in it"),
        (&["openai/gpt-4o-mini", "-X", "GET", "-d", "{}"], "bad_body", "a GET request has no body"),
        (&["openai/gpt-4o-mini", "-d", "[1]"], "bad_body", "--data is not a JSON object"),
        (&["openai/gpt-4o-mini", "-d", "{"], "bad_body", "--data is not a JSON object"),
        (&["openai/gpt-4o-mini", "-d", "@missing.json"], "bad_file", "missing.json cannot be read"),
        (&["openai/models", "-X", "FETCH"], "usage", "GET, POST, PUT, PATCH or DELETE"),
    ] {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("body.json"), CHAT).unwrap();
        let mut command = program(home.path());
        let done = command.current_dir(home.path()).args(["--sandbox", "--json", "call"]).args(arguments).output().unwrap();
        let error = json_of(&done)["error"].clone();
        assert_eq!((done.status.code(), error["code"].as_str()), (Some(1), Some(code)), "{arguments:?}: {done:?}");
        assert!(error.to_string().replace("\\\"", "\"").contains(expected), "{arguments:?}: {error}");
        let said = text(&done.stderr);
        // What a gateway says of an address, it says to who has a key.
        let status = json_of(&sandbox(home.path(), &["--json", "status"]));
        assert_eq!(status["logged_in"], arguments[0].contains("://"), "{arguments:?}: {status}");
        assert_eq!(said.matches("error: ").count(), 1, "{said}");
    }
}

#[test]
fn a_provider_with_a_point_in_its_name_is_not_taken_for_a_host() {
    let home = tempfile::tempdir().unwrap();
    let url = raw_provider::start(|_, body| plain(200, &completion(body["model"].as_str().unwrap_or("no model"))));
    let mut command = program_with(home.path(), &url);
    let own = format!("[providers.\"my.box\"]\nbase_url = \"{url}/v1\"\nmodels = [\"m\"]\nprice = {{ input = \"1\", output = \"2\" }}\n");
    let config = home.path().join("lava.toml");
    std::fs::write(&config, std::fs::read_to_string(&config).unwrap() + &own).unwrap();
    let done = command.args(["call", "my.box/m", "-d", CHAT]).output().unwrap();
    assert!(done.status.success() && text(&done.stdout).contains("\"content\":\"m\""), "{done:?}");
}

#[test]
fn a_body_comes_from_a_file_or_a_pipe() {
    let home = tempfile::tempdir().unwrap();
    let url = raw_provider::start(|_, body| plain(200, &completion(body["messages"][0]["content"].as_str().unwrap_or("no body"))));
    let file = home.path().join("body.json");
    std::fs::write(&file, CHAT).unwrap();
    let (address, file) = (format!("{url}/v1/chat/completions"), format!("@{}", file.display()));
    for (arguments, piped) in [
        (&["-d", &file][..], ""),
        (&["-d", "-"], CHAT),
        (&["-d", "@-"], CHAT),
        (&[], CHAT),
        (&["-X", "post"], CHAT),
        // What is given wins over what is piped in.
        (&["-d", CHAT], "not JSON"),
    ] {
        let mut command = program_with(home.path(), &url);
        command.args(["call", &address]).args(arguments);
        let done = fed(command, piped.as_bytes());
        assert!(done.status.success() && text(&done.stdout).contains("\"hi\""), "{arguments:?}: {done:?}");
        assert!(text(&done.stderr).contains("HTTP 200, cost 0.000025 USD"), "{done:?}");
    }
    for (arguments, piped, expected) in [
        (&[][..], "not JSON", "what was piped in is not a JSON object"),
        (&["-d", "-"], " ", "it is empty"),
        (&["-d", "-"], "[]", "JSON of another kind"),
    ] {
        let mut command = program_with(home.path(), &url);
        command.args(["call", &address]).args(arguments);
        let done = fed(command, piped.as_bytes());
        assert!(done.status.code() == Some(1) && text(&done.stderr).contains(expected), "{arguments:?}: {done:?}");
    }
}

#[test]
fn a_pipe_that_stays_open_is_spoken_of_and_not_read_for_a_get() {
    let home = tempfile::tempdir().unwrap();
    let start = |arguments: &[&str]| {
        let mut command = program(home.path());
        command.args(["--sandbox", "call", "openai/models"]).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut child = start(&["-X", "GET"]);
    let open = child.stdin.take();
    assert!(child.wait_with_output().unwrap().status.success(), "its input is still open");
    drop(open);
    // Nor where the address is known to take no body: the input may be the list of a loop.
    let mut child = start(&[]);
    let open = child.stdin.take();
    assert!(child.wait_with_output().unwrap().status.success(), "its input is still open");
    drop(open);
    let mut child = start(&["-X", "POST"]);
    let open = child.stdin.take();
    let said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut said = said.skip_while(|line| !line.contains("Reading the body from stdin"));
    assert!(said.next().is_some(), "it waits without a word");
    drop(open);
    child.wait().unwrap();
}

/// A provider whose list of models is a picture.
fn painter() -> String {
    raw_provider::start(|path, _| match path {
        "/v1/models" => {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", PNG.len());
            vec![Step::Send([head.as_bytes(), PNG].concat())]
        }
        _ => plain(400, &json!({"error": {"message": "too many colours", "code": "palette", "type": "t"}})),
    })
}

#[test]
fn what_is_not_text_goes_to_files_and_pipes_as_it_is_and_never_to_a_terminal() {
    let home = tempfile::tempdir().unwrap();
    let url = painter();
    let address = format!("{url}/v1/models");
    let command = |arguments: &[&str]| {
        let mut command = program_with(home.path(), &url);
        command.env("TMPDIR", home.path()).args(["call", &address]).args(arguments);
        command
    };
    let piped = command(&[]).output().unwrap();
    assert_eq!(piped.stdout, PNG, "{piped:?}");
    let as_json = json_of(&command(&["--json"]).output().unwrap());
    assert_eq!((&as_json["content_type"], &as_json["body"]), (&json!("image/png"), &Value::Null));
    assert!(as_json["body_base64"].as_str().unwrap().starts_with("iVBOR"));

    let file = home.path().join("a.png");
    std::fs::write(&file, "an older and longer file that has to go, whatever it held before it was written over").unwrap();
    let name = file.to_str().unwrap();
    let done = command(&["--output", name]).output().unwrap();
    assert_eq!((std::fs::read(&file).unwrap().as_slice(), done.stdout.as_slice()), (PNG, &b""[..]));
    assert!(text(&done.stderr).contains(&format!("bytes written to {name}")), "{done:?}");
    let done = json_of(&command(&["-o", name, "--json"]).output().unwrap());
    assert_eq!((&done["output"]["file"], &done["output"]["bytes"]), (&json!(name), &json!(PNG.len())));

    let shown = on_terminal(command(&[]));
    assert!(
        shown.contains("The answer is image/png") && shown.contains("--output FILE") && !shown.contains("IHDR"),
        "{}",
        shown.escape_debug()
    );
    // It was paid for, so it is kept.
    let kept =
        std::fs::read_dir(home.path()).unwrap().flatten().find(|entry| entry.file_name().to_string_lossy().starts_with("lava-mcp-0"));
    let kept = kept.unwrap().path();
    assert!(shown.replace("\r\n", "").contains(kept.to_str().unwrap()) && std::fs::read(&kept).unwrap() == PNG, "{shown}");

    for (place, expected) in [(home.path().to_str().unwrap(), "is a folder"), ("/nowhere/a.png", "cannot be written")] {
        let done = command(&["--output", place]).output().unwrap();
        assert!(done.status.code() == Some(1) && text(&done.stderr).contains(expected), "{done:?}");
    }
}

#[test]
fn what_a_provider_refuses_with_is_shown_once() {
    let home = tempfile::tempdir().unwrap();
    let url = painter();
    let address = format!("{url}/v1/chat/completions");
    let file = home.path().join("answer.json");
    let call = |arguments: &[&str]| program_with(home.path(), &url).args(["call", &address, "-d", CHAT]).args(arguments).output().unwrap();
    for arguments in [&[][..], &["-o", file.to_str().unwrap()]] {
        let done = call(arguments);
        assert_eq!(done.status.code(), Some(1), "{done:?}");
        let body: Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!((&body["error"]["code"], body["error"]["type"].as_str()), (&json!("palette"), Some("t")), "{body}");
        assert!(body["error"]["message"].as_str().unwrap().contains("too many colours"));
        let said = text(&done.stderr);
        assert!(said.ends_with("error: house answered with HTTP 400\n") && !said.contains("colours"), "{said}");
        assert!(!file.exists(), "a file with an error in it helps nobody");
    }
    let done = call(&["--json"]);
    let error = json_of(&done)["error"].clone();
    assert_eq!((done.status.code(), &error["code"], &error["exit_code"]), (Some(1), &json!("upstream_error"), &json!(1)));
    assert!(error["message"].as_str().unwrap().contains("too many colours"), "{error}");
}

#[test]
fn a_stream_is_shown_as_it_comes() {
    let home = tempfile::tempdir().unwrap();
    let url = raw_provider::start(|_, _| {
        let mut steps = vec![stream_head(), piece("first é"), Step::Wait(Duration::from_millis(1_500)), piece("second")];
        steps.extend(stream_end());
        steps
    });
    assert!(program_with(home.path(), &url).arg("login").output().unwrap().status.success());
    let body = CHAT.replace("\"max_tokens\"", "\"stream\":true,\"max_tokens\"");
    let address = format!("{url}/v1/chat/completions");
    let command = |arguments: &[&str]| {
        let mut command = program_with(home.path(), &url);
        command.args(["call", &address, "-d", &body]).args(arguments);
        command
    };
    let mut child = command(&[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut shown, mut out) = (Vec::new(), child.stdout.take().unwrap());
    let began = Instant::now();
    while !text(&shown).contains("first é") {
        let mut bytes = [0; 1_024];
        let count = std::io::Read::read(&mut out, &mut bytes).unwrap();
        assert!(count > 0 && began.elapsed() < Duration::from_secs(20), "{}", text(&shown));
        shown.extend_from_slice(&bytes[..count]);
    }
    assert!(!text(&shown).contains("second"), "{}", text(&shown));
    std::io::Read::read_to_end(&mut out, &mut shown).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(text(&shown).contains("second") && text(&shown).ends_with("data: [DONE]\n\n"), "{}", text(&shown));
    assert_eq!(text(&shown).matches("second").count(), 1);
    let terminal = on_terminal(command(&[]));
    assert!(terminal.contains("first é") && terminal.contains("cost 0.000025 USD"), "{terminal}");
    let whole = json_of(&command(&["--json"]).output().unwrap());
    assert!(whole["body"].as_str().unwrap().contains("second") && whole["cost"] == "0.000025", "{whole}");
}
