//! Every way in which a stream can end, many at a time, over sockets: each hold ends once, covers what the provider billed, and nothing is left behind.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::{
    billing_upstream::{BillingUpstream, Bills},
    harness::{Harness, Served, UPSTREAM_KEY},
};

const AT_A_TIME: usize = 32;
/// No caller waits longer for an answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(40);
/// With no traffic nothing may be left after this.
const QUIET_DEADLINE: Duration = Duration::from_secs(60);
/// How much more memory may be used than before, in KiB: a bomb is 1 GiB.
const MEMORY_KIB_MAX: u64 = 512 << 10;
const OUTPUT_CAP: u64 = 3_000;

/// What the caller does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Caller {
    /// Reads to the end; this stands in what it has read.
    Reads(&'static str),
    /// Closes the connection after so many events.
    Leaves(usize),
    /// Resets the connection once the provider has the request, and so many events have come.
    Resets(usize),
}

/// What the entry must say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Booked {
    /// Exactly what was billed.
    Exactly,
    /// At least what was billed, at most the hold.
    Between,
    /// The whole hold.
    Hold,
}

const BROKEN: Caller = Caller::Reads("upstream_broken");
const COMPLETE: Caller = Caller::Reads("[DONE]");

/// Ending, caller, and what is booked at a provider that bills on, and at one that stops when the stream is closed.
const ENDINGS: [(&str, Caller, [Booked; 2]); 13] = [
    ("cut-before-head", BROKEN, [Booked::Hold; 2]),
    ("cut-after-head", BROKEN, [Booked::Between; 2]),
    ("cut-mid-event", BROKEN, [Booked::Between; 2]),
    ("cut-mid-character", BROKEN, [Booked::Between; 2]),
    ("no-usage", COMPLETE, [Booked::Between; 2]),
    ("usage-twice", COMPLETE, [Booked::Exactly; 2]),
    ("usage-above-hold", COMPLETE, [Booked::Exactly; 2]),
    ("endless", Caller::Leaves(3), [Booked::Hold, Booked::Between]),
    ("trickle", COMPLETE, [Booked::Exactly; 2]),
    ("gzip", BROKEN, [Booked::Hold; 2]),
    ("rst-before-head", Caller::Resets(0), [Booked::Exactly, Booked::Between]),
    ("rst-after-first", Caller::Resets(1), [Booked::Exactly, Booked::Between]),
    ("rst-before-done", Caller::Resets(4), [Booked::Exactly, Booked::Between]),
];

/// How many streams of each ending; `LAVA_ENDINGS` makes it more.
fn streams() -> usize {
    std::env::var("LAVA_ENDINGS").ok().and_then(|text| text.parse().ok()).unwrap_or(10)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_ending_of_a_stream_is_booked_once_and_leaves_nothing_behind() {
    let upstream = BillingUpstream::start().await;
    let harness = Harness::start_at(&upstream.url, UPSTREAM_KEY).await;
    let (key, _) = harness.key(json!({})).await;
    let gateway = Served::start(harness.gateway.clone()).await;
    let ports = [gateway.address.port(), upstream.port];
    let (tasks_before, memory_before) = (alive_tasks(), memory_peak_kib());

    let all = (0..streams()).flat_map(|number| ENDINGS.map(|ending| (number, ending)));
    // Answers that are lost open the breaker, so those come one by one, each when it lets one through.
    let is_lost = |ending: &str| matches!(ending, "cut-before-head" | "gzip");
    let start: jiff::Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
    for (at, (number, (ending, caller, _))) in (1..).zip(all.clone().filter(|(_, (ending, ..))| is_lost(ending))) {
        let later = start + jiff::SignedDuration::from_mins(6 * at);
        harness.clock.set(&later.to_string());
        call(gateway.address, &key, &upstream.bills, &tag(ending, number), provider(number), caller).await;
    }
    let callers = all.clone().filter(|(_, (ending, ..))| !is_lost(ending)).map(|(number, (ending, caller, _))| {
        let (key, bills, address) = (key.clone(), upstream.bills.clone(), gateway.address);
        async move { call(address, &key, &bills, &tag(ending, number), provider(number), caller).await }
    });
    let next = start + jiff::SignedDuration::from_hours(24 * 300);
    for provider in ["fake", "azure"] {
        // One that is answered closes it.
        harness.clock.set(&next.to_string());
        call(gateway.address, &key, &upstream.bills, "trickle-1000000", provider, COMPLETE).await;
    }
    stream::iter(callers).buffer_unordered(AT_A_TIME).collect::<()>().await;

    let quiet = Instant::now() + QUIET_DEADLINE;
    while harness.open_holds() > 0 {
        assert!(Instant::now() < quiet, "{} holds are still open", harness.open_holds());
        sleep(Duration::from_millis(100)).await;
    }
    let entries = entries(&harness);
    for (number, (ending, _, booked)) in all {
        let tag = tag(ending, number);
        check(entries.get(&tag).map_or(&[], |entries| entries), &upstream.bills, &tag, booked[number % 2]);
    }
    while alive_tasks() > tasks_before || open_sockets(ports) > 0 {
        let left = (alive_tasks().saturating_sub(tasks_before), open_sockets(ports));
        assert!(Instant::now() < quiet, "{} tasks and {} sockets are left", left.0, left.1);
        sleep(Duration::from_millis(100)).await;
    }
    assert!(memory_peak_kib() - memory_before < MEMORY_KIB_MAX, "{} KiB more were used", memory_peak_kib() - memory_before);
    gateway.stop().await;
}

fn tag(ending: &str, number: usize) -> String {
    format!("{ending}-{number}")
}

/// One that bills on when a stream is closed, or one that stops.
const fn provider(number: usize) -> &'static str {
    if number.is_multiple_of(2) { "fake" } else { "azure" }
}

