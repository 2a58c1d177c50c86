//! Proxies: those that the environment names never see a key, and the one that the config file names leads to providers.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    cli::program,
    server::{Gateway, http, json_of},
};

/// A proxy that remembers the heads of what it was asked, and makes a tunnel to one place whatever the name.
#[derive(Clone)]
pub(super) struct Proxy {
    pub(super) port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub(super) async fn start(to: Option<u16>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self { port: listener.local_addr().unwrap().port(), heads: Arc::default() };
        let heads = proxy.heads.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(tunnel(socket, to, heads.clone()));
            }
        });
        proxy
    }

    fn seen(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

async fn head_of(reader: &mut (impl AsyncBufReadExt + Unpin)) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).await.is_ok_and(|read| read > 0) {}
    head
}

async fn tunnel(socket: TcpStream, to: Option<u16>, heads: Arc<Mutex<Vec<String>>>) {
    let mut socket = BufReader::new(socket);
    let head = head_of(&mut socket).await;
    let is_tunnel = head.starts_with("CONNECT ");
    heads.lock().unwrap().push(head);
    let Some(to) = to.filter(|_| is_tunnel) else {
        let _ = socket.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").await;
        return;
    };
    let mut provider = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
    socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    let _ = tokio::io::copy_bidirectional(&mut socket, &mut provider).await;
}

/// What a server speaks TLS with under these names, and the certificate of its authority, which only a config file names.
pub(super) fn tls(names: &[&str]) -> (TlsAcceptor, String) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let pem = authority.self_signed(&authority_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &Issuer::new(authority, authority_key)).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
    (TlsAcceptor::from(Arc::new(config)), pem)
}

/// A provider that speaks TLS; gives its port, and the authority's certificate.
async fn provider(names: &[&str]) -> (u16, String) {
    let (acceptor, pem) = tls(names);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(socket) = acceptor.accept(socket).await else { return };
                let mut socket = BufReader::new(socket);
                let head = head_of(&mut socket).await.to_lowercase();
                assert!(head.contains("authorization: bearer sk-canary"), "{head}");
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
                socket.read_exact(&mut vec![0; length]).await.unwrap();
                complete(&mut socket).await;
            });
        }
    });
    (port, pem)
}

