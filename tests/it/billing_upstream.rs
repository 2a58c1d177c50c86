//! A provider that keeps its own books: it notes what it bills for each request, and then ends the stream in one of the ways in which streams end.
//!
//! The model's name is the ending and a number, such as `cut-mid-event-17`, so that a bill and an entry of the ledger can be laid side by side. Prices are those
//! of the harness: 1,000 nano-dollars a token of input, 2,000 a token of output.

use std::{
    collections::{HashMap, HashSet},
    io::Write as _,
    sync::{Arc, Mutex},
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

use crate::fake_upstream::read_request;

/// Input of every request as this provider counts it: less than the gateway's bound, also of a template that it has learned.
pub(crate) const INPUT_TOKENS: u64 = 40;
/// What a provider may bill after the last thing that was seen, by the gateway's assumption.
const UNSEEN_TOKENS_MAX: u64 = 1_000;
/// No socket stays open longer than this, whatever happens.
const ANSWER_DEADLINE: Duration = Duration::from_secs(45);
/// A gateway whose caller has hung up closes its own stream within this, or the answer is made, and billed, to the end.
const CLOSE_DEADLINE: Duration = Duration::from_secs(15);

/// What was billed, in nano-dollars, for each model name, and whose caller has hung up.
#[derive(Clone, Default)]
pub(crate) struct Bills {
    amounts: Arc<Mutex<HashMap<String, i64>>>,
    hung_up: Arc<Mutex<HashSet<String>>>,
}

impl Bills {
    /// Bills so many tokens of output so far; a request's bill only grows.
    fn set(&self, model: &str, output: u64) {
        let amount_n = i64::try_from(INPUT_TOKENS * 1_000 + output * 2_000).unwrap();
        let mut bills = self.amounts.lock().unwrap();
        let bill = bills.entry(model.to_owned()).or_default();
        *bill = amount_n.max(*bill);
    }

    /// Adds a whole answer to what this name was billed before.
    fn add(&self, model: &str, output: u64) {
        let amount_n = i64::try_from(INPUT_TOKENS * 1_000 + output * 2_000).unwrap();
        *self.amounts.lock().unwrap().entry(model.to_owned()).or_default() += amount_n;
    }

    pub(crate) fn of(&self, model: &str) -> Option<i64> {
        self.amounts.lock().unwrap().get(model).copied()
    }

    /// Tells the provider that a caller has hung up, so that it need not guess how long that takes.
    pub(crate) fn hang_up(&self, model: &str) {
        self.hung_up.lock().unwrap().insert(model.to_owned());
    }

    pub(crate) fn total(&self) -> i64 {
        self.amounts.lock().unwrap().values().sum()
    }
}

pub(crate) struct BillingUpstream {
    pub(crate) url: String,
    pub(crate) port: u16,
    pub(crate) bills: Bills,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for BillingUpstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl BillingUpstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let bills = Bills::default();
        let books = bills.clone();
        let bomb: Arc<[u8]> = bomb().into();
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let _ = socket.set_nodelay(true);
                let (books, bomb) = (books.clone(), bomb.clone());
                tokio::spawn(serve(socket, books, bomb));
            }
        });
        Self { url: format!("http://127.0.0.1:{port}/v1"), port, bills, task }
    }
}

async fn serve(mut socket: TcpStream, bills: Bills, bomb: Arc<[u8]>) {
    loop {
        let Ok(Some((_, body))) = timeout(ANSWER_DEADLINE, read_request(&mut socket)).await else { return };
        let body: Value = serde_json::from_slice(&body).unwrap();
        let model = body["model"].as_str().unwrap().to_owned();
        let Some(output) = model.strip_prefix("bill-") else {
            // Those that stop billing when a stream is closed have another name for the cap.
            let (cap, stops) = (body["max_tokens"].as_u64(), body["max_completion_tokens"].as_u64());
            let mut answer = Answer { socket, bills, model, cap: cap.or(stops).unwrap(), stops: stops.is_some(), visible: 0 };
            let _ = timeout(ANSWER_DEADLINE, answer.end(&bomb)).await;
            return;
        };
        // Output, and how long it takes to make it.
        let (output, ms) = output.split_once('-').unwrap_or((output, "3"));
        let (output, pause) = (output.parse().unwrap(), Duration::from_millis(ms.parse().unwrap()));
        bills.add(&model, output);
        if whole(&mut socket, output, pause, body["stream"] == true).await.is_none() {
            return;
        }
    }
}

/// A complete answer over a connection that stays.
async fn whole(socket: &mut TcpStream, output: u64, pause: Duration, is_streamed: bool) -> Option<()> {
    sleep(pause).await;
    let usage = usage(output);
    let (kind, body) = if is_streamed {
        let report = json!({"choices": [], "usage": usage});
        ("text/event-stream", format!("{}data: {report}\n\ndata: [DONE]\n\n", piece("Hello.")))
    } else {
        ("application/json", json!({"choices": [{"message": {"content": "Hello."}}], "usage": usage}).to_string())
    };
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.len());
    socket.write_all(format!("{head}{body}").as_bytes()).await.ok()
}

fn usage(output: u64) -> Value {
    json!({"prompt_tokens": INPUT_TOKENS, "completion_tokens": output, "total_tokens": INPUT_TOKENS + output})
}