/// Kind, amount, basis and hold of an entry.
type Entry = (String, i64, String, i64);

/// All entries by the name of their model.
fn entries(harness: &Harness) -> HashMap<String, Vec<Entry>> {
    let mut entries: HashMap<String, Vec<Entry>> = HashMap::new();
    for (model, entry) in harness.sql("SELECT model, kind, amount_n, basis, held_n FROM entry", |row| {
        Ok((row.get::<_, String>(0)?, (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))
    }) {
        entries.entry(model).or_default().push(entry);
    }
    entries
}

fn check(entries: &[Entry], bills: &Bills, tag: &str, booked: Booked) {
    assert_eq!(entries.len(), 1, "{tag}: one hold, one entry: {entries:?}");
    let (kind, amount_n, basis, held_n) = &entries[0];
    let billed_n = bills.of(tag).unwrap_or_else(|| panic!("{tag} did not reach the provider"));
    assert_eq!(kind, "charge", "{tag}");
    assert!(*amount_n >= billed_n, "{tag}: {billed_n} were billed, and {amount_n} booked ({basis})");
    match booked {
        Booked::Exactly => assert_eq!((*amount_n, basis.as_str()), (billed_n, "measured"), "{tag}"),
        Booked::Between => assert!(amount_n <= held_n && basis == "estimated", "{tag}: {entries:?}"),
        Booked::Hold => assert_eq!((amount_n, basis.as_str()), (held_n, "hold"), "{tag}"),
    }
}

/// Sends one request over a socket of its own and ends as `caller` says.
async fn call(address: SocketAddr, key: &str, bills: &Bills, tag: &str, provider: &str, caller: Caller) {
    let asked = json!({
        "model": format!("{provider}/{tag}"), "messages": [{"role": "user", "content": "Hi"}], "max_tokens": OUTPUT_CAP,
        "stream": true, "stream_options": {"include_usage": true},
    })
    .to_string();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        asked.len()
    );
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(format!("{head}{asked}").as_bytes()).await.unwrap();
    let events_wanted = match caller {
        Caller::Reads(_) => usize::MAX,
        Caller::Leaves(events) | Caller::Resets(events) => events,
    };
    let deadline = Instant::now() + ANSWER_DEADLINE;
    let mut answer = Vec::new();
    while events(&answer) < events_wanted {
        let read = timeout(deadline - Instant::now(), socket.read_buf(&mut answer)).await;
        if read.unwrap_or_else(|_| panic!("{tag}: no end in time: {}", String::from_utf8_lossy(&answer))).unwrap() == 0 {
            break;
        }
        // A caller sees no more of a bomb than its fuse.
        assert!(answer.len() < 64 << 10, "{tag}: {} bytes", answer.len());
    }
    match caller {
        Caller::Reads(wanted) => {
            let text = String::from_utf8_lossy(&answer);
            assert!(text.contains(wanted), "{tag}: {text}");
        }
        Caller::Leaves(_) => {}
        Caller::Resets(_) => {
            while bills.of(tag).is_none() {
                assert!(Instant::now() < deadline, "{tag} did not reach the provider");
                sleep(Duration::from_millis(5)).await;
            }
            socket.set_zero_linger().unwrap();
            drop(socket);
            bills.hang_up(tag);
        }
    }
}

fn events(answer: &[u8]) -> usize {
    answer.windows(6).filter(|window| window == b"data: ").count()
}

fn alive_tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

/// Open sockets of this process that have one of these ports at either end. Other tests of the same process have others.
fn open_sockets(ports: [u16; 2]) -> usize {
    const LISTENS: &str = "0A";
    let Ok(table) = std::fs::read_to_string("/proc/self/net/tcp") else { return 0 };
    let mine: Vec<String> = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .flatten()
        .filter_map(|file| Some(std::fs::read_link(file.path()).ok()?.to_str()?.strip_prefix("socket:[")?.trim_end_matches(']').to_owned()))
        .collect();
    let port = |address: &str| address.rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| {
        let is_ours = [row[1], row[2]].into_iter().filter_map(port).any(|port| ports.contains(&port));
        is_ours && row[3] != LISTENS && mine.iter().any(|inode| inode == row[9])
    })
    .count()
}

/// The most memory this process ever used; zero where the system does not say.
fn memory_peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    peak.unwrap_or(0)
}
