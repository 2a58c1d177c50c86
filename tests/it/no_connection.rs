//! Why nothing came: a name that is not known, a port that nobody listens on, a certificate that is not trusted. Said once, with what can be done, and without what the address held.

use std::{path::Path, process::Output, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use crate::cli::program;

/// A server for 127.0.0.1 that speaks TLS, with a certificate of an authority that nobody knows. It answers everything with the same refusal.
async fn tls_server() -> (u16, String) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authority_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(params, authority_key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(socket).await else { return };
                let _ = stream.read(&mut [0; 4_096]).await;
                let body = "{\"error\":{\"message\":\"tea is ready\"}}";
                let answer = format!("HTTP/1.1 418 I'm a teapot\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    (port, authority.pem())
}

/// A server that takes a connection and closes it.
async fn rude_server(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.read(&mut [0; 4_096]).await;
            let _ = socket.write_all(answer).await;
        }
    });
    port
}

pub(crate) fn closed_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn run(home: &Path, environment: Vec<(&'static str, String)>, arguments: &[&str]) -> Output {
    let mut command = program(home);
    command.envs(environment).args(arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

const CLOSED: &str = "connection refused, nothing listens there";
const UNKNOWN: &str = "the TLS certificate is not trusted: it is signed by an authority that this system does not know";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_cannot_be_reached_is_said_once_and_why() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let (tls, pem) = tls_server().await;
    for (url, cause) in [
        (format!("http://127.0.0.1:{}", closed_port()), CLOSED),
        (format!("https://127.0.0.1:{tls}"), UNKNOWN),
        (
            format!("https://127.0.0.1:{}", rude_server(b"HTTP/1.1 400 Bad Request\r\n\r\n").await),
            "is the address http:// instead of https://?",
        ),
        (format!("http://127.0.0.1:{}", rude_server(b"").await), "closed"),
        ("https://gateway.invalid".to_owned(), "the name could not be resolved (DNS: "),
    ] {
        let environment = vec![("LAVA_API_URL", url.clone()), ("LAVA_SECRET_KEY", format!("aks_live_{}", "x".repeat(32)))];
        for arguments in [&["keys", "list"][..], &["--json", "keys", "list"]] {
            let output = run(home, environment.clone(), arguments).await;
            assert_eq!(output.status.code(), Some(1));
            let said = match arguments[0] {
                "--json" => serde_json::from_slice::<Value>(&output.stdout).unwrap()["error"]["message"].as_str().unwrap().to_owned(),
                _ => String::from_utf8(output.stderr).unwrap(),
            };
            assert!(said.contains(cause) && said.contains(&url), "{url}: {said}");
            assert_eq!(said.matches("could not be reached").count(), 1, "{said}");
            assert_eq!(said.matches(cause).count(), 1, "{said}");
            assert!(!said.contains("error sending") && !said.contains("/v1/") && !said.contains("os error"), "{said}");
        }
    }
    // What the sentence advises helps.
    std::fs::write(home.join("ca.pem"), pem).unwrap();
    std::fs::write(home.join("c.toml"), "[network]\nca_file = \"ca.pem\"\n").unwrap();
    let environment = vec![
        ("LAVA_API_URL", format!("https://127.0.0.1:{tls}")),
        ("LAVA_SECRET_KEY", format!("aks_live_{}", "x".repeat(32))),
        ("LAVA_CONFIG", home.join("c.toml").display().to_string()),
    ];
    let said = String::from_utf8(run(home, environment, &["keys", "list"]).await.stderr).unwrap();
    assert!(said.contains("tea is ready"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_cannot_be_reached_is_said_once_and_why() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let (tls, _) = tls_server().await;
    for (url, cause) in [
        (format!("http://127.0.0.1:{}/v1", closed_port()), CLOSED),
        (format!("https://127.0.0.1:{tls}/v1"), UNKNOWN),
        ("http://provider.invalid/v1".to_owned(), "the name could not be resolved (DNS: "),
    ] {
        let config = home.join("c.toml");
        std::fs::write(&config, format!("local_servers = false\n[providers.house]\nbase_url = \"{url}\"\nprice = \"free\"\n")).unwrap();
        let environment = vec![("LAVA_CONFIG", config.display().to_string()), ("LAVA_DATA_DIR", home.join("d").display().to_string())];
        assert!(run(home, environment.clone(), &["login"]).await.status.success());
        let said = String::from_utf8(run(home, environment, &["prompt", "house/m", "hi"]).await.stderr).unwrap();
        assert!(said.contains("house could not be reached") && said.contains(cause), "{url}: {said}");
        assert_eq!(said.matches("could not be reached").count(), 1, "{said}");
        assert!(!said.contains("error sending") && !said.contains(&url), "{said}");
    }
}