fn piece(text: &str) -> String {
    format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {"content": text}}]}))
}

/// 1 GiB of zeros in 1 MB of gzip: 64 times the same member, which is a valid file.
fn bomb() -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(&vec![0; 16 << 20]).unwrap();
    packer.finish().unwrap().repeat(64)
}

struct Answer {
    socket: TcpStream,
    bills: Bills,
    model: String,
    cap: u64,
    /// Whether the bill ends when the stream is closed.
    stops: bool,
    /// Bytes of text sent so far.
    visible: u64,
}

impl Answer {
    /// Ends the stream as its name says. `None` when the other side has closed.
    async fn end(&mut self, bomb: &[u8]) -> Option<()> {
        let (ending, number) = self.model.rsplit_once('-').map(|(ending, number)| (ending.to_owned(), number.parse::<u64>().unwrap()))?;
        let unseen = number * 37 % (UNSEEN_TOKENS_MAX + 1);
        // The request alone is billed from here on.
        self.bill(0);
        match ending.as_str() {
            "cut-before-head" => {
                self.bill(self.cap);
                return None;
            }
            "gzip" => {
                self.bill(self.cap);
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip\r\nconnection: close\r\n\r\n";
                self.write(head.as_bytes()).await?;
                return self.write(bomb).await;
            }
            "rst-before-head" => self.wait_for_hang_up().await?,
            _ => {}
        }
        self.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n").await?;
        if ending == "cut-after-head" {
            self.bill(unseen);
            return None;
        }
        match ending.as_str() {
            "endless" => return self.go_on_for_ever().await,
            "hose" => return self.hose(self.cap).await,
            // Makes two thirds of it at once, and then nothing.
            "hose-then-still" => {
                self.spray(self.cap * 2 / 3).await?;
                return self.wait(CLOSE_DEADLINE).await;
            }
            _ => {}
        }
        self.say("Hel").await?;
        if ending == "rst-after-first" {
            self.wait_for_hang_up().await?;
        }
        self.say("lo th").await?;
        match ending.as_str() {
            "cut-mid-event" => {
                self.bill(self.visible + unseen);
                self.write(&piece("unseen").as_bytes()[..20]).await?;
                return None;
            }
            "cut-mid-character" => {
                self.bill(self.visible + unseen);
                let event = piece("é");
                self.write(&event.as_bytes()[..=event.find('é').unwrap()]).await?;
                return None;
            }
            "usage-twice" => {
                self.report(3).await?;
                self.say("ere").await?;
            }
            "trickle" => {
                for byte in piece("ere, drop by drop").as_bytes() {
                    self.write(&[*byte]).await?;
                }
            }
            _ => self.say("ere").await?,
        }
        match ending.as_str() {
            // No token is shorter than a byte.
            "no-usage" => self.bill(self.visible),
            "usage-above-hold" => self.report(self.cap + 2_000).await?,
            _ => self.report(7).await?,
        }
        if ending == "rst-before-done" {
            self.wait_for_hang_up().await?;
        }
        self.write(b"data: [DONE]\n\n").await?;
        None
    }

    /// Makes tokens as fast as somebody takes them, each in an event of 8 KiB.
    async fn spray(&mut self, tokens: u64) -> Option<()> {
        let event = format!(
            "data: {}\n\n",
            json!({"choices": [{"index": 0, "delta": {"content": "1"}, "logprobs": {"pad": "x".repeat(8 << 10)}}]})
        );
        for made in 1..=tokens {
            self.bill(made);
            self.write(event.as_bytes()).await?;
        }
        Some(())
    }

    async fn hose(&mut self, tokens: u64) -> Option<()> {
        self.spray(tokens).await?;
        self.report(tokens).await?;
        self.write(b"data: [DONE]\n\n").await
    }

    async fn go_on_for_ever(&mut self) -> Option<()> {
        for tokens in 1.. {
            self.say("word ").await?;
            self.bill(tokens.min(self.cap));
            self.wait(Duration::from_millis(100)).await?;
        }
        None
    }

    fn bill(&self, output: u64) {
        self.bills.set(&self.model, output);
    }

    async fn report(&mut self, output: u64) -> Option<()> {
        self.bill(output);
        self.write(format!("data: {}\n\n", json!({"choices": [], "usage": usage(output)})).as_bytes()).await
    }

    async fn say(&mut self, text: &str) -> Option<()> {
        self.visible += text.len() as u64;
        self.write(piece(text).as_bytes()).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Option<()> {
        self.socket.write_all(bytes).await.ok()
    }

    /// Until the caller has hung up, and, where that ends the bill, the gateway has closed.
    async fn wait_for_hang_up(&mut self) -> Option<()> {
        while !self.bills.hung_up.lock().unwrap().contains(&self.model) {
            self.wait(Duration::from_millis(10)).await?;
        }
        if self.stops {
            self.wait(CLOSE_DEADLINE).await?;
            self.bill(self.cap);
        }
        Some(())
    }

    async fn wait(&mut self, time: Duration) -> Option<()> {
        let mut byte = [0];
        match timeout(time, self.socket.read(&mut byte)).await {
            Err(_) => Some(()),
            Ok(_) => None,
        }
    }
}
