//! Tests of the HTTP client against loopback servers: TLS, proxies, pools, time limits.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};

use super::{
    loopback::{Loopback, Reply},
    *,
};

const CA: &str = include_str!("testdata/ca.pem");
const LEAF: &str = include_str!("testdata/leaf.pem");
const KEY: &str = include_str!("testdata/leaf.key");
const ENCRYPTED: &str = include_str!("testdata/leaf.encrypted.key");

fn options(tls: serde_json::Value) -> HttpOptions {
    HttpOptions { tls: serde_json::from_value(tls).unwrap(), ..HttpOptions::default() }
}

fn client(options: &HttpOptions) -> HttpClient {
    HttpClient::new(options).unwrap()
}

async fn post(client: &HttpClient, url: &str, body: &str) -> Result<Response<Bytes>, SendError> {
    let (head, ()) = Request::post(url).body(()).unwrap().into_parts();
    client.send(head, Bytes::copy_from_slice(body.as_bytes()), Duration::from_secs(20)).await
}

fn server_tls(ask_for_certificate: bool) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = if ask_for_certificate {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(CA.as_bytes()).unwrap()).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    builder
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(LEAF.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap(),
        )
        .unwrap()
}

async fn tls_server() -> (Loopback, String) {
    let server = Loopback::start_tls(server_tls(false), |_| Reply::ok("hello")).await;
    let url = format!("https://127.0.0.1:{}/", server.address.port());
    (server, url)
}

#[tokio::test]
async fn connections_are_used_again() {
    let server = Loopback::start(|_| Reply::ok("hello")).await;
    let client = client(&HttpOptions::default());
    for _ in 0..3 {
        let answer = post(&client, &server.url(), "question").await.unwrap();
        assert_eq!(&answer.body()[..], b"hello");
    }
    assert_eq!((server.count(), server.connections()), (3, 1));
    server.look(|asked| {
        assert_eq!(&asked[0].body[..], b"question");
        assert_eq!(asked[0].header("content-length"), "8");
    });
}

#[tokio::test]
async fn a_hangup_after_the_body_may_have_stored_it_and_is_not_repeated() {
    let server = Loopback::start(|_| Reply::Reset).await;
    let error = post(&client(&HttpOptions::default()), &server.url(), "question").await.unwrap_err();
    assert_eq!((error.kind, error.sent, server.count()), (FailureKind::Reset, true, 1));
}

#[tokio::test]
async fn silence_is_a_timeout_that_may_have_stored_the_body() {
    let server = Loopback::start(|_| Reply::Silence).await;
    let client = client(&HttpOptions::default());
    let (head, ()) = Request::post(server.url()).body(()).unwrap().into_parts();
    let error = client.send(head, Bytes::from_static(b"q"), Duration::from_millis(200)).await.unwrap_err();
    assert_eq!((error.kind, error.sent), (FailureKind::Timeout, true));
}

#[tokio::test]
async fn a_refused_connection_and_an_unknown_name_have_stored_nothing() {
    let closed = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let client = client(&HttpOptions::default());
    let error = post(&client, &format!("http://{closed}/"), "q").await.unwrap_err();
    assert_eq!((error.kind, error.sent), (FailureKind::Connect, false), "{}", error.message);
    let error = post(&client, "http://name.invalid/", "q").await.unwrap_err();
    assert_eq!((error.kind, error.sent), (FailureKind::Dns, false), "{}", error.message);
    assert!(error.message.contains("`name.invalid`"), "{}", error.message);
}

#[tokio::test]
async fn what_is_not_http_is_told_apart() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = [0; 16];
        stream.read_exact(&mut asked).await.unwrap();
        stream.write_all(b"\x15\x03\x01\x00\x02\x02\x0a and more").await.unwrap();
        std::future::pending::<()>().await;
    });
    let error = post(&client(&HttpOptions::default()), &format!("http://{address}/"), "q").await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Protocol, "{}", error.message);
}

#[tokio::test]
async fn a_certificate_nobody_vouches_for_is_refused() {
    let (server, url) = tls_server().await;
    let error = post(&client(&HttpOptions::default()), &url, "q").await.unwrap_err();
    assert_eq!((error.kind, error.sent, server.count()), (FailureKind::Tls, false, 0), "{}", error.message);
}

#[tokio::test]
async fn a_trusted_authority_is_enough_only_for_the_right_name() {
    let (_server, url) = tls_server().await;
    let trusted = options(serde_json::json!({"ca_file": CA}));
    let error = post(&client(&trusted), &url, "q").await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Tls, "the certificate is for kinesis.test: {}", error.message);

    for tls in [
        serde_json::json!({"ca_file": CA, "server_name": "kinesis.test"}),
        serde_json::json!({"ca_path": CA, "verify_hostname": false}),
        serde_json::json!({"verify_certificate": false}),
    ] {
        let answer = post(&client(&options(tls.clone())), &url, "q").await;
        assert!(answer.is_ok(), "{tls}: {answer:?}");
    }
    let elsewhere = options(serde_json::json!({"verify_hostname": false}));
    let error = post(&client(&elsewhere), &url, "q").await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Tls, "only the name may be wrong, not the authority");
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_those_who_ask() {
    let server = Loopback::start_tls(server_tls(true), |_| Reply::ok("hello")).await;
    let url = format!("https://127.0.0.1:{}/", server.address.port());
    let without = options(serde_json::json!({"ca_file": CA, "server_name": "kinesis.test"}));
    let error = post(&client(&without), &url, "q").await.unwrap_err();
    assert!(
        matches!(error.kind, FailureKind::Tls | FailureKind::Reset),
        "{:?} {}",
        error.kind,
        error.message
    );
    let with = options(
        serde_json::json!({"ca_file": CA, "server_name": "kinesis.test", "crt_file": LEAF, "key_file": KEY}),
    );
    assert!(post(&client(&with), &url, "q").await.is_ok());
}

