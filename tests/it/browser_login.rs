//! The login with a browser, from the port that the browser comes back to, to the key in the vault.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use lava_mcp::{
    config::Environment,
    domain::Secret,
    session::{Browser, KeySource, LoggedOut, Narrowing, Payer, PendingLogin, Session, SessionError, WebLogin},
};
use serde_json::Value;

use crate::{
    cli::program,
    fake_lava::{FakeLava, SECRET, asked, browse, closes, try_browse},
};

const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(100);

fn payer() -> Payer {
    Payer::Client("test".to_owned())
}

async fn begin(session: &Arc<Session>) -> Arc<PendingLogin> {
    session.begin_web_login("test").await.unwrap()
}

/// Sends bytes to the port; returns the whole answer, which is empty when the port only hung up.
async fn raw(port: &str, request: String) -> String {
    let address = format!("127.0.0.1:{port}");
    tokio::task::spawn_blocking(move || {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        let _ = socket.read_to_string(&mut answer);
        answer
    })
    .await
    .unwrap()
}

async fn get(port: &str, target: &str) -> String {
    raw(port, format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n")).await
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).unwrap_or("0").parse().unwrap()
}

fn vault(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("keys.json")).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_logs_in_and_the_key_is_in_the_vault() {
    let (lava, folder) = (FakeLava::start().await, tempfile::tempdir().unwrap());
    let session = lava.session(folder.path(), |_| {});
    assert!(matches!(session.login(&payer(), &Narrowing::default(), false).await, Err(SessionError::NoSecretKey)));
    let pending = begin(&session).await;
    let asked = asked(pending.url());
    assert!(asked["state"].len() == 32 && asked["state"].bytes().all(|byte| byte.is_ascii_hexdigit()), "{asked:?}");
    assert_eq!((&*asked["client"], &*asked["limit"]), ("test", "5.00/daily"));

    let page = browse(pending.url().as_str()).await;
    assert_eq!(page.url().path(), "/done", "no code stays in the address bar");
    assert_eq!(
        (&page.headers()["cache-control"], &page.headers()["referrer-policy"]),
        (&"no-store".parse().unwrap(), &"no-referrer".parse().unwrap())
    );
    assert!(page.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none';"));
    let text = page.text().await.unwrap();
    assert!(text.contains("You are logged in") && !text.contains("<script") && !text.contains(&asked["state"]), "{text}");

    assert!(session.await_web_login(&pending, LONG).await.unwrap());
    let logged_in = session.login(&payer(), &Narrowing::default(), false).await.unwrap();
    assert_eq!(logged_in.stored_in, "file");
    assert!(vault(folder.path()).contains(SECRET) && vault(folder.path()).contains("lava_sk_of_the_fake_0"));
    let key = &lava.keys()[0];
    assert_eq!((&key["spend_limit"]["amount"], &key["spend_limit"]["cycle"]), (&"5.00".into(), &"daily".into()));
    // The port is closed, and a later process needs no browser.
    closes(&asked["port"]).await;
    let later = lava.session(folder.path(), |_| {});
    assert_eq!(later.login(&payer(), &Narrowing::default(), false).await.unwrap().key.unwrap().spend_key_id, "id-0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_belong_to_the_login_does_not_end_it() {
    let (lava, folder) = (FakeLava::start().await, tempfile::tempdir().unwrap());
    let session = lava.session(folder.path(), |_| {});
    let pending = begin(&session).await;
    let asked = asked(pending.url());
    let (port, state) = (&*asked["port"], &*asked["state"]);
    for _ in 0..4 {
        assert_eq!(status(&get(port, "/callback?code=stolen&state=00000000000000000000000000000000").await), 400);
    }
    let right = format!("/callback?code=stolen&state={state}");
    let from = |method: &str, host: &str| format!("{method} {right} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(status(&raw(port, from("GET", &format!("evil.example:{port}"))).await), 403);
    assert_eq!(status(&raw(port, from("POST", &format!("127.0.0.1:{port}"))).await), 405);
    assert_eq!(status(&get(port, "/").await), 404);
    assert_eq!(status(&get(port, "/done").await), 404, "there is no last page yet");
    assert_eq!(status(&get(port, &format!("{right}&x={}", "y".repeat(5_000))).await), 414);
    let endless = get(port, &format!("{right}&x={}", "y".repeat(100_000))).await;
    assert!(!endless.starts_with("HTTP/1.1 2") && !endless.starts_with("HTTP/1.1 3"), "{endless}");
    // Browsers that connect and say nothing, or never finish, are in nobody's way.
    let idle: Vec<TcpStream> = (0..8)
        .map(|number| {
            let mut socket = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
            socket.write_all(&b"GET /callback?code="[..number]).unwrap();
            socket
        })
        .collect();
    assert!(!session.await_web_login(&pending, SHORT).await.unwrap(), "it still waits");
    assert_eq!(browse(pending.url().as_str()).await.status(), 200);
    assert!(session.await_web_login(&pending, LONG).await.unwrap());
    drop(idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn five_guesses_end_it() {
    let (lava, folder) = (FakeLava::start().await, tempfile::tempdir().unwrap());
    let session = lava.session(folder.path(), |_| {});
    let pending = begin(&session).await;
    let port = asked(pending.url())["port"].clone();
    for _ in 0..5 {
        get(&port, "/callback?code=c&state=guess").await;
    }
    assert!(matches!(session.await_web_login(&pending, LONG).await, Err(SessionError::WrongStates)));
    closes(&port).await;
    assert_ne!(begin(&session).await.url(), pending.url(), "the next login is a new one");
}

#[tokio::test(flavor = "multi_thread")]
async fn declined_refused_and_expired_are_told_once() {
    let (lava, folder) = (FakeLava::start().await, tempfile::tempdir().unwrap());
    let session = lava.session(folder.path(), |_| {});
    for (query, title, expected) in
        [("error=access_denied", "Not allowed", "declined"), ("", "Not allowed", "declined"), ("code=used", "did not work", "invalid_code")]
    {
        let pending = begin(&session).await;
        let asked = asked(pending.url());
        let url = format!("http://127.0.0.1:{}/callback?{query}&state={}", asked["port"], asked["state"]);
        let text = browse(&url).await.text().await.unwrap();
        assert!(text.contains(title) && !text.contains("used"), "{query}: {text}");
        // Nobody waited when it ended: the next one is told, and only the one after begins anew.
        tokio::time::sleep(SHORT).await;
        let error = session.begin_web_login("test").await.err().expect("it is told").to_string();
        assert!(error.contains(expected), "{query}: {error}");
        assert_ne!(begin(&session).await.url(), pending.url());
        session.decline_web_login(&begin(&session).await).await;
    }
    assert!(!vault(folder.path()).contains(SECRET) && lava.keys().is_empty());

    let brief = |parts: &mut lava_mcp::session::Parts| parts.web.as_mut().unwrap().timeout = SHORT;
    let session = lava.session(folder.path(), brief);
    let pending = begin(&session).await;
    assert!(matches!(session.await_web_login(&pending, LONG).await, Err(SessionError::LoginExpired)));
    let again = begin(&session).await;
    assert_ne!(again.url(), pending.url(), "a new link");
    tokio::time::sleep(3 * SHORT).await;
    assert_ne!(begin(&session).await.url(), again.url(), "one that expired with nobody there is no failure of the next");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_share_one_page() {
    let (lava, folder) = (FakeLava::start().await, tempfile::tempdir().unwrap());
    let session = lava.session(folder.path(), |_| {});
    let (one, other) = tokio::join!(begin(&session), session.begin_web_login("other"));
    let other = other.unwrap();
    assert_eq!(one.url(), other.url());
    let (waiting_one, waiting_other) = (session.await_web_login(&one, LONG), session.await_web_login(&other, LONG));
    // The person clicks twice, too: the first answer counts.
    let click = || async { try_browse(one.url().as_str()).await.is_ok_and(|page| page.status() == 200) };
    let (page, again, one, other) = tokio::join!(click(), click(), waiting_one, waiting_other);
    assert!(one.unwrap() && other.unwrap());
    assert!(page ^ again, "the last page is served once: {page} {again}");
    let (mine, theirs, all) = (payer(), Payer::Client("other".into()), Narrowing::default());
    let logins = tokio::join!(session.login(&mine, &all, false), session.login(&theirs, &all, false));
    assert!(logins.0.is_ok() && logins.1.is_ok());
    assert_eq!(lava.keys().len(), 2, "each client has its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_for_what_cannot_be_kept() {
    let (lava, folder) = (FakeLava::start().await, tempfile::tempdir().unwrap());
    // A vault that can be read, and not written: what should be its lock file is a folder.
    let in_the_way = folder.path().join("keys.json.lock");
    std::fs::create_dir(&in_the_way).unwrap();
    let session = lava.session(folder.path(), |_| {});
    assert!(matches!(session.begin_web_login("test").await.err(), Some(SessionError::Vault(_))));
    std::fs::remove_dir(in_the_way).unwrap();
    // It becomes unusable while the person is away: then the page says so, and nothing is kept.
    let session = lava.session(folder.path(), |_| {});
    let pending = begin(&session).await;
    std::fs::write(folder.path().join("keys.json"), "damaged").unwrap();
    assert!(browse(pending.url().as_str()).await.text().await.unwrap().contains("did not work"));
    let error = session.await_web_login(&pending, LONG).await.unwrap_err();
    assert!(matches!(error, SessionError::NotKept { .. }), "{error}");
    assert!(error.to_string().contains("(sk-id-7)") && error.to_string().contains("delete it in your account"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn session_keys_of_another_account_do_not_stay() {
    for is_ours in [false, true] {
        let (lava, folder) = (FakeLava::start().await, tempfile::tempdir().unwrap());
        lava.tells_keys_about_themselves(is_ours);
        let session = lava.session(folder.path(), |_| {});
        let log_in = || async {
            let pending = begin(&session).await;
            browse(pending.url().as_str()).await;
            assert!(session.await_web_login(&pending, LONG).await.unwrap());
            session.login(&payer(), &Narrowing::default(), false).await.unwrap().key.unwrap().spend_key_id
        };
        assert_eq!(log_in().await, "id-0");
        // A secret key that is gone is asked for again. Each is of an account of its own here.
        lava.delete_secrets();
        assert!(matches!(session.login(&payer(), &Narrowing::default(), true).await, Err(SessionError::NoSecretKey)), "ours {is_ours}");
        assert_eq!(log_in().await, "id-1", "ours {is_ours}");
        assert!(!vault(folder.path()).contains("lava_sk_of_the_fake_0"), "ours {is_ours}");
        // One whose secret key still works is revoked when another account takes its place.
        session.bring_secret_key(Secret::new(lava.secret())).await.unwrap();
        assert_eq!(lava.keys()[1]["status"], "revoked");
        assert!(matches!(session.status(&payer()).await, Err(SessionError::NotLoggedIn)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_key_is_forgotten_only_once_it_is_known_to_be_gone() {
    for broken in [http::Method::GET, http::Method::DELETE] {
        let (lava, folder) = (FakeLava::start().await, tempfile::tempdir().unwrap());
        let session = lava.session(folder.path(), |_| {});
        session.bring_secret_key(Secret::new(lava.secret())).await.unwrap();
        session.login(&payer(), &Narrowing::default(), false).await.unwrap();
        // Another account takes its place, and whether that key is of it, or is ended, cannot be found out.
        lava.breaks(Some(broken.clone()));
        let pending = begin(&session).await;
        browse(pending.url().as_str()).await;
        let error = session.await_web_login(&pending, LONG).await.unwrap_err();
        assert!(
            matches!(error, SessionError::Client(_)),
            "{broken}: the secret key was kept, and this is no trouble of the vault: {error}"
        );
        assert_eq!(session.secret_key_source().await.unwrap(), Some(KeySource::Vault));
        assert!(vault(folder.path()).contains("lava_sk_of_the_fake_0"), "{broken}");
        assert_eq!(lava.keys()[0]["status"], "active");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_that_the_gateway_refuses_is_not_called_a_revocation() {
    let (lava, folder) = (FakeLava::start().await, tempfile::tempdir().unwrap());
    let session = lava.session(folder.path(), |_| {});
    session.bring_secret_key(Secret::new(lava.secret())).await.unwrap();
    session.login(&payer(), &Narrowing::default(), false).await.unwrap();
    lava.delete_secrets();
    assert_eq!(session.logout("test").await.unwrap(), LoggedOut::Forgotten);
    assert_eq!(lava.keys()[0]["status"], "active");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_code_is_exchanged_for_is_kept_although_somebody_declines_meanwhile() {
    let (lava, folder) = (FakeLava::start().await, tempfile::tempdir().unwrap());
    lava.exchange_takes(2 * SHORT);
    let session = lava.session(folder.path(), |_| {});
    let pending = begin(&session).await;
    let (asked, code) = (asked(pending.url()), lava.code());
    let back = format!("http://127.0.0.1:{}/callback?code={code}&state={}", asked["port"], asked["state"]);
    let declined = async {
        while !lava.is_used(&code) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        session.decline_web_login(&pending).await;
    };
    let (page, ()) = tokio::join!(browse(&back), declined);
    assert!(page.text().await.unwrap().contains("You are logged in"));
    assert!(vault(folder.path()).contains(SECRET), "no secret key is left that nobody has");
}

fn command(home: &Path, lava: &FakeLava, arguments: &[&str]) -> Command {
    let mut command = program(home);
    command.env("LAVA_API_URL", &lava.address).env("LAVA_APP_URL", &lava.address).args(arguments);
    command
}

/// Runs a command with this on its stdin.
fn run(mut command: Command, input: &str) -> (i32, String, String) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn link(line: &str) -> Option<&str> {
    line.split_whitespace().find(|word| word.contains("/auth/connect?"))
}

/// Starts a login without a browser, and gives the link that it prints to whoever pastes. `None` stands for a browser on this machine.
async fn log_in_by_hand(
    home: &Path,
    lava: &FakeLava,
    paste: impl FnOnce(url::Url) -> Option<String> + Send + 'static,
) -> (i32, String, String) {
    let mut command = command(home, lava, &["login", "--no-browser", "--json"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let handle = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        let (mut stdin, mut errors) = (child.stdin.take().unwrap(), BufReader::new(child.stderr.take().unwrap()));
        let mut said = String::new();
        let url = loop {
            let mut line = String::new();
            assert_ne!(errors.read_line(&mut line).unwrap(), 0, "{said}");
            said.push_str(&line);
            if let Some(url) = link(&line) {
                break url.parse::<url::Url>().unwrap();
            }
        };
        match paste(url.clone()) {
            Some(text) => stdin.write_all(text.as_bytes()).unwrap(),
            None => drop(handle.block_on(browse(url.as_str()))),
        }
        let output = child.wait_with_output().unwrap();
        errors.read_to_string(&mut said).unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap(), said)
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_logs_in_by_hand() {
    let lava = FakeLava::start().await;
    for way in ["address", "code", "browser"] {
        let home = tempfile::tempdir().unwrap();
        let code = lava.code();
        let (exit, out, said) = log_in_by_hand(home.path(), &lava, move |url| {
            let asked = asked(&url);
            let wrong = "http://127.0.0.1:1/callback?code=x&state=of-another-login";
            match way {
                "address" => {
                    Some(format!("{wrong}\n\n  http://127.0.0.1:{}/callback?code={code}&state={} \n", asked["port"], asked["state"]))
                }
                "code" => Some(format!("{code}\n")),
                _ => None,
            }
        })
        .await;
        assert_eq!(exit, 0, "{way}: {said}");
        assert_eq!(said.contains("does not belong to this login"), way == "address", "{said}");
        let shown: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{way}: {out}"));
        assert_eq!((&shown["logged_in"], &shown["secret_key_in"]), (&true.into(), &"file".into()), "{way}");
        assert!(!format!("{out}{said}").contains(SECRET) && !out.contains("lava_sk_of"), "{way}: {out}{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_opens_the_browser_that_is_named() {
    let (lava, home) = (FakeLava::start().await, tempfile::tempdir().unwrap());
    let (script, told) = (home.path().join("browser"), home.path().join("told"));
    std::fs::write(&script, format!("#!/bin/sh\nprintf '%s' \"$1\" > {0}.new && mv {0}.new {0}\n", told.display())).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut login = command(home.path(), &lava, &["login", "--json"]);
    login.env("BROWSER", &script).env("PATH", "/usr/bin:/bin");
    let running = tokio::task::spawn_blocking(move || run(login, ""));
    let began = Instant::now();
    while !told.exists() && began.elapsed() < LONG {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Every user of the machine can read with what a program was started.
    let started = std::fs::read_to_string(&told).unwrap();
    assert!(started.starts_with("http://127.0.0.1:") && !started.contains("state") && !started.contains("auth"), "{started}");
    let page = browse(&started).await;
    assert!(page.text().await.unwrap().contains("You are logged in"), "the page comes although the command ends at once");
    let (exit, out, said) = running.await.unwrap();
    assert_eq!(exit, 0, "{said}");
    assert!(link(&said).is_some(), "the link is told too: {said}");
    assert!(out.contains("\"logged_in\": true"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_that_a_browser_is_started_with_leads_on_once() {
    let (lava, folder) = (FakeLava::start().await, tempfile::tempdir().unwrap());
    let session = lava.session(folder.path(), |_| {});
    let pending = begin(&session).await;
    let start = pending.start().as_str();
    assert!(!start.contains(&asked(pending.url())["state"]), "{start}");
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let wrong = format!("{}0", &start[..start.len() - 1]);
    if wrong != start {
        assert_eq!(client.get(&wrong).send().await.unwrap().status(), 404);
    }
    for method in [reqwest::Method::HEAD, reqwest::Method::POST] {
        assert_eq!(client.request(method, start).send().await.unwrap().status(), 404, "it is not used up by looking");
    }
    let first = client.get(start).send().await.unwrap();
    assert_eq!((first.status().as_u16(), first.headers()["location"].to_str().unwrap()), (303, pending.url().as_str()));
    assert_eq!(first.headers()["referrer-policy"], "no-referrer");
    let again = client.get(start).send().await.unwrap();
    assert_eq!((again.status().as_u16(), again.headers().get("location")), (410, None));
    assert_eq!(browse(pending.url().as_str()).await.status(), 200, "the login itself goes on");
}

/// Only as root can a test be somebody else.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn another_user_of_the_machine_is_not_listened_to() {
    use std::os::unix::{fs::MetadataExt, process::CommandExt};
    let (lava, folder) = (FakeLava::start().await, tempfile::tempdir().unwrap());
    if std::fs::metadata(folder.path()).unwrap().uid() != 0 {
        return;
    }
    let session = lava.session(folder.path(), |_| {});
    let pending = begin(&session).await;
    let asked = asked(pending.url());
    let (port, state) = (&asked["port"], &asked["state"]);
    let path = pending.start().path().to_owned();
    for target in [path, format!("/callback?code={}&state={state}", lava.code()), "/done".to_owned()] {
        let script = format!(
            "exec 3<>/dev/tcp/127.0.0.1/{port}; printf 'GET {target} HTTP/1.1\\r\\nHost: 127.0.0.1:{port}\\r\\nConnection: close\\r\\n\\r\\n' >&3; timeout 5 cat <&3"
        );
        let mut stranger = Command::new("bash");
        stranger.args(["-c", &script]).uid(65_534).gid(65_534).current_dir("/");
        let said = tokio::task::block_in_place(|| stranger.output()).unwrap();
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(said.starts_with("HTTP/1.1 403 "), "{target}: {said}");
    }
    // It has used nothing up.
    let page = browse(pending.start().as_str()).await;
    assert_eq!(page.url().path(), "/done");
    assert!(page.text().await.unwrap().contains("You are logged in"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_key_comes_from_stdin_and_goes_at_logout() {
    let (lava, home) = (FakeLava::start().await, tempfile::tempdir().unwrap());
    let run = |arguments: &[&str], input: &str| {
        let command = command(home.path(), &lava, arguments);
        let input = input.to_owned();
        tokio::task::block_in_place(|| run(command, &input))
    };
    let (exit, _, said) = run(&["login", "--secret-key-stdin"], "aks_live_nobody\n");
    assert_eq!((exit, said.contains("does not accept"), said.contains("aks_live_nobody")), (4, true, false), "{said}");
    assert_eq!(run(&["login", "--secret-key-stdin"], " \n").0, 1);
    let (exit, out, said) = run(&["login", "--secret-key-stdin"], &format!("{}\n", lava.secret()));
    assert_eq!(exit, 0, "{said}");
    assert!(out.contains("Secret key in") && !out.contains(SECRET), "{out}");
    let (_, out, _) = run(&["doctor", "--json"], "");
    assert!(out.contains("from file"), "{out}");
    let (exit, out, _) = run(&["logout"], "");
    assert_eq!((exit, out.contains("It still works: delete it in your account")), (0, true), "{out}");
    assert!(!vault(&home.path().join(".local/share/lava-mcp")).contains(SECRET));
    assert_eq!(lava.keys()[0]["status"], "revoked");
    let mut refused = command(home.path(), &lava, &["login", "--secret-key-stdin"]);
    refused.env("LAVA_SECRET_KEY", "aks_live_x");
    let (exit, _, said) = tokio::task::block_in_place(|| self::run(refused, "aks_live_y"));
    assert_eq!((exit, said.contains("unset it first")), (1, true), "{said}");
}

#[test]
fn a_login_has_two_minutes_and_a_call_waits_less_than_clients_do() {
    let web = WebLogin::new("https://www.lava.so".parse().unwrap(), Browser::of(&Environment::of([])));
    assert_eq!((web.timeout, web.patience), (Duration::from_secs(120), Duration::from_secs(45)));
}
