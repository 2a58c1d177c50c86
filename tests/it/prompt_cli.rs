//! `lava-mcp prompt` as it is typed: words, a pipe and files together, what is refused before anything is sent, and answers that are not whole.

use std::{
    io::Write,
    path::Path,
    process::{Output, Stdio},
};

use serde_json::Value;

use crate::{cli::program, cli::program_with, fake_upstream::FakeUpstream};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";

fn typed(mut command: std::process::Command, arguments: &[&str], piped: &[u8]) -> Output {
    let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(piped).unwrap();
    child.wait_with_output().unwrap()
}

fn sandbox(home: &Path, arguments: &[&str], piped: &[u8]) -> Output {
    typed(program(home), &[&["--sandbox", "prompt", "gpt-4o-mini"], arguments].concat(), piped)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_is_put_together_from_words_pipe_and_files() {
    let home = tempfile::tempdir().unwrap();
    let upstream = FakeUpstream::start().await;
    let file = |name: &str, bytes: &[u8]| {
        let path = home.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (notes, picture) = (file("notes.md", "caf\u{e9}\n".as_bytes()), file("picture.dat", PNG));
    let notes_text = "<file name=\"notes.md\">\ncaf\u{e9}\n</file>";
    let url = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUg==";
    for (arguments, piped, expected) in [
        (&["Hello", "there"][..], &b""[..], serde_json::json!([{"role": "user", "content": "Hello there"}])),
        (&[], b"piped", serde_json::json!([{"role": "user", "content": "piped"}])),
        (&["-"], b"piped\n", serde_json::json!([{"role": "user", "content": "piped\n"}])),
        (&["Sum up:"], b"a log", serde_json::json!([{"role": "user", "content": "Sum up:\n\na log"}])),
        (
            &["Hi", "--system", "Be short."],
            b"",
            serde_json::json!([{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hi"}]),
        ),
        (&["Read", "--file", &notes], b"", serde_json::json!([{"role": "user", "content": format!("Read\n\n{notes_text}")}])),
        (&["--file", &notes], b"", serde_json::json!([{"role": "user", "content": notes_text}])),
        (
            &["Look", "--file", &picture],
            b"",
            serde_json::json!([{"role": "user", "content": [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": url}}]}]),
        ),
        (&["--file", &picture], b"", serde_json::json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}])),
    ] {
        let command = program_with(home.path(), &upstream.url);
        let done = typed(command, &[&["prompt", "house/ok"], arguments].concat(), piped);
        assert!(done.status.success(), "{arguments:?}: {done:?}");
        assert_eq!(upstream.seen().last().unwrap().body["messages"], expected, "{arguments:?}");
    }
}

#[test]
fn what_cannot_be_asked_is_refused_before_anything_is_sent() {
    let home = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = home.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (pdf, junk, empty) = (file("a.pdf", b"%PDF-1.7"), file("junk.txt", b"\xff\xfe\0"), file("empty.txt", b" \n"));
    let folder = home.path().to_str().unwrap().to_owned();
    for (arguments, piped, expected) in [
        (&[][..], &b""[..], "there is nothing to ask"),
        (&[], b" \n\t", "there is nothing to ask"),
        (&["  "], b"", "there is nothing to ask"),
        (&["-"], b"", "there is nothing to ask"),
        (&["--system", "Be short."], b"", "there is nothing to ask"),
        (&[], b"\xff\xfe", "not text in UTF-8"),
        (&["Hi", "--file", "missing.txt"], b"", "missing.txt cannot be read"),
        (&["Hi", "--file", &folder], b"", "is a folder"),
        (&["Hi", "--file", &pdf], b"", "is application/pdf"),
        (&["Hi", "--file", &junk], b"", "neither text in UTF-8 nor a picture"),
        (&["Hi", "--file", &empty], b"", "is empty"),
    ] {
        let done = sandbox(home.path(), arguments, piped);
        assert_eq!(done.status.code(), Some(1), "{arguments:?}: {done:?}");
        assert!(text(&done.stderr).contains(expected), "{arguments:?}: {}", text(&done.stderr));
        assert!(!text(&done.stderr).contains("Made a spend key"), "nothing is begun for it");
    }
}

#[test]
fn a_picture_for_a_model_that_reads_none_is_warned_about_and_sent() {
    let home = tempfile::tempdir().unwrap();
    let picture = home.path().join("picture.png");
    std::fs::write(&picture, PNG).unwrap();
    let config = home.path().join("lava.toml");
    let house = "[providers.house]\nbase_url = \"http://127.0.0.1:9/v1\"\nprice = \"free\"\nmodels = [\"gpt-3.5-turbo-1106\"]\n";
    std::fs::write(&config, format!("local_servers = false\n[model_aliases]\nold = \"gpt-3.5-turbo\"\n{house}")).unwrap();
    for (model, is_warned) in [
        ("gpt-3.5-turbo", true),
        ("openai/gpt-3.5-turbo", true),
        ("old", true),
        ("gpt-4o-mini", false),
        ("openai/gpt-4o-mini", false),
        ("gpt-3.5-turbo-1106", false),
        ("house/gpt-3.5-turbo-1106", false),
    ] {
        let arguments = ["--sandbox", "prompt", model, "Look", "--max-tokens", "20", "--file", picture.to_str().unwrap()];
        let mut command = program(home.path());
        command.env("LAVA_CONFIG", &config);
        let done = typed(command, &arguments, b"");
        let said = text(&done.stderr);
        assert!(done.status.success(), "{model}: {said}");
        assert_eq!(said.contains("does not read pictures"), is_warned, "{model}: {said}");
        assert!(!is_warned || (said.contains(&format!("{model} does not")) && said.contains("cost ")), "it is sent all the same: {said}");
    }
    let done = typed(program(home.path()), &["--sandbox", "prompt", "gpt-3.5-turbo", "Hi"], b"");
    assert!(done.status.success() && !text(&done.stderr).contains("pictures"), "{done:?}");
}

#[test]
fn an_answer_that_was_cut_says_so() {
    let home = tempfile::tempdir().unwrap();
    let done = sandbox(home.path(), &["Tell me a story", "--max-tokens", "5"], b"");
    assert!(done.status.success() && text(&done.stderr).contains("--max-tokens raises that"), "{done:?}");
    let done = sandbox(home.path(), &["Tell me a story", "--max-tokens", "5", "--json"], b"");
    assert_eq!(serde_json::from_slice::<Value>(&done.stdout).unwrap()["truncated"], true);
    let whole = sandbox(home.path(), &["Say hello"], b"");
    assert!(whole.status.success() && !text(&whole.stderr).contains("cut"), "{whole:?}");
}
