//! The tool `login` where it takes a person: every rung of its ladder, in both protocol eras, with the official client.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use lava_mcp::{
    config::{Environment, SetBy},
    domain::SpendLimit,
    mcp::{LavaMcp, Options},
    session::{Browser, Parts, Session},
};
use rmcp::{
    ClientHandler, RoleClient,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, ClientConfig, ElicitRequestParams, ElicitResult,
        ElicitationAction, ElicitationCapability, ErrorData, FormElicitationCapability, Implementation, InputRequiredResult,
        ProtocolVersion, UrlElicitationCapability,
    },
    service::{ClientLifecycleMode, RequestContext, RunningService, serve_client_with_lifecycle, serve_server},
};
use serde_json::{Value, json};

use crate::fake_lava::{FakeLava, SECRET, asked, browse, closes};

/// What the person at the client does when they are asked.
#[derive(Clone)]
enum Person {
    /// Says this to a form, and goes through every page.
    Agrees(Value),
    /// Agrees to everything, but never goes to the page.
    Dawdles,
    /// The same, and takes so long over every question.
    Ponders(Duration),
    Declines,
    /// Says no after this time; the client of nobody says it at once.
    SaysNo(ElicitationAction, Duration),
}

#[derive(Clone, Copy)]
struct Able {
    form: bool,
    page: bool,
}

/// As long as a person needs to read a question, at the least.
const READING: Duration = Duration::from_millis(1_050);

const NOTHING: Able = Able { form: false, page: false };
const FORM: Able = Able { form: true, page: false };
const PAGE: Able = Able { form: false, page: true };
const BOTH: Able = Able { form: true, page: true };

#[derive(Clone)]
struct Handler {
    able: Able,
    person: Person,
    asked: Arc<Mutex<Vec<Value>>>,
}

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        let mut able = ClientCapabilities::default();
        if self.able.form || self.able.page {
            let mut modes = ElicitationCapability::default();
            modes.form = self.able.form.then(FormElicitationCapability::default);
            modes.url = self.able.page.then(UrlElicitationCapability::default);
            able.elicitation = Some(modes);
        }
        ClientConfig::new(able, Implementation::new("a test", "1"))
    }

    async fn create_elicitation(&self, request: ElicitRequestParams, _: RequestContext<RoleClient>) -> Result<ElicitResult, ErrorData> {
        self.asked.lock().unwrap().push(serde_json::to_value(&request).unwrap());
        if let Person::Ponders(time) | Person::SaysNo(_, time) = self.person {
            tokio::time::sleep(time).await;
        }
        Ok(match (&self.person, request) {
            (Person::SaysNo(action, _), _) => ElicitResult::new(action.clone()),
            (Person::Declines, _) => ElicitResult::new(ElicitationAction::Decline),
            (Person::Agrees(said), ElicitRequestParams::FormElicitationParams { .. }) => {
                ElicitResult::new(ElicitationAction::Accept).with_content(said.clone())
            }
            (Person::Agrees(_), ElicitRequestParams::UrlElicitationParams { url, .. }) => {
                tokio::spawn(async move { browse(&url).await });
                ElicitResult::new(ElicitationAction::Accept)
            }
            _ => ElicitResult::new(ElicitationAction::Accept),
        })
    }
}

struct Client {
    running: RunningService<RoleClient, Handler>,
    asked: Arc<Mutex<Vec<Value>>>,
}

