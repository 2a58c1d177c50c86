//! A login in the browser, from the gateway's side: the page that asks, the answers that count and those that do not, and the code that becomes a key.

mod afar;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Harness, Served, request};

const STATE: &str = "0123456789abcdef0123456789abcdef";
const CALLBACK: &str = "http://127.0.0.1:50123/callback?";
/// When a page of the harness's clock was read, and when its code is a minute old.
const READ: &str = "2026-11-24T12:00:00.700Z";
const A_MINUTE_LATER: &str = "2026-11-24T12:01:00.700Z";

/// A browser that says what browsers say, and follows nothing.
struct Browser {
    http: reqwest::Client,
    root: String,
    headers: Vec<(&'static str, String)>,
}

type Fields = Vec<(String, String)>;

struct Page {
    status: u16,
    headers: http::HeaderMap,
    text: String,
}

impl Page {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// What its form would send, but for the buttons.
    fn fields(&self) -> Fields {
        let inputs = self.text.split("<input type=\"hidden\" name=\"").skip(1);
        let read = |input: &str| {
            let (name, rest) = input.split_once("\" value=\"").unwrap();
            (name.to_owned(), unescaped(rest.split_once("\">").unwrap().0))
        };
        inputs.map(read).collect()
    }

    fn code(&self) -> String {
        assert_eq!(self.status, 303, "{}", self.text);
        let answer = self.header("location").strip_prefix(CALLBACK).unwrap_or_else(|| panic!("{}", self.header("location")));
        let (code, state) = answer.strip_prefix("code=").unwrap().split_once("&state=").unwrap();
        assert_eq!(state, STATE);
        code.to_owned()
    }
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'").replace("&amp;", "&")
}

fn encoded(fields: &Fields) -> String {
    fields
        .iter()
        .fold(url::form_urlencoded::Serializer::new(String::new()), |mut form, (name, value)| {
            form.append_pair(name, value);
            form
        })
        .finish()
}

fn with(fields: &Fields, name: &str, value: &str) -> Fields {
    let mut fields: Fields = fields.iter().filter(|(other, _)| other != name).cloned().collect();
    fields.push((name.to_owned(), value.to_owned()));
    fields
}

impl Browser {
    fn new(served: &Served) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { http, root: served.url(""), headers: Vec::new() }
    }

    async fn send(&self, mut request: reqwest::RequestBuilder, headers: &[(&str, &str)]) -> Page {
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let answer = request.send().await.unwrap();
        Page { status: answer.status().as_u16(), headers: answer.headers().clone(), text: answer.text().await.unwrap() }
    }

