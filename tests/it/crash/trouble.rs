//! A full disk and syncs that fail or hang, under the real gateway while clients keep asking. Whoever asks while the disk is in trouble is told so
//! within a second, nothing is bought for them, and when the trouble is over it goes on, with or without a restart. The limit holds all along.

use std::{
    collections::HashMap,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{
    disk::{Disk, Trouble},
    folder, life, times,
};
use crate::{
    cli::program,
    fake_upstream::{FakeUpstream, USED},
    server::{Gateway, http, json_of},
};

/// Rounds of trouble; `LAVA_DISK_ROUNDS` makes it more.
const ROUNDS: u64 = 3;
const CLIENTS: usize = 16;
const TROUBLE_LASTS: Duration = Duration::from_secs(2);
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(10);

/// What a client asked and was told.
struct Asked {
    marker: String,
    /// Whether the disk was in trouble from the question to the answer.
    in_trouble: bool,
    status: u16,
    code: String,
    request: String,
    took: Duration,
}

/// What the clients share.
#[derive(Default)]
struct Signs {
    in_trouble: AtomicBool,
    is_over: AtomicBool,
}

async fn ask(address: &str, client: &reqwest::Client, key: &str, marker: String, signs: &Signs) -> Asked {
    // A marker can say how long the provider takes.
    let script = if marker.starts_with("slow-") { &marker } else { "ok" };
    let body = json!({"model": format!("fake/{script}"), "messages": [{"role": "user", "content": marker}], "max_tokens": 20}).to_string();
    let was_in_trouble = signs.in_trouble.load(SeqCst);
    let began = Instant::now();
    let asked = client.post(format!("{address}/chat/completions")).bearer_auth(key).timeout(PATIENCE).body(body).send().await;
    let (mut status, mut code, mut request) = (0, String::new(), String::new());
    if let Ok(answer) = asked {
        status = answer.status().as_u16();
        request = answer.headers().get("x-lava-request-id").map(|id| id.to_str().unwrap().to_owned()).unwrap_or_default();
        if let Ok(body) = answer.bytes().await {
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            code = body["error"]["code"].as_str().unwrap_or_default().to_owned();
        }
    }
    let in_trouble = was_in_trouble && signs.in_trouble.load(SeqCst);
    Asked { marker, in_trouble, status, code, request, took: began.elapsed() }
}

/// Asks again and again until the round is over.
async fn client(address: String, key: String, name: String, signs: Arc<Signs>) -> Vec<Asked> {
    let http = http();
    let mut all = Vec::new();
    for nth in 0.. {
        if signs.is_over.load(SeqCst) {
            break;
        }
        all.push(ask(&address, &http, &key, format!("{name}-{nth}"), &signs).await);
        if all.last().is_some_and(|asked| asked.status == 0) {
            // The gateway is being started again.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    all
}

struct Scene {
    home: tempfile::TempDir,
    upstream: FakeUpstream,
    disk: Disk,
}

impl Scene {
    async fn new() -> Self {
        let home = folder();
        let upstream = FakeUpstream::start().await;
        let config = format!(
            "local_servers = false\n[providers.fake]\nbase_url = \"{}\"\nprice = {{ input = \"1\", output = \"2\" }}\n",
            upstream.url
        );
        std::fs::write(home.path().join("lava.toml"), config).unwrap();
        let disk = Disk::new(&ledger_of(home.path()));
        Self { home, upstream, disk }
    }

    /// The program on the disk that can fail.
    fn program(&self) -> Command {
        let mut command = program(self.home.path());
        command.env("LAVA_CONFIG", self.home.path().join("lava.toml"));
        self.disk.under(&mut command);
        command
    }

    fn start(&self) -> Gateway {
        Gateway::start(self.home.path(), self.program())
    }

    /// A program that starts on a failing disk says so and ends.
    fn refuses_to_start(&self) {
        let mut child = self.program().args(["gateway", "--listen", "127.0.0.1:0"]).stderr(std::process::Stdio::null()).spawn().unwrap();
        let status = life::ended(&mut child, PATIENCE);
        let _ = child.kill();
        assert!(status.is_some_and(|status| !status.success()), "it started without a ledger: {status:?}");
    }

    /// Lets this many clients ask until it is over; one in four with the second key.
    fn clients(&self, gateway: &Gateway, keys: [&str; 2], count: usize, name: &str, signs: &Arc<Signs>) -> Vec<JoinHandle<Vec<Asked>>> {
        let client =
            |nth| client(gateway.address.clone(), keys[usize::from(nth % 4 == 3)].to_owned(), format!("{name}-{nth}"), signs.clone());
        (0..count).map(|nth| tokio::spawn(client(nth))).collect()
    }

    fn count(&self, query: &str) -> i64 {
        let ledger = rusqlite::Connection::open(ledger_of(self.home.path())).unwrap();
        ledger.query_row(query, [], |row| row.get(0)).unwrap()
    }
}

fn ledger_of(home: &Path) -> std::path::PathBuf {
    home.join(".local/share/lava-mcp/ledger.db")
}

async fn new_key(gateway: &Gateway, limit: &str) -> String {
    let body = json!({"name": "k", "spend_limit": {"amount": limit, "cycle": "daily"}}).to_string();
    let created = http().post(format!("{}/spend_keys", gateway.address)).bearer_auth(&gateway.secret).timeout(PATIENCE).body(body);
    let created = created.send().await.unwrap();
    assert_eq!(created.status().as_u16(), 201);
    json_of(created).await["key"].as_str().unwrap().to_owned()
}

/// Ends the asking, and waits for the last answers.
async fn answers(clients: Vec<JoinHandle<Vec<Asked>>>, signs: &Signs) -> Vec<Asked> {
    signs.is_over.store(true, SeqCst);
    let mut all = Vec::new();
    for client in clients {
        all.extend(tokio::time::timeout(PATIENCE * 2, client).await.expect("a client gets its last answer").unwrap());
    }
    all
}

/// How a round ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    TroubleGoesAway,
    KilledAndStartedAgain,
    StoppedAndStartedAgain,
}

/// What fails in this round, and how the round ends: every pair in fifteen rounds.
fn plan(round: u64) -> (Trouble, Ending) {
    let full = Trouble::FullAfter(40_000 + round * 1_777);
    let trouble = [Trouble::SyncsHang, Trouble::SyncsFail, full, Trouble::WritesFail, Trouble::GrowthFails];
    let ending = [Ending::TroubleGoesAway, Ending::KilledAndStartedAgain, Ending::StoppedAndStartedAgain];
    (trouble[usize::try_from(round % 5).unwrap()], ending[usize::try_from(round % 3).unwrap()])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_disk_in_trouble_costs_nobody_anything() {
    let rounds = times("LAVA_DISK_ROUNDS", ROUNDS);
    let scene = Scene::new().await;
    let mut gateway = scene.start();
    let (mut refused, mut answered, mut slowest) = (0, HashMap::new(), Duration::ZERO);
    for round in 0..rounds {
        let (trouble, ending) = plan(round);
        let what = format!("round {round}: {trouble:?}, {ending:?}");
        // One key has room for all, the other for a few at a time and some hundred in all.
        let (wide, tight) = (new_key(&gateway, "100.00").await, new_key(&gateway, "0.01").await);
        let signs = Arc::new(Signs::default());
        let clients = scene.clients(&gateway, [&wide, &tight], CLIENTS, &round.to_string(), &signs);
        tokio::time::sleep(Duration::from_millis(300)).await;
        scene.disk.begin(trouble);
        let is_lasting = trouble != Trouble::GrowthFails;
        if matches!(trouble, Trouble::FullAfter(_)) {
            let failed = scene.disk.failed();
            let deadline = Instant::now() + PATIENCE;
            while scene.disk.failed() == failed {
                assert!(Instant::now() < deadline, "{what}: the disk did not fill up");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        // A ledger that need not grow goes on, and may.
        signs.in_trouble.store(is_lasting, SeqCst);
        tokio::time::sleep(TROUBLE_LASTS).await;
        signs.in_trouble.store(false, SeqCst);
        match ending {
            Ending::TroubleGoesAway => {}
            Ending::KilledAndStartedAgain => {
                gateway.child.kill().unwrap();
                life::ended(&mut gateway.child, PATIENCE).expect("a killed process ends");
                if is_lasting && trouble != Trouble::SyncsHang {
                    scene.refuses_to_start();
                }
            }
            Ending::StoppedAndStartedAgain => {
                if trouble == Trouble::SyncsHang {
                    // What hangs in the system cannot end.
                    scene.disk.end();
                }
                assert!(Command::new("kill").arg(gateway.child.id().to_string()).status().unwrap().success());
                life::ended(&mut gateway.child, PATIENCE).unwrap_or_else(|| panic!("{what}: it does not end"));
            }
        }
        scene.disk.end();
        let over = Instant::now();
        if ending != Ending::TroubleGoesAway {
            gateway = scene.start();
        }
        // It goes on by itself.
        loop {
            let again = ask(&gateway.address, &http(), &wide, format!("{round}-again"), &signs).await;
            if again.status == 200 {
                break;
            }
            assert!(over.elapsed() < PATIENCE, "{what}: still {} {} after the trouble", again.status, again.code);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let all = answers(clients, &signs).await;
        let deadline = Instant::now() + PATIENCE;
        while scene.count("SELECT count(*) FROM hold") > 0 {
            assert!(Instant::now() < deadline, "{what}: holds are still open, and nothing is in flight");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let reached: HashMap<String, usize> = scene.upstream.seen().iter().fold(HashMap::new(), |mut reached, seen| {
            *reached.entry(seen.body["messages"][0]["content"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
            reached
        });
        let mut in_trouble = 0;
        for asked in all {
            let told = format!("{what}: {} was told {} {} after {:?}", asked.marker, asked.status, asked.code, asked.took);
            let bought = reached.get(&asked.marker).copied().unwrap_or(0);
            if asked.in_trouble {
                // The tight key may be refused for its limit, which is read.
                let is_refused = (asked.status, asked.code.as_str()) == (503, "ledger_unavailable") || matches!(asked.status, 402 | 429);
                assert!(is_refused, "{told}");
                assert!(asked.took <= ANSWER_WITHIN, "{told}");
                assert_eq!(bought, 0, "{told}, and bought");
                slowest = slowest.max(asked.took);
                in_trouble += usize::from(asked.status == 503);
            }
            match asked.status {
                200 => {
                    assert_eq!(bought, 1, "{told}");
                    answered.insert(asked.request, asked.marker);
                }
                402 | 429 | 503 => assert_eq!(bought, 0, "{told}, and bought"),
                // The gateway was killed or stopped.
                0 => {}
                _ => panic!("{told}"),
            }
        }
        assert!(!is_lasting || in_trouble >= CLIENTS / 2, "{what}: only {in_trouble} were refused");
        refused += in_trouble;
    }
    assert!(Command::new("kill").arg(gateway.child.id().to_string()).status().unwrap().success());
    assert!(life::ended(&mut gateway.child, PATIENCE).is_some_and(|status| status.success()));

    let cost_n = i64::try_from(USED.0 * 1_000 + USED.1 * 2_000).unwrap();
    assert_eq!(scene.count("SELECT count(*) FROM hold"), 0);
    assert_eq!(scene.count("SELECT count(*) FROM budget WHERE held_n <> 0 OR spent_n > limit_n"), 0, "a limit is a limit");
    let wrong = "SELECT count(*) FROM budget b WHERE spent_n <> (SELECT coalesce(sum(amount_n), 0) FROM entry e WHERE e.key_id = b.key_id)";
    assert_eq!(scene.count(wrong), 0, "a budget is the sum of its entries");
    let bought = i64::try_from(scene.upstream.seen().len()).unwrap();
    assert!(scene.count("SELECT count(*) FROM entry WHERE kind <> 'void'") >= bought, "every call has its entry");
    for (request, marker) in &answered {
        let entry = format!("SELECT coalesce(sum(amount_n), 0) FROM entry WHERE request_id = '{request}'");
        assert!(scene.count(&entry) >= cost_n, "{marker} was answered, and is not in the books");
    }
    eprintln!(
        "{rounds} rounds of disk trouble: {refused} refused within {} ms, {} answered, {bought} calls, none in trouble",
        slowest.as_millis(),
        answered.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_long_trouble_is_refused_as_fast_as_a_short_one() {
    let scene = Scene::new().await;
    let gateway = scene.start();
    let key = new_key(&gateway, "100.00").await;
    // A call under way when the trouble begins: its settlement is owed all along.
    let signs = Arc::new(Signs::default());
    let (address, asking, quiet) = (gateway.address.clone(), key.clone(), signs.clone());
    let under_way = tokio::spawn(async move { ask(&address, &http(), &asking, "slow-400".to_owned(), &quiet).await.status });
    tokio::time::sleep(Duration::from_millis(200)).await;
    scene.disk.begin(Trouble::SyncsFail);
    assert_eq!(under_way.await.unwrap(), 200);
    let mut medians = Vec::new();
    for part in ["first", "middle", "last"] {
        let signs = Arc::new(Signs::default());
        let clients = scene.clients(&gateway, [&key, &key], 2 * CLIENTS, part, &signs);
        tokio::time::sleep(if part == "middle" { Duration::from_secs(4) } else { Duration::from_millis(500) }).await;
        let mut took: Vec<Duration> = answers(clients, &signs).await.into_iter().map(|asked| asked.took).collect();
        took.sort_unstable();
        medians.push(took[took.len() / 2]);
    }
    assert_eq!(scene.upstream.seen().len(), 1, "nothing was bought");
    scene.disk.end();
    assert_eq!(ask(&gateway.address, &http(), &key, "after".to_owned(), &signs).await.status, 200);
    assert!(scene.count("SELECT count(*) FROM entry WHERE kind = 'charge'") >= 1, "what was owed comes first");
    eprintln!("half of the refusals took at most, in the first, middle and last part: {medians:?}");
    assert!(medians[2] < medians[0] * 3 + Duration::from_millis(30), "the longer the trouble, the slower: {medians:?}");
}