impl Client {
    /// Connects to a server with this session.
    async fn connect(session: &Arc<Session>, modern: bool, able: Able, person: Person) -> Self {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let server = LavaMcp::new(session.clone(), Options { results: std::env::temp_dir(), ask_above: None });
        tokio::spawn(async move { serve_server(server, theirs).await.unwrap().waiting().await });
        let asked = Arc::<Mutex<Vec<Value>>>::default();
        let handler = Handler { able, person, asked: asked.clone() };
        let lifecycle = match modern {
            true => ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] },
            false => ClientLifecycleMode::Initialize,
        };
        Self { running: serve_client_with_lifecycle(handler, ours, lifecycle).await.unwrap(), asked }
    }

    async fn login(&self, arguments: Value) -> Value {
        let params = CallToolRequestParams::new("login").with_arguments(arguments.as_object().cloned().unwrap());
        shown(&self.running.call_tool(params).await.unwrap())
    }

    /// What the person was asked, in order.
    fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap().clone()
    }
}

/// A result as the model sees it. No key and no code may ever be in it.
fn shown(result: &CallToolResult) -> Value {
    let all = serde_json::to_string(result).unwrap();
    for secret in [SECRET, "lava_sk_of_the_fake", "code="] {
        assert!(!all.contains(secret), "{all}");
    }
    result.structured_content.clone().unwrap()
}

fn text_of(result: &Value) -> String {
    result.to_string()
}

fn code(answer: &Value) -> &str {
    answer["error"]["code"].as_str().unwrap_or_else(|| panic!("{answer}"))
}

async fn gateway() -> (FakeLava, tempfile::TempDir) {
    (FakeLava::start().await, tempfile::tempdir().unwrap())
}

/// A call waits longer than a person needs to read.
fn patient(parts: &mut Parts) {
    parts.web.as_mut().unwrap().patience = Duration::from_secs(20);
}