#[test]
fn wrong_tls_options_are_named() {
    for (tls, part) in [
        (serde_json::json!({"ca_file": "/no/such/file"}), "tls.ca_file: cannot read /no/such/file"),
        (serde_json::json!({"ca_file": KEY}), "tls.ca_file: holds no `-----BEGIN CERTIFICATE-----`"),
        (serde_json::json!({"crt_file": LEAF}), "crt_file needs key_file"),
        (serde_json::json!({"key_file": KEY}), "key_file needs crt_file"),
        (serde_json::json!({"crt_file": LEAF, "key_file": ENCRYPTED}), "the private key is encrypted"),
        (serde_json::json!({"crt_file": LEAF, "key_file": CA}), "holds no private key"),
        (serde_json::json!({"server_name": "a b"}), "tls.server_name: `a b`"),
    ] {
        let error = HttpClient::new(&options(tls)).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let unknown = serde_json::from_value::<TlsConfig>(serde_json::json!({"verify": false})).unwrap_err();
    assert!(unknown.to_string().contains("unknown field `verify`"));
}

/// A proxy that answers plain requests itself and opens tunnels to `target`.
async fn tunnel(
    target: std::net::SocketAddr,
    status: &'static str,
) -> (std::net::SocketAddr, Arc<std::sync::Mutex<String>>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(std::sync::Mutex::new(String::new()));
    let kept = Arc::clone(&seen);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        *kept.lock().unwrap() = String::from_utf8(head).unwrap();
        stream.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes()).await.unwrap();
        if status.starts_with("200") {
            let mut onward = tokio::net::TcpStream::connect(target).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut onward).await;
        }
    });
    (address, seen)
}

fn through(proxy: std::net::SocketAddr) -> ProxyConfig {
    let address = Some(format!("http://joe:pa%20ss@{proxy}"));
    ProxyConfig { http: address.clone(), https: address, ..ProxyConfig::default() }
}

#[tokio::test]
async fn secure_requests_go_through_a_tunnel_with_the_proxys_password() {
    let (server, url) = tls_server().await;
    let (proxy, seen) = tunnel(server.address, "200 Connection established").await;
    let mut options = options(serde_json::json!({"ca_file": CA, "server_name": "kinesis.test"}));
    options.proxy = through(proxy);
    assert!(post(&client(&options), &url, "q").await.is_ok());
    let seen = seen.lock().unwrap().clone();
    assert!(seen.starts_with(&format!("CONNECT 127.0.0.1:{} HTTP/1.1\r\n", server.address.port())), "{seen}");
    assert!(seen.contains("Proxy-Authorization: Basic am9lOnBhIHNz\r\n"), "{seen}");
    server
        .look(|asked| assert_eq!(asked[0].header("proxy-authorization"), "", "the endpoint must not see it"));
}

#[tokio::test]
async fn plain_requests_go_to_the_proxy_in_absolute_form() {
    let proxy = Loopback::start(|_| Reply::ok("from the proxy")).await;
    let options = HttpOptions { proxy: through(proxy.address), ..HttpOptions::default() };
    let answer = post(&client(&options), "http://kinesis.test:4567/", "q").await.unwrap();
    assert_eq!(&answer.body()[..], b"from the proxy");
    proxy.look(|asked| {
        assert_eq!(asked[0].line, "POST http://kinesis.test:4567/");
        assert_eq!(asked[0].header("proxy-authorization"), "Basic am9lOnBhIHNz");
    });
}

#[tokio::test]
async fn a_refused_tunnel_is_the_proxys_fault_and_stores_nothing() {
    let (server, url) = tls_server().await;
    for (status, words) in
        [("407 Proxy Authentication Required", "authorization required"), ("403 Forbidden", "tunnel")]
    {
        let (proxy, _) = tunnel(server.address, status).await;
        let options = HttpOptions { proxy: through(proxy), ..HttpOptions::default() };
        let error = post(&client(&options), &url, "q").await.unwrap_err();
        assert_eq!((error.kind, error.sent), (FailureKind::Proxy, false), "{}", error.message);
        assert!(error.message.contains(words) && !error.message.contains("pa%20ss"), "{}", error.message);
    }
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let server = Loopback::start(|_| Reply::ok(&"x".repeat(ANSWER_BYTES_MAX + 1))).await;
    let error = post(&client(&HttpOptions::default()), &server.url(), "q").await.unwrap_err();
    assert_eq!((error.kind, error.sent), (FailureKind::Protocol, true), "{}", error.message);
}