    async fn open(&self, query: &str) -> Page {
        let headers = [("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
        self.send(self.http.get(format!("{}/auth/connect?{query}", self.root)), &headers).await
    }

    async fn post(&self, fields: &Fields, headers: &[(&str, &str)]) -> Page {
        let form = self.http.post(format!("{}/auth/connect", self.root)).header("content-type", "application/x-www-form-urlencoded");
        self.send(form.body(encoded(fields)), headers).await
    }

    /// Presses a button as a browser does.
    async fn press(&self, fields: &Fields, answer: &str) -> Page {
        let headers = [("origin", self.root.as_str()), ("sec-fetch-site", "same-origin"), ("sec-fetch-dest", "document")];
        self.post(&with(fields, "answer", answer), &headers).await
    }

    async fn exchange(&self, code: &str) -> (u16, Value) {
        let request = self.http.post(format!("{}/v1/auth/callback", self.root)).header("content-type", "application/json");
        let page = self.send(request.body(json!({"code": code}).to_string()), &[]).await;
        assert_eq!(page.header("cache-control"), "no-store");
        (page.status, serde_json::from_str(&page.text).unwrap())
    }
}

async fn start() -> (Harness, Served, Browser) {
    let harness = Harness::start().await;
    let served = Served::start(harness.gateway.clone()).await;
    let browser = Browser::new(&served);
    (harness, served, browser)
}

fn query() -> String {
    format!("state={STATE}&port=50123&client=Cursor&machine=laptop&limit=5.00/daily")
}

/// How many secret keys there are beside the harness's own.
fn logins(harness: &Harness) -> usize {
    harness.gateway.secret_keys().unwrap().len() - 1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_lets_a_program_in() {
    let (harness, served, browser) = start().await;
    let page = browser.open(&query()).await;
    assert_eq!(page.status, 200, "{}", page.text);
    for shown in ["Cursor", "laptop", "5.00 USD a day", "port 50123", "Authorize", "Deny", "secret key"] {
        assert!(page.text.contains(shown), "{shown}: {}", page.text);
    }
    assert!(!page.text.contains("type=\"password\"") && !page.text.contains("<script") && !page.text.contains("src="), "{}", page.text);
    assert!(page.header("x-lava-request-id").starts_with("req_"));
    harness.clock.set(READ);
    let answer = browser.press(&page.fields(), "authorize").await;
    let code = answer.code();
    assert!(code.len() >= 43 && answer.text.is_empty(), "{code}");
    assert_eq!((answer.header("cache-control"), answer.header("referrer-policy")), ("no-store", "no-referrer"));
    assert_eq!(logins(&harness), 0, "the key is made when the code comes back");

    let (status, credentials) = browser.exchange(&code).await;
    assert_eq!(status, 200, "{credentials}");
    for field in ["wallet_id", "merchant_id", "account_id"] {
        assert!(credentials[field].as_str().is_some_and(|text| !text.is_empty()), "{credentials}");
    }
    let keys = harness.gateway.secret_keys().unwrap();
    let made = keys.iter().find(|key| key.id == credentials["secret_key_id"].as_str().unwrap()).unwrap();
    assert_eq!(
        (made.name.as_str(), made.test, made.created_at.to_string().as_str()),
        ("login: Cursor on laptop", false, "2026-11-24T12:00:00.7Z")
    );
    let secret = credentials["secret_key"].as_str().unwrap();
    let spend_key = request(Method::POST, "/v1/spend_keys", Some(secret), json!({"name": "from a login"}));
    assert_eq!(harness.send(spend_key).await.status, StatusCode::CREATED);
    assert!(harness.gateway.delete_secret_key(&made.id).await.unwrap());
    let gone = request(Method::GET, "/v1/spend_keys", Some(secret), Value::Null);
    assert_eq!(harness.send(gone).await.status, StatusCode::UNAUTHORIZED);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_works_once_even_for_two_at_once_and_for_a_minute() {
    let (harness, served, browser) = start().await;
    let [first, second] = [browser.open(&query()).await, browser.open(&query()).await];
    harness.clock.set(READ);
    let code = browser.press(&first.fields(), "authorize").await.code();
    let asked = futures_util::future::join_all((0..8).map(|_| browser.exchange(&code))).await;
    let (won, lost): (Vec<_>, Vec<_>) = asked.into_iter().partition(|(status, _)| *status == 200);
    assert_eq!((won.len(), lost.len(), logins(&harness)), (1, 7, 1));
    for (status, error) in lost {
        assert_eq!((status, error["error"]["code"].as_str()), (400, Some("login_code_invalid")));
        assert!(error["error"]["message"].as_str().unwrap().contains("Start the login again"), "{error}");
    }
    let late = browser.press(&second.fields(), "authorize").await.code();
    harness.clock.set(A_MINUTE_LATER);
    assert_eq!(browser.exchange(&late).await.0, 200, "a minute is not yet over");
    harness.clock.set(READ);
    let third = browser.open(&query()).await.fields();
    harness.clock.set("2026-11-24T12:00:02Z");
    let late = browser.press(&third, "authorize").await.code();
    harness.clock.set("2026-11-24T12:01:02.000001Z");
    assert_eq!(browser.exchange(&late).await.0, 400);
    for body in ["", "[]", "{}", "{\"code\": 1}", "{\"code\": \"\"}", &format!("{{\"code\": \"{}\"}}", "x".repeat(1_000))] {
        let wrong = browser.http.post(served.url("/v1/auth/callback")).body(body.to_owned()).send().await.unwrap();
        assert_eq!(wrong.status().as_u16(), 400, "{body}");
        let error: Value = serde_json::from_str(&wrong.text().await.unwrap()).unwrap();
        assert!(!error["error"]["message"].as_str().unwrap().is_empty());
    }
    assert_eq!(logins(&harness), 2);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_counts_once_and_a_no_stays() {
    let (harness, served, browser) = start().await;
    let [yes, no] = [browser.open(&query()).await.fields(), browser.open(&query()).await.fields()];
    harness.clock.set(READ);
    browser.press(&yes, "authorize").await.code();
    let denied = browser.press(&no, "deny").await;
    assert_eq!((denied.status, denied.header("location")), (303, format!("{CALLBACK}error=access_denied&state={STATE}").as_str()));
    for (fields, answer) in [(&yes, "authorize"), (&yes, "deny"), (&no, "authorize")] {
        let again = browser.press(fields, answer).await;
        assert_eq!((again.status, again.header("location")), (403, ""));
        assert!(again.text.contains("answered before") && again.text.contains("<html"), "{}", again.text);
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_counts_only_for_what_its_page_showed() {
    let (harness, served, browser) = start().await;
    let fields = browser.open(&query()).await.fields();
    harness.clock.set(READ);
    let other = "fedcba9876543210fedcba9876543210";
    for (name, value) in [
        ("state", other),
        ("port", "50124"),
        ("client", "Claude"),
        ("machine", ""),
        ("limit", "50.00/daily"),
        ("token", "AAAA"),
        ("token", ""),
    ] {
        let forged = browser.press(&with(&fields, name, value), "authorize").await;
        assert_eq!((forged.status, forged.header("location")), (403, ""), "{name}");
        assert!(forged.text.contains("was changed"), "{}", forged.text);
    }
    for answer in ["", "yes", "AUTHORIZE"] {
        assert_eq!(browser.press(&fields, answer).await.status, 400, "{answer}");
    }
    // Pages of another gateway, or of this one before it was started anew, do not count either.
    let elsewhere = Served::start(harness.second_at("http://127.0.0.1:9/v1").await).await;
    assert_eq!(Browser::new(&elsewhere).press(&fields, "authorize").await.status, 403);
    browser.press(&fields, "authorize").await.code();
    elsewhere.stop().await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_click_that_nobody_can_have_meant_leads_to_the_page_again() {
    let (harness, served, browser) = start().await;
    let fields = browser.open(&query()).await.fields();
    harness.clock.set("2026-11-24T12:00:00.699Z");
    let early = browser.press(&fields, "authorize").await;
    assert_eq!((early.status, early.header("location")), (200, ""));
    assert!(early.text.contains("faster than anyone can read"), "{}", early.text);
    harness.clock.set("2026-11-24T12:10:00.700Z");
    let late = browser.press(&fields, "authorize").await;
    assert!(late.status == 200 && late.text.contains("was open for a while"), "{}", late.text);
    harness.clock.set("2026-11-24T12:10:02Z");
    browser.press(&late.fields(), "authorize").await.code();
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_site_cannot_answer_for_a_person() {
    let (harness, served, browser) = start().await;
    let page = browser.open(&query()).await;
    let policy = page.header("content-security-policy");
    for part in [
        "default-src 'none'; style-src 'sha256-",
        "form-action 'self' http://127.0.0.1:50123;",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    for (name, value) in [
        ("x-frame-options", "DENY"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("content-type", "text/html; charset=utf-8"),
    ] {
        assert_eq!(page.header(name), value, "{name}");
    }
    assert!(page.headers.get("access-control-allow-origin").is_none());
    harness.clock.set(READ);
    let fields = with(&page.fields(), "answer", "authorize");
    let own = browser.root.as_str();
    let other_port = "http://127.0.0.1:3000";
    for headers in [
        vec![("origin", "https://evil.example")],
        vec![("origin", "null")],
        vec![("origin", other_port)],
        vec![("origin", other_port), ("sec-fetch-site", "same-site")],
        vec![("sec-fetch-site", "cross-site")],
        vec![("sec-fetch-site", "same-site")],
        vec![("origin", own), ("sec-fetch-site", "same-origin"), ("sec-fetch-dest", "iframe")],
        vec![("origin", own), ("sec-fetch-site", "same-origin"), ("sec-fetch-dest", "empty")],
        vec![("host", "evil.example")],
    ] {
        let answer = browser.post(&fields, &headers).await;
        assert_eq!((answer.status, answer.header("location")), (403, ""), "{headers:?}");
        assert!(answer.text.starts_with("<!doctype html>") && answer.header("x-frame-options") == "DENY", "{}", answer.text);
    }
    // Nor does it lead a person here, or show the page within its own.
    for header in
        [("sec-fetch-site", "cross-site"), ("sec-fetch-dest", "iframe"), ("host", "evil.example"), ("origin", "https://evil.example")]
    {
        let get = browser.http.get(format!("{own}/auth/connect?{}", query()));
        let shown = browser.send(get, &[header]).await;
        assert!(
            shown.status == 403 && shown.text.starts_with("<!doctype html>") && !shown.text.contains("<form"),
            "{header:?}: {}",
            shown.text
        );
    }
    let json = browser.http.post(format!("{own}/auth/connect")).header("content-type", "text/plain").body(encoded(&fields));
    assert_eq!(browser.send(json, &[]).await.status, 400);
    browser.post(&fields, &[("origin", own)]).await.code();
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_says_of_itself_is_shown_as_text() {
    let (harness, served, browser) = start().await;
    let nasty = "%3Cscript%3Ealert(1)%3C/script%3E%22%3E%3Cb%3E%E2%80%AEevil%E2%80%8B%0A%20name";
    let page = browser.open(&format!("state={STATE}&port=50123&client={nasty}&machine={}", "m".repeat(500))).await;
    assert!(!page.text.contains("<script") && !page.text.contains("<b>"), "{}", page.text);
    assert!(page.text.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&gt;&lt;b&gt;evil name"), "{}", page.text);
    assert!(!page.text.contains('\u{202e}') && !page.text.contains('\u{200b}') && !page.text.contains(&"m".repeat(61)));
    harness.clock.set(READ);
    let code = browser.press(&page.fields(), "authorize").await.code();
    let (_, credentials) = browser.exchange(&code).await;
    let keys = harness.gateway.secret_keys().unwrap();
    let made = keys.iter().find(|key| key.id == credentials["secret_key_id"].as_str().unwrap()).unwrap();
    assert_eq!(made.name, format!("login: <script>alert(1)</script>\"><b>evil name on {}", "m".repeat(60)));
    for (query, says) in [
        (String::new(), "state: "),
        (format!("state={STATE}"), "port: "),
        (format!("state={STATE}&port=80"), "1024 to 65535"),
        (format!("state={STATE}&port=70000"), "1024 to 65535"),
        ("state=%3Cscript%3E&port=50123".to_owned(), "16 to 128"),
        (format!("state={STATE}&port=50123&limit=lots"), "amount and a cycle"),
        (format!("state={STATE}&port=50123&%3Cscript%3E=1&%3Cscript%3E=1"), "&lt;script&gt;: duplicate field"),
    ] {
        let wrong = browser.open(&query).await;
        assert!(wrong.status == 400 && wrong.text.contains(says) && !wrong.text.contains("<script"), "{query}: {}", wrong.text);
        assert_eq!((wrong.header("content-type"), wrong.header("cache-control")), ("text/html; charset=utf-8", "no-store"));
    }
    let put = browser.send(browser.http.put(format!("{}/auth/connect", browser.root)), &[]).await;
    assert!(put.status == 405 && put.text.starts_with("<!doctype html>"), "{}", put.text);
    let nowhere = browser.send(browser.http.get(format!("{}/auth/other", browser.root)), &[]).await;
    assert!(nowhere.status == 404 && nowhere.text.starts_with("<!doctype html>"), "{}", nowhere.text);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_sandbox_a_login_gives_a_test_key() {
    let harness = Harness::start_with(true).await;
    let served = Served::start(harness.gateway.clone()).await;
    let browser = Browser::new(&served);
    let page = browser.open(&format!("state={STATE}&port=50123")).await;
    assert!(page.text.contains("Sandbox") && page.text.contains("gives no name"), "{}", page.text);
    harness.clock.set(READ);
    let (_, credentials) = browser.exchange(&browser.press(&page.fields(), "authorize").await.code()).await;
    assert!(credentials["secret_key"].as_str().unwrap().starts_with("aks_test_"), "{credentials}");
    served.stop().await;
}