/// Nobody is asked how much may be spent.
fn quiet(parts: &mut Parts) {
    parts.ask = false;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_can_show_pages_keeps_the_link_from_the_model() {
    for modern in [false, true] {
        let (lava, folder) = gateway().await;
        let session = lava.session(folder.path(), quiet);
        let client = Client::connect(&session, modern, PAGE, Person::Agrees(Value::Null)).await;
        let ready = client.login(json!({})).await;
        assert_eq!((&ready["status"], &ready["stored_in"]), (&"ready".into(), &"file".into()), "modern {modern}: {ready}");
        let asked = client.asked();
        assert_eq!(asked.len(), 1, "{asked:?}");
        assert!(asked[0]["url"].as_str().unwrap().contains("/auth/connect?state="), "{asked:?}");
        // A key that is there is used; nobody is asked again.
        assert_eq!(client.login(json!({})).await["status"], "ready");
        assert_eq!((client.asked().len(), lava.keys().len()), (1, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_takes_long_is_waited_for_by_the_next_call() {
    for modern in [false, true] {
        let (lava, folder) = gateway().await;
        let session = lava.session(folder.path(), quiet);
        let client = Client::connect(&session, modern, PAGE, Person::Dawdles).await;
        let began = Instant::now();
        let pending = client.login(json!({})).await;
        assert_eq!((&pending["status"], &pending["stored_in"]), (&"pending".into(), &Value::Null), "{pending}");
        assert!(began.elapsed() < Duration::from_secs(5));
        assert!(!text_of(&pending).contains("/auth/connect"), "the link stays out of the model's sight: {pending}");
        let url = client.asked()[0]["url"].as_str().unwrap().to_owned();
        let (ready, _) = tokio::join!(client.login(json!({})), browse(&url));
        assert_eq!(ready["status"], "ready", "{ready}");
        assert_eq!(client.asked().len(), 1, "they were asked once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_can_nothing_is_told_the_link() {
    for modern in [false, true] {
        let (lava, folder) = gateway().await;
        let session = lava.session(folder.path(), patient);
        let client = Client::connect(&session, modern, NOTHING, Person::Declines).await;
        let began = Instant::now();
        let pending = client.login(json!({})).await;
        assert!(began.elapsed() < Duration::from_secs(5), "who has not been told is not waited for");
        let url = pending["login_url"].as_str().unwrap_or_else(|| panic!("{pending}")).to_owned();
        assert_eq!(pending["status"], "pending");
        let (ready, _) = tokio::join!(client.login(json!({})), browse(&url));
        assert_eq!(ready["status"], "ready", "{ready}");
        assert!(client.asked().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_questions_together_take_no_longer_than_a_call_may() {
    const PATIENCE: Duration = Duration::from_secs(2);
    let cases = [
        (FORM, Duration::from_secs(60), "login_unanswered"),
        (PAGE, Duration::from_secs(60), "pending"),
        (BOTH, Duration::from_millis(1_200), "pending"),
    ];
    for (able, time, expected) in cases {
        let (lava, folder) = gateway().await;
        let session = lava.session(folder.path(), |parts| {
            parts.ask = able.form;
            parts.web.as_mut().unwrap().patience = PATIENCE;
        });
        let client = Client::connect(&session, false, able, Person::Ponders(time)).await;
        let began = Instant::now();
        let answer = client.login(json!({})).await;
        let took = began.elapsed();
        assert!(took >= PATIENCE && took < PATIENCE * 7 / 4, "{expected}: {took:?}");
        if expected != "pending" {
            assert_eq!(code(&answer), expected);
            continue;
        }
        // Whoever does not look at the dialog may look at what the model says.
        assert_eq!(answer["status"], "pending", "{answer}");
        let url = answer["login_url"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        let (ready, _) = tokio::join!(client.login(json!({})), browse(&url));
        assert_eq!(ready["status"], "ready", "{ready}");
        assert_eq!(client.asked().len(), usize::from(able.form) + usize::from(able.page), "nobody is asked twice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_of_this_machine_comes_first_and_the_link_is_told_in_case_it_shows_nothing() {
    let (lava, folder) = gateway().await;
    // It starts, and nobody sees it.
    let session = lava.session(folder.path(), |parts| {
        quiet(parts);
        parts.web.as_mut().unwrap().browser = Browser::of(&Environment::of([("BROWSER", "true")]));
    });
    let client = Client::connect(&session, true, PAGE, Person::Declines).await;
    let pending = client.login(json!({})).await;
    let url = pending["login_url"].as_str().unwrap_or_else(|| panic!("{pending}")).to_owned();
    let next = pending["next"].as_str().unwrap();
    assert!(next.contains("if they do not see it, give them the link"), "{next}");
    let seconds = next.split_once("for another ").and_then(|(_, rest)| rest.split_once(" seconds")).unwrap().0.parse::<u64>().unwrap();
    assert!((60..120).contains(&seconds), "what is left of two minutes: {next}");
    assert_eq!(client.login(json!({})).await["login_url"], *url);
    assert!(client.asked().is_empty(), "nobody who is at the browser is disturbed");
    let (ready, _) = tokio::join!(client.login(json!({})), browse(&url));
    assert_eq!(ready["status"], "ready");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_says_no_is_not_asked_again_by_itself() {
    for modern in [false, true] {
        for able in [PAGE, FORM] {
            let (lava, folder) = gateway().await;
            let session = lava.session(folder.path(), patient);
            let client = Client::connect(&session, modern, able, Person::SaysNo(ElicitationAction::Decline, READING)).await;
            let refused = client.login(json!({})).await;
            assert_eq!(code(&refused), "login_declined", "modern {modern}: {refused}");
            assert!(refused["error"]["hint"].as_str().unwrap().contains("Do not call login again"), "{refused}");
            assert!(lava.keys().is_empty());
            // Whatever is clicked now comes too late.
            if let Some(url) = client.asked()[0]["url"].as_str() {
                closes(&asked(&url.parse().unwrap())["port"]).await;
            }
        }
        // On the page itself, while a call waits.
        let (lava, folder) = gateway().await;
        let session = lava.session(folder.path(), |parts| {
            quiet(parts);
            parts.web.as_mut().unwrap().patience = Duration::from_secs(20);
        });
        let client = Client::connect(&session, modern, NOTHING, Person::Declines).await;
        let url: url::Url = client.login(json!({})).await["login_url"].as_str().unwrap().parse().unwrap();
        let asked = asked(&url);
        let deny = format!("http://127.0.0.1:{}/callback?error=access_denied&state={}", asked["port"], asked["state"]);
        let (refused, _) = tokio::join!(client.login(json!({})), browse(&deny));
        assert_eq!(code(&refused), "login_declined", "{refused}");
        assert_ne!(client.login(json!({})).await["login_url"], url.as_str(), "when the user wants it after all, it begins anew");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_person_sets_the_limit_where_the_client_can_ask() {
    let said = |amount: Value, cycle: &str| Person::Agrees(json!({"amount": amount, "cycle": cycle}));
    for modern in [false, true] {
        let (lava, folder) = gateway().await;
        let session = lava.session(folder.path(), |_| {});
        let client = Client::connect(&session, modern, BOTH, said("2.50".into(), "weekly")).await;
        let ready = client.login(json!({})).await;
        assert_eq!(ready["spend_key"]["spend_limit"], json!({"amount": "2.50", "cycle": "weekly"}), "modern {modern}: {ready}");
        let asked = client.asked();
        assert_eq!((asked.len(), &asked[0]["mode"], &asked[1]["mode"]), (2, &"form".into(), &"url".into()), "{asked:?}");
        let form = &asked[0]["requestedSchema"]["properties"];
        assert_eq!((&form["amount"]["default"], &form["cycle"]["default"]), (&"5.00".into(), &"daily".into()), "{form}");
        assert!(asked[1]["url"].as_str().unwrap().contains("limit=2.50%2Fweekly"), "the page says what was chosen: {asked:?}");
        // What they said holds for every later process, and an agent can only ask for less.
        let later = lava.session(folder.path(), |_| {});
        let client = Client::connect(&later, modern, BOTH, Person::Declines).await;
        assert_eq!(client.login(json!({})).await["spend_key"]["spend_limit"]["amount"], "2.50");
        let wider = client.login(json!({"spend_limit": {"amount": "3.00", "cycle": "weekly"}})).await;
        assert_eq!(code(&wider), "limit_not_allowed");
        assert!(wider.to_string().contains("lava-mcp logout"), "{wider}");
        assert_eq!(
            client.login(json!({"spend_limit": {"amount": "1.00", "cycle": "weekly"}})).await["spend_key"]["spend_limit"]["amount"],
            "1.00"
        );
        assert!(client.asked().is_empty());
        // When the settings come to allow less, they win.
        let strict = lava.session(folder.path(), |parts| {
            parts.ceiling.limit = SpendLimit::parse_short("0.20/weekly").unwrap();
            parts.ceiling.set_by = SetBy::Setting;
        });
        let client = Client::connect(&strict, modern, BOTH, Person::Declines).await;
        assert_eq!(client.login(json!({})).await["spend_key"]["spend_limit"]["amount"], "0.20");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_used_is_told_and_asked_for_again() {
    for (modern, said, expected) in [
        (false, json!({"amount": "much", "cycle": "daily"}), "limit_not_valid"),
        (true, json!({"amount": "-1", "cycle": "daily"}), "limit_not_valid"),
        (true, json!({"cycle": "daily"}), "ready"),
        (true, json!({"amount": "$4.00", "cycle": "daily"}), "ready"),
    ] {
        let (lava, folder) = gateway().await;
        let session = lava.session(folder.path(), |parts| parts.secret_key = Some(lava_mcp::domain::Secret::new(lava.secret())));
        let client = Client::connect(&session, modern, FORM, Person::Agrees(said.clone())).await;
        for round in 1..=2 {
            let answer = client.login(json!({})).await;
            if expected == "ready" {
                // What was offered and left as it is may be missing.
                let amount = if said.get("amount").is_some() { "4.00" } else { "5.00" };
                assert_eq!(
                    (&answer["status"], &answer["spend_key"]["spend_limit"]["amount"]),
                    (&"ready".into(), &amount.into()),
                    "{answer}"
                );
                break;
            }
            assert_eq!((code(&answer), client.asked().len()), (expected, round), "{said}");
            assert!(lava.keys().is_empty());
        }
    }
}

/// A client of nobody, such as `claude -p` or `codex exec`, answers at once; what it says is nobody's no.
#[tokio::test(flavor = "multi_thread")]
async fn a_no_that_nobody_can_have_said_is_not_remembered_and_names_the_setting() {
    for (modern, action) in
        [false, true].into_iter().flat_map(|modern| [(modern, ElicitationAction::Decline), (modern, ElicitationAction::Cancel)])
    {
        let (lava, folder) = gateway().await;
        let with_key = |parts: &mut Parts| parts.secret_key = Some(lava_mcp::domain::Secret::new(lava.secret()));
        let session = lava.session(folder.path(), with_key);
        let client = Client::connect(&session, modern, BOTH, Person::SaysNo(action.clone(), Duration::ZERO)).await;
        for round in 1..=2 {
            let began = Instant::now();
            let refused = client.login(json!({})).await;
            assert_eq!((code(&refused), client.asked().len()), ("limit_needed", round), "{refused}");
            assert!(began.elapsed() < Duration::from_secs(1), "at once");
            let hint = refused["error"]["hint"].as_str().unwrap();
            assert!(hint.contains("LAVA_SESSION_LIMIT=5.00/daily") && hint.contains("limit = \"5.00/daily\""), "{hint}");
            assert!(lava.keys().is_empty());
        }
        // A person who comes later is asked, and heard.
        let client = Client::connect(&session, modern, BOTH, Person::Agrees(json!({"amount": "0.75", "cycle": "daily"}))).await;
        assert_eq!(client.login(json!({})).await["spend_key"]["spend_limit"]["amount"], "0.75");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_closes_a_question_is_asked_again() {
    for modern in [false, true] {
        for able in [PAGE, FORM] {
            let (lava, folder) = gateway().await;
            let session = lava.session(folder.path(), patient);
            let client = Client::connect(&session, modern, able, Person::SaysNo(ElicitationAction::Cancel, READING)).await;
            for round in 1..=2 {
                let answer = client.login(json!({})).await;
                if able.page {
                    assert_eq!(answer["status"], "pending", "{answer}");
                } else {
                    assert_eq!(code(&answer), "limit_needed", "{answer}");
                    assert!(answer["error"]["hint"].as_str().unwrap().contains("they are asked again"), "{answer}");
                }
                assert_eq!(client.asked().len(), round, "modern {modern}: {answer}");
            }
            assert!(lava.keys().is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_a_client_of_nobody_refuses_is_told_as_a_link() {
    for (modern, action) in [(false, ElicitationAction::Decline), (true, ElicitationAction::Cancel)] {
        let (lava, folder) = gateway().await;
        let session = lava.session(folder.path(), |parts| {
            quiet(parts);
            parts.web.as_mut().unwrap().patience = Duration::from_secs(20);
        });
        let client = Client::connect(&session, modern, PAGE, Person::SaysNo(action, Duration::ZERO)).await;
        let pending = client.login(json!({})).await;
        let url = pending["login_url"].as_str().unwrap_or_else(|| panic!("{pending}")).to_owned();
        let (ready, _) = tokio::join!(client.login(json!({})), browse(&url));
        assert_eq!(ready["status"], "ready", "{ready}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_was_set_beforehand_is_the_answer() {
    for modern in [false, true] {
        let (lava, folder) = gateway().await;
        let session = lava.session(folder.path(), |parts| {
            parts.ceiling.limit = SpendLimit::parse_short("0.40/weekly").unwrap();
            parts.ceiling.set_by = SetBy::Setting;
            parts.secret_key = Some(lava_mcp::domain::Secret::new(lava.secret()));
        });
        let client = Client::connect(&session, modern, BOTH, Person::Declines).await;
        let ready = client.login(json!({})).await;
        assert_eq!(ready["spend_key"]["spend_limit"], json!({"amount": "0.40", "cycle": "weekly"}), "{ready}");
        assert_eq!(code(&client.login(json!({"spend_limit": {"amount": "0.50", "cycle": "weekly"}})).await), "limit_not_allowed");
        assert!(client.asked().is_empty());
    }
}

/// The clients that answer by themselves are told what to type for them.
#[tokio::test(flavor = "multi_thread")]
async fn the_setting_is_named_as_each_client_takes_it() {
    for modern in [false, true] {
        for (name, command) in [
            ("claude-code", "`claude mcp add lava -e LAVA_SESSION_LIMIT=5.00/daily -- lava-mcp --sandbox`"),
            ("codex-mcp-client", "`codex mcp add lava --env LAVA_SESSION_LIMIT=5.00/daily -- lava-mcp --sandbox`"),
        ] {
            let home = tempfile::tempdir().unwrap();
            let mut command_line = crate::cli::program(home.path());
            command_line.arg("--sandbox");
            let mut server = crate::mcp_stdio::Server::start_able(command_line, modern, json!({"elicitation": {}}), name);
            let params = json!({"name": "login", "arguments": {}});
            let refused = if modern {
                let asked = server.request("tools/call", params.clone())["result"].clone();
                let mut again = params;
                again["requestState"] = asked["requestState"].clone();
                again["inputResponses"] = json!({"limit": {"action": "cancel"}});
                server.request("tools/call", again)["result"].clone()
            } else {
                let id = server.post("tools/call", params);
                let question = server.read();
                server.send(&json!({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "decline"}}).to_string());
                server.answer(id)["result"].clone()
            };
            assert_eq!(crate::mcp_stdio::error_code(&refused), "limit_needed", "{refused}");
            assert!(refused.to_string().contains(command), "{refused}");
            server.close();
        }
    }
}

/// Whatever is not an answer is not a yes: only a client that does not know the question is one that cannot be asked.
#[test]
fn an_answer_that_cannot_be_read_sets_nothing_up() {
    let accept = |content: Value| json!({"result": {"action": "accept", "content": content}});
    for (said, expected) in [
        (json!({"result": {}}), "limit_needed"),
        (json!({"result": {"action": "maybe"}}), "limit_needed"),
        (json!({"result": {"action": null}}), "limit_needed"),
        (json!({"result": {"action": "ACCEPT", "content": {}}}), "limit_needed"),
        (json!({"result": {"content": {"amount": "1.00", "cycle": "daily"}}}), "limit_needed"),
        (json!({"error": {"code": -32603, "message": "no"}}), "limit_needed"),
        (json!({"error": {"code": -32602, "message": "no"}}), "limit_needed"),
        (json!({"error": {"code": -1, "message": "the user is away"}}), "limit_needed"),
        (accept(json!("5.00/daily")), "limit_needed"),
        (accept(json!([])), "limit_needed"),
        (accept(json!({"amount": ["1"], "cycle": "daily"})), "limit_not_valid"),
        (accept(json!({"amount": "1.00", "cycle": 5})), "limit_not_valid"),
        (accept(json!({"amount": "", "cycle": ""})), "limit_not_valid"),
        (accept(json!({"amount": {}, "cycle": false})), "limit_not_valid"),
        // What was offered and left as it is may be missing.
        (accept(json!({})), "5.00/daily"),
        (accept(Value::Null), "5.00/daily"),
        (accept(json!({"amount": null, "cycle": "WEEKLY"})), "5.00/weekly"),
        (json!({"error": {"code": -32601, "message": "no such method"}}), "5.00/daily"),
    ] {
        let home = tempfile::tempdir().unwrap();
        let mut command = crate::cli::program(home.path());
        command.arg("--sandbox");
        let mut server = crate::mcp_stdio::Server::start_able(command, false, json!({"elicitation": {}}), "a test");
        for round in 1..=2 {
            let id = server.post("tools/call", json!({"name": "login", "arguments": {}}));
            let question = server.read();
            assert_eq!(question["method"], "elicitation/create", "{said} in round {round}: {question}");
            let mut answer = said.clone();
            answer["jsonrpc"] = "2.0".into();
            answer["id"] = question["id"].clone();
            server.send(&answer.to_string());
            let result = server.answer(id)["result"].clone();
            let limit = &result["structuredContent"]["spend_key"]["spend_limit"];
            if let (Some(amount), Some(cycle)) = (limit["amount"].as_str(), limit["cycle"].as_str()) {
                assert_eq!(format!("{amount}/{cycle}"), expected, "{said}: {result}");
                break;
            }
            assert_eq!(crate::mcp_stdio::error_code(&result), expected, "{said}: {result}");
            // Without a key nothing can be paid for.
            let refused = server.call("prompt", json!({"model": "gpt-4o-mini", "input": "Hi", "max_tokens": 5}));
            assert_eq!(refused["isError"], true, "{said}: {refused}");
        }
        server.close();
    }
}

/// Calls `login` once, without answering what is asked.
async fn once(client: &Client, params: CallToolRequestParams) -> Result<Box<InputRequiredResult>, Value> {
    match client.running.peer().call_tool_once(params).await.unwrap() {
        CallToolResponse::InputRequired(round) => Ok(Box::new(round)),
        CallToolResponse::Complete(result) => Err(shown(&result)),
        other => panic!("{other:?}"),
    }
}

fn answer(params: &CallToolRequestParams, state: Option<&str>, said: Value) -> CallToolRequestParams {
    let mut params = params.clone();
    params.input_responses = Some(serde_json::from_value(said).unwrap());
    params.request_state = state.map(str::to_owned);
    params
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_to_questions_that_were_not_asked_count_for_nothing() {
    let (lava, folder) = gateway().await;
    let session = lava.session(folder.path(), |_| {});
    let client = Client::connect(&session, true, BOTH, Person::Dawdles).await;
    let plain = CallToolRequestParams::new("login");
    let round = once(&client, plain.clone()).await.unwrap();
    let state = round.request_state.clone().unwrap();
    let said = json!({"limit": {"action": "accept", "content": {"amount": "1000.00", "cycle": "total"}}});
    let forged = state.replacen(|c: char| c.is_ascii_lowercase(), "Z", 3);
    let mut other_arguments = plain.clone();
    other_arguments.arguments = json!({"force": true}).as_object().cloned();
    let elsewhere = Client::connect(&lava.session(&folder.path().join("other"), |_| {}), true, BOTH, Person::Dawdles).await;
    let foreign = once(&elsewhere, plain.clone()).await.unwrap().request_state.clone().unwrap();
    for (params, state) in
        [(&plain, Some(&*forged)), (&plain, None), (&plain, Some("")), (&other_arguments, Some(&*state)), (&plain, Some(&*foreign))]
    {
        let refused = once(&client, answer(params, state, said.clone())).await.unwrap_err();
        assert_eq!(code(&refused), "answer_not_valid", "{state:?}");
        assert_eq!(refused["error"]["hint"], "Call the tool again, without requestState and inputResponses.");
    }
    // The answer to one question is none to another.
    let page = json!({"login": {"action": "accept"}});
    let again = once(&client, answer(&plain, Some(&state), page.clone())).await.unwrap();
    assert!(again.input_requests.as_ref().unwrap().contains_key("limit"));
    // The right one goes on to the page; whoever says that it is open, without it, is asked to open it.
    let next = once(&client, answer(&plain, Some(&state), said)).await.unwrap();
    assert!(next.input_requests.as_ref().unwrap().contains_key("login"), "{next:?}");
    let still = once(&client, answer(&plain, Some(&state), page)).await.unwrap();
    assert!(still.input_requests.as_ref().unwrap().contains_key("login"), "{still:?}");
    assert!(lava.keys().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_gateway_asks_too_and_only_once() {
    for asks in [true, false] {
        for modern in [false, true] {
            let home = tempfile::tempdir().unwrap();
            let mut command = crate::cli::program(home.path());
            command.arg("--sandbox").env("LAVA_ASK", if asks { "1" } else { "0" });
            let (status, limit, questions) = embedded(command, modern).await;
            assert_eq!((&*status, questions), ("ready", usize::from(asks)), "modern {modern}");
            assert_eq!(limit, if asks { "0.75" } else { "5.00" });
            let mut later = crate::cli::program(home.path());
            later.arg("--sandbox");
            assert_eq!(embedded(later, modern).await, ("ready".to_owned(), limit, 0), "the key is there");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_never_spends_the_secret_key_unless_a_person_switched_that_on() {
    let (lava, folder) = gateway().await;
    let secret = lava.secret();
    let session = |is_on: bool| {
        lava.session(folder.path(), |parts| {
            parts.secret_key = Some(lava_mcp::domain::Secret::new(secret.clone()));
            parts.forward_with_secret_key = is_on;
        })
    };
    let call = |client: Client| async move {
        assert_eq!(client.login(json!({})).await["status"], "ready");
        let arguments = json!({"url": "https://api.tavily.com/search", "body": {"query": "rust"}});
        let params = CallToolRequestParams::new("call").with_arguments(arguments.as_object().cloned().unwrap());
        shown(&client.running.call_tool(params).await.unwrap())
    };
    let refused = call(Client::connect(&session(false), true, NOTHING, Person::Declines).await).await;
    assert_eq!(code(&refused), "spend_key_not_forwarded");
    assert!(refused["error"]["hint"].as_str().unwrap().contains("LAVA_FORWARD_WITH=secret-key"), "{refused}");
    assert_eq!(lava.forwarded_with(), ["lava_sk_of_the_fake_0"], "it was tried once, with the spend key");

    let paid = call(Client::connect(&session(true), true, NOTHING, Person::Declines).await).await;
    assert_eq!(paid["status"], 200, "{paid}");
    assert!(paid["warning"].as_str().unwrap().contains("the session's limit does not hold"), "{paid}");
    let token = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, &lava.forwarded_with()[1]).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&token).unwrap(), json!({"secret_key": secret}));

    lava.forwards_spend_keys(true);
    let paid = call(Client::connect(&session(false), true, NOTHING, Person::Declines).await).await;
    assert_eq!((&paid["status"], paid.get("warning")), (&200.into(), None));
}

/// Logs in at the program itself; returns status, limit, and how often the person was asked.
async fn embedded(command: std::process::Command, modern: bool) -> (String, String, usize) {
    let asked = Arc::<Mutex<Vec<Value>>>::default();
    let person = Person::Agrees(json!({"amount": "0.75", "cycle": "daily"}));
    let handler = Handler { able: BOTH, person, asked: asked.clone() };
    let lifecycle = match modern {
        true => ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] },
        false => ClientLifecycleMode::Initialize,
    };
    let child = rmcp::transport::TokioChildProcess::new(tokio::process::Command::from(command)).unwrap();
    let running = serve_client_with_lifecycle(handler, child, lifecycle).await.unwrap();
    let result = shown(&running.call_tool(CallToolRequestParams::new("login")).await.unwrap());
    running.cancel().await.unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{result}")).to_owned();
    let count = asked.lock().unwrap().len();
    (text(&result["status"]), text(&result["spend_key"]["spend_limit"]["amount"]), count)
}