async fn complete(socket: &mut (impl AsyncWrite + Unpin)) {
    let body = json!({"id": "c", "object": "chat.completion", "model": "m", "choices": [{"index": 0, "finish_reason": "stop",
        "message": {"role": "assistant", "content": "through"}}], "usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}});
    let body = body.to_string();
    let answer =
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    socket.write_all(answer.as_bytes()).await.unwrap();
    socket.shutdown().await.unwrap();
}

fn gateway(home: &Path, config: &str, proxy: u16) -> Gateway {
    let file = home.join("lava.toml");
    std::fs::write(&file, format!("local_servers = false\n{config}")).unwrap();
    let mut command = program(home);
    command.env("LAVA_CONFIG", file).env("OPENAI_API_KEY", "sk-canary");
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
        command.env(name, format!("http://127.0.0.1:{proxy}"));
    }
    Gateway::start(home, command)
}

async fn ask(gateway: &Gateway, model: &str) -> (u16, Value) {
    let body = json!({"model": model, "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}).to_string();
    let answer = http().post(format!("{}/chat/completions", gateway.address)).bearer_auth(&gateway.secret).body(body).send().await.unwrap();
    (answer.status().as_u16(), json_of(answer).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn providers_are_reached_through_the_proxy_and_with_the_authority_that_the_config_names() {
    let (port, authority) = provider(&["api.openai.com", "llm.example.test"]).await;
    let (named, of_environment) = (Proxy::start(Some(port)).await, Proxy::start(None).await);
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("company.pem"), authority).unwrap();
    let custom =
        "[providers.house]\nbase_url = \"https://llm.example.test/v1\"\nmodels = [\"m\"]\napi_key = \"sk-canary\"\nprice = \"free\"\n";
    let network = format!("[network]\nproxy = \"http://me:word@127.0.0.1:{}\"\n", named.port);
    let with = gateway(home.path(), &format!("{network}ca_file = \"company.pem\"\n{custom}"), of_environment.port);
    for model in ["openai/gpt-4o-mini", "house/m"] {
        let (status, answer) = ask(&with, model).await;
        assert_eq!(status, 200, "{model}: {answer}");
        assert_eq!(answer["choices"][0]["message"]["content"], "through");
    }
    let seen = named.seen();
    assert!(seen[0].starts_with("CONNECT api.openai.com:443 ") && seen[1].starts_with("CONNECT llm.example.test:443 "), "{seen:?}");
    assert!(seen.iter().all(|head| head.contains("Basic bWU6d29yZA==") || head.contains("basic bWU6d29yZA==")), "{seen:?}");
    assert!(!seen.concat().contains("canary"));
    drop(with);
    // An authority that nobody names is not trusted.
    let home = tempfile::tempdir().unwrap();
    let without = gateway(home.path(), &format!("{network}{custom}"), of_environment.port);
    let (status, answer) = ask(&without, "house/m").await;
    assert_eq!((status, &answer["error"]["code"]), (502, &json!("upstream_unreachable")), "{answer}");
    assert_eq!(of_environment.seen(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_without_tls_is_reached_directly() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let mut socket = BufReader::new(socket);
        head_of(&mut socket).await;
        complete(&mut socket).await;
    });
    let (named, of_environment) = (Proxy::start(None).await, Proxy::start(None).await);
    let home = tempfile::tempdir().unwrap();
    let config = format!(
        "[network]\nproxy = \"http://127.0.0.1:{}\"\n[providers.house]\nbase_url = \"http://127.0.0.1:{port}/v1\"\nmodels = [\"m\"]\napi_key = \"sk-canary\"\nprice = \"free\"\n",
        named.port
    );
    let gateway = gateway(home.path(), &config, of_environment.port);
    assert_eq!(ask(&gateway, "house/m").await.0, 200);
    assert_eq!((named.seen().len(), of_environment.seen().len()), (0, 0));
}

/// A secret key and every prompt would be in there.
#[tokio::test(flavor = "multi_thread")]
async fn no_proxy_reads_what_goes_to_a_gateway_in_the_clear() {
    let home = tempfile::tempdir().unwrap();
    let mut command = program(home.path());
    command.arg("--sandbox");
    let gateway = Gateway::start(home.path(), command);
    let proxy = Proxy::start(None).await;
    let address = gateway.address.trim_end_matches("/v1").to_owned();
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy"] {
        for address in [address.clone(), address.replace("127.0.0.1", "localhost")] {
            let client = tempfile::tempdir().unwrap();
            let mut command = program(client.path());
            command
                .env("LAVA_API_URL", &address)
                .env("LAVA_SECRET_KEY", &gateway.secret)
                .env(name, format!("http://127.0.0.1:{}", proxy.port));
            let listed = tokio::task::block_in_place(|| command.args(["keys", "list"]).output().unwrap());
            assert!(listed.status.success(), "{name} {address}: {}", String::from_utf8_lossy(&listed.stderr));
        }
    }
    assert_eq!(proxy.seen(), [""; 0]);
}

#[test]
fn a_setting_that_cannot_be_used_is_named_at_the_start() {
    for (network, says) in [
        ("proxy = \"nowhere:canary\"", "[network] proxy: use an address such as"),
        ("proxy = \"socks5://me:canary@127.0.0.1:1\"", "[network] proxy: use an address such as"),
        ("ca_file = \"missing.pem\"", "missing.pem"),
        ("ca_file = \"lava.toml\"", "[network] ca_file: use a file with certificates in PEM"),
        ("no_proxy = [\"x\"]", "[network] no_proxy"),
        ("proxies = \"x\"", "unknown field `proxies`"),
    ] {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("lava.toml");
        std::fs::write(&file, format!("[network]\n{network}\n")).unwrap();
        let done = program(home.path()).env("LAVA_CONFIG", file).args(["--sandbox", "keys", "list"]).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!done.status.success() && said.contains(says) && !said.contains("canary"), "{network}: {said}");
    }
}
