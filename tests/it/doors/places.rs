//! Connections that hold a place for nothing: those that have asked once, and from then on only answer pings.

#![cfg(target_os = "linux")]

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{cli::program, server::Gateway, strangers::own_address};

/// As many as a listener has places for.
const PLACES: usize = 1_024;

/// Both programs need more than a thousand open files.
fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(8_192, |most| most.min(8_192)).max(limit.current.unwrap_or(0));
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit }).unwrap();
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    [&[0, 0, u8::try_from(payload.len()).unwrap(), kind, flags, 0, 0, 0, stream], payload].concat()
}

/// A client of HTTP/2 that asks once, if it does, and then acknowledges settings and pings for ever.
async fn pinger(address: &str, asks: bool) -> std::io::Result<tokio::task::JoinHandle<()>> {
    let mut socket = TcpStream::connect(address).await?;
    let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    hello.extend(frame(4, 0, 0, &[]));
    if asks {
        // GET http://localhost/healthz, by the table of RFC 7541.
        let fields = [&[0x82, 0x86, 0x04, 8][..], b"/healthz", &[0x01, 9], b"localhost"].concat();
        hello.extend(frame(1, 5, 1, &fields));
    }
    socket.write_all(&hello).await?;
    Ok(tokio::spawn(async move {
        let mut head = [0; 9];
        while socket.read_exact(&mut head).await.is_ok() {
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let mut payload = vec![0; length];
            if socket.read_exact(&mut payload).await.is_err() {
                return;
            }
            if matches!(head[3], 4 | 6) && head[4] & 1 == 0 {
                let payload = if head[3] == 6 { payload } else { Vec::new() };
                if socket.write_all(&frame(head[3], 1, 0, &payload)).await.is_err() {
                    return;
                }
            }
        }
    }))
}

/// A client of HTTP/1.1 that asks once and keeps its connection.
async fn keeper(address: &str) -> TcpStream {
    // Where somebody else fills the places, a client may have to connect once more, as clients do.
    for _ in 0..5 {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let _ = socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        let mut answer = [0; 12];
        if socket.read_exact(&mut answer).await.is_ok() {
            assert_eq!(&answer, b"HTTP/1.1 200");
            return socket;
        }
    }
    panic!("no place after five tries");
}

/// How long a client that comes new waits for its answer.
async fn honest(address: &str) -> Option<Duration> {
    let began = Instant::now();
    tokio::time::timeout(Duration::from_secs(20), keeper(address)).await.ok().map(|_| began.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_answers_pings_makes_room_for_others() {
    allow_many_files();
    let home = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(home.path(), program(home.path()));
    let address = gateway.address.trim_start_matches("http://").trim_end_matches("/v1").to_owned();
    let mut pingers = Vec::new();
    for _ in 0..PLACES - 24 {
        pingers.push(pinger(&address, true).await.unwrap());
    }
    let mut keepers = Vec::new();
    for _ in 0..24 {
        keepers.push(keeper(&address).await);
    }
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    for _ in 0..300 {
        let waited = honest(&address).await.expect("an honest client is let in");
        assert!(waited < Duration::from_secs(5), "{waited:?}");
    }
    let left = pingers.iter().filter(|pinger| !pinger.is_finished()).count();
    assert!((PLACES - 24 - 310..PLACES - 24).contains(&left), "one goes for one that comes: {left}");
    pingers.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_peer_has_a_quarter_of_the_places_unless_it_is_a_named_proxy() {
    let Some(own) = own_address() else { return };
    allow_many_files();
    for named in [false, true] {
        let home = tempfile::tempdir().unwrap();
        let ip = own.ip().to_string();
        let mut arguments = vec!["--listen", "0.0.0.0:0", "--allow-remote"];
        if named {
            arguments.extend(["--trusted-proxy", ip.as_str()]);
        }
        let gateway = Gateway::listen(home.path(), program(home.path()), &arguments);
        let port = gateway.address.trim_end_matches("/v1").rsplit(':').next().unwrap().to_owned();
        let (from_afar, from_here) = (format!("{ip}:{port}"), format!("127.0.0.1:{port}"));
        let mut pingers = Vec::new();
        for _ in 0..400 {
            // Those beyond the bound may be closed before they have said hello.
            pingers.extend(pinger(&from_afar, true).await);
        }
        let expected = if named { 400 } else { PLACES / 4 };
        let deadline = Instant::now() + Duration::from_secs(20);
        // Those that made room take a moment to notice it; and one that asks in the moment in which it is chosen stays.
        let left = || pingers.iter().filter(|pinger| !pinger.is_finished()).count();
        while !(expected..expected + 4).contains(&left()) {
            assert!(Instant::now() < deadline, "named: {named}: {} of {} are left", left(), pingers.len());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(honest(&from_here).await.is_some());
        // A client is idle after a second.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        // Its own idle connections make room for its next one.
        assert!(honest(&from_afar).await.is_some());
        pingers.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
