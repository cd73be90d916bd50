//! Tests of `http_server` over real sockets: what each request is answered, and what of it is taken.
#![allow(clippy::unwrap_used)]

use std::io::Write;

use afluente_pipeline::accounting::Ledger;
use afluente_pipeline::buffers::BufferReceiver;
use afluente_pipeline::event::{EventArray, EventStatus};
use afluente_pipeline::shutdown::ShutdownTrigger;
use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;
use crate::testing::{context, messages};

/// A server that runs, its pipeline, and a client.
struct Rig {
    address: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    arrays: BufferReceiver,
    shutdown: ShutdownTrigger,
    ledger: Ledger,
    source: JoinHandle<Result<(), ()>>,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

async fn start(options: &str, acknowledgements: bool) -> Rig {
    let text = format!(r#"{{"address":"127.0.0.1:0"{options}}}"#);
    let config: HttpServerConfig = serde_json::from_str(&text).unwrap();
    let (mut context, arrays) = context();
    context.inner.acknowledgements = acknowledgements;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let source = tokio::spawn(config.build_on(NAME, listener, context.inner).unwrap());
    let client = Client::builder(TokioExecutor::new()).build_http();
    Rig { address, client, arrays, shutdown: context.shutdown, ledger: context.ledger, source }
}

const JSON: &str = r#","decoding":{"codec":"json"}"#;

impl Rig {
    fn request(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Request<Full<Bytes>> {
        let mut request = Request::post(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Full::new(body.into())).unwrap()
    }

    /// Sends a request, to be waited for.
    fn send(&self, request: Request<Full<Bytes>>) -> JoinHandle<Answer> {
        let response = self.client.request(request);
        tokio::spawn(async move {
            let (parts, body) = response.await.unwrap().into_parts();
            let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
            Answer { status: parts.status.as_u16(), headers: parts.headers, body }
        })
    }

    fn post(&self, body: impl Into<Bytes>) -> JoinHandle<Answer> {
        self.send(self.request("/", &[], body))
    }

    /// The texts of the next array; settled.
    async fn take(&mut self, fate: EventStatus) -> Vec<String> {
        settle(self.arrays.next().await.unwrap(), fate)
    }

    /// What a server without acknowledgements makes of a body: the answer, and the texts if it was taken.
    async fn texts(&mut self, headers: &[(&str, &str)], body: impl Into<Bytes>) -> (u16, Vec<String>) {
        let answer = self.send(self.request("/", headers, body)).await.unwrap();
        match answer.status {
            200 => (200, self.take(EventStatus::Delivered).await),
            status => (status, vec![answer.body]),
        }
    }
}

fn settle(array: EventArray, fate: EventStatus) -> Vec<String> {
    for log in array.as_logs() {
        log.metadata().finalizers().update_status(fate);
    }
    messages([&array])
}

#[tokio::test]
async fn the_answer_comes_when_the_events_are_settled_and_says_what_became_of_them() {
    let mut rig = start(JSON, true).await;
    for (fate, status, message) in [
        (EventStatus::Delivered, 200, ""),
        (EventStatus::Errored, 500, r#"{"code":500,"message":"Error delivering contents to sink"}"#),
        (EventStatus::Rejected, 400, r#"{"code":400,"message":"Contents failed to deliver to sink"}"#),
    ] {
        let answer = rig.post(r#"{"a":1}"#);
        let array = rig.arrays.next().await.unwrap();
        assert!(!answer.is_finished(), "nothing is settled yet");
        assert_eq!(settle(array, fate), [r#"{"a":1}"#]);
        let answer = answer.await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (status, message));
    }
}

#[tokio::test]
async fn without_acknowledgements_the_answer_comes_at_once() {
    let rig = start(r#","response_code":204"#, false).await;
    assert_eq!(rig.post("one").await.unwrap().status, 204);
}

#[tokio::test]
async fn json_comes_as_an_object_an_array_or_a_document_a_line() {
    let mut rig = start(JSON, false).await;
    for (body, expected) in [
        (r#"{"a":1.0}"#, &[r#"{"a":1.0}"#][..]),
        ("{\n  \"a\": 1\n}\n", &["{\n  \"a\": 1\n}"]),
        (r#"[{"a":1}, {"b":2}]"#, &[r#"{"a":1}"#, r#"{"b":2}"#]),
        ("{\"a\":1}\r\n\n{\"b\":2}\n[{\"c\":3}]", &[r#"{"a":1}"#, r#"{"b":2}"#, r#"{"c":3}"#]),
    ] {
        let (status, texts) = rig.texts(&[], body).await;
        assert_eq!((status, texts), (200, expected.iter().map(ToString::to_string).collect()));
    }
}

#[tokio::test]
async fn plain_records_come_a_line_or_as_elements_of_what_is_called_json() {
    let mut rig = start("", false).await;
    let json = [("content-type", "application/json; charset=utf-8")];
    for (headers, body, expected) in [
        (&[][..], "one\r\n\ntwo", &["one", "two"][..]),
        (&json, r#" [{"a": 1}, "x"]"#, &[r#"{"a": 1}"#, r#""x""#]),
        (&json, "{\n\"a\": 1\n}\n", &["{\n\"a\": 1\n}"]),
        (&json, "{\"a\":1}\n{\"b\":2}\n", &[r#"{"a":1}"#, r#"{"b":2}"#]),
    ] {
        let (status, texts) = rig.texts(headers, body).await;
        assert_eq!((status, texts), (200, expected.iter().map(ToString::to_string).collect()));
    }
    assert_eq!(rig.texts(&json, "[1,").await.0, 400);
}

#[tokio::test]
async fn framing_that_was_asked_for_is_kept() {
    let framing = r#","framing":{"method":"character_delimited","character_delimited":{"delimiter":"|","max_length":3}}"#;
    let mut rig = start(framing, false).await;
    assert_eq!(rig.texts(&[], "one|two|").await.1, ["one", "two"]);
    let (status, message) = rig.texts(&[], "one|three").await;
    assert_eq!(status, 400);
    assert!(message[0].contains("record 2 (line 1) is 5 bytes long and the limit is 3"), "{message:?}");
    let mut rig = start(r#","framing":{"method":"bytes"}"#, false).await;
    assert_eq!(rig.texts(&[], "one\ntwo").await.1, ["one\ntwo"]);
}

#[tokio::test]
async fn one_bad_record_refuses_the_request_by_name_and_nothing_of_it_is_taken() {
    let mut rig = start(JSON, true).await;
    for (body, place) in [
        (
            "{\"a\":1}\n{\"b\":2}\n{\"secret\" 1}\n",
            "record 3 (line 3) cannot be decoded: byte 26 of the body: expected `:`",
        ),
        (
            r#"[{"a":1},"secret"]"#,
            "record 2 (line 1) cannot be decoded: byte 9 of the body: expected an object",
        ),
        ("{\"a\":1}\n{\"secret\":\n{\"b\":2}", "record 2 (line 2) cannot be decoded"),
    ] {
        let answer = rig.post(body).await.unwrap();
        assert_eq!(answer.status, 400);
        assert!(answer.body.contains(place) && !answer.body.contains("secret"), "{}", answer.body);
    }
    assert_eq!(rig.ledger.balance().received, 0);
    let answer = rig.post(r#"{"good":1}"#);
    assert_eq!(rig.take(EventStatus::Delivered).await, [r#"{"good":1}"#], "the first that arrives");
    assert_eq!(answer.await.unwrap().status, 200);
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn compressed_bodies_are_undone_and_unknown_codings_refused() {
    let mut rig = start("", false).await;
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    zlib.write_all(b"text").unwrap();
    let zstd = zstd::encode_all(&b"text"[..], 3).unwrap();
    for (coding, body) in [
        ("gzip", gzip(b"text")),
        ("deflate", zlib.finish().unwrap()),
        ("zstd", zstd.clone()),
        ("snappy", snap::raw::Encoder::new().compress_vec(b"text").unwrap()),
        ("zstd, gzip", gzip(&zstd)),
        ("identity", b"text".to_vec()),
    ] {
        assert_eq!(rig.texts(&[("content-encoding", coding)], body).await, (200, vec!["text".to_owned()]));
    }
    let long = "x".repeat(200_000);
    let body = zstd::encode_all(long.as_bytes(), 3).unwrap();
    assert_eq!(rig.texts(&[("content-encoding", "zstd")], body).await.1, [long]);
    assert_eq!(rig.texts(&[("content-encoding", "br")], "x").await.0, 415);
    for coding in ["gzip", "deflate", "zstd", "snappy"] {
        assert_eq!(rig.texts(&[("content-encoding", coding)], "\u{1}no").await.0, 400, "{coding}");
    }
}

#[tokio::test]
async fn long_bodies_are_refused_before_and_after_decompression() {
    let mut rig = start(r#","max_body_bytes":1000"#, false).await;
    assert_eq!(rig.texts(&[], vec![b'x'; 1001]).await.0, 413);
    assert_eq!(rig.texts(&[("content-encoding", "gzip")], gzip(&[b'x'; 1_000_000])).await.0, 413);
    let zstd = zstd::encode_all(&[b'x'; 1001][..], 3).unwrap();
    assert_eq!(rig.texts(&[("content-encoding", "zstd")], zstd).await.0, 413);
    // Without an announced length.
    let mut stream = TcpStream::connect(rig.address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n7d0\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&[b'x'; 2000]).await.unwrap();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 413");
    assert_eq!(rig.texts(&[], vec![b'x'; 1000]).await.0, 200);
}

#[tokio::test]
async fn paths_methods_and_empty_bodies_are_answered_as_vector_does() {
    let rig = start(r#","path":"/in""#, true).await;
    let other = rig.send(rig.request("/in/deep", &[], "x")).await.unwrap();
    assert_eq!((other.status, other.body.as_str()), (404, r#"{"code":404,"message":"Not Found"}"#));
    let mut get = rig.request("/in", &[], "");
    *get.method_mut() = Method::GET;
    let answer = rig.send(get).await.unwrap();
    assert_eq!((answer.status, answer.headers[header::ALLOW].to_str().unwrap()), (405, "POST"));
    let mut ping = rig.request("/ping", &[], "");
    *ping.method_mut() = Method::GET;
    let answer = rig.send(ping).await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "pong"));
    assert_eq!(rig.send(rig.request("/in", &[], "")).await.unwrap().status, 200);

    let mut rig = start(r#","path":"/in","strict_path":false"#, false).await;
    assert_eq!(rig.send(rig.request("/in/deep", &[], "x")).await.unwrap().status, 200);
    rig.take(EventStatus::Delivered).await;
}

#[tokio::test]
async fn plain_records_have_the_fields_that_were_asked_for() {
    let options = r#","host_key":"ip","headers":["X-*"],"query_parameters":["tenant"]"#;
    let mut rig = start(options, false).await;
    rig.send(rig.request("/?tenant=a%20b&other=1", &[("x-name", "value")], "text")).await.unwrap();
    let array = rig.arrays.next().await.unwrap();
    let log = &array.as_logs()[0];
    let keys: Vec<_> = log.keys().map(|key| key.to_string()).collect();
    assert_eq!(keys, ["ip", "message", "path", "source_type", "tenant", "timestamp", "x-name"]);
    let text = |path| log.parse_path_and_get_value(path).unwrap().unwrap().to_string_lossy().into_owned();
    assert_eq!([text(".tenant"), text(".path"), text(".ip")], ["a b", "/", "127.0.0.1"]);
}

#[tokio::test]
async fn only_those_with_the_right_words_may_post() {
    let mut rig = start(r#","auth":{"strategy":"bearer","token":"t0ken"}"#, false).await;
    let answer = rig.post("x").await.unwrap();
    assert_eq!(answer.status, 401);
    assert!(answer.headers[header::WWW_AUTHENTICATE].to_str().unwrap().starts_with("Bearer"));
    assert_eq!(rig.texts(&[("authorization", "Bearer wrong")], "x").await.0, 401);
    assert_eq!(rig.texts(&[("authorization", "Bearer t0ken")], "x").await.0, 200);
}

#[tokio::test]
async fn a_full_server_says_when_to_come_again() {
    for limit in [r#","max_in_flight_requests":1"#, r#","max_body_bytes":100,"max_in_flight_bytes":200"#] {
        let mut rig = start(limit, true).await;
        let body = "x".repeat(100);
        let first = rig.post(body.clone());
        let array = rig.arrays.next().await.unwrap();
        if limit.contains("bytes") {
            let second = rig.post(body.clone());
            assert_eq!(rig.take(EventStatus::Delivered).await.len(), 1);
            assert_eq!(second.await.unwrap().status, 200);
            // Two that wait fill it.
            let second = rig.post(body.clone());
            let held = rig.arrays.next().await.unwrap();
            let third = rig.post(body.clone()).await.unwrap();
            assert_eq!((third.status, third.headers[header::RETRY_AFTER].as_bytes()), (503, &b"1"[..]));
            settle(held, EventStatus::Delivered);
            second.await.unwrap();
        } else {
            let second = rig.post(body.clone()).await.unwrap();
            assert_eq!((second.status, second.headers[header::RETRY_AFTER].as_bytes()), (503, &b"1"[..]));
        }
        settle(array, EventStatus::Delivered);
        assert_eq!(first.await.unwrap().status, 200);
        let again = rig.post(body);
        rig.take(EventStatus::Delivered).await;
        assert_eq!(again.await.unwrap().status, 200, "room again");
    }
}

#[tokio::test]
async fn what_was_taken_goes_on_though_the_client_is_gone() {
    let mut rig = start("", true).await;
    // Fills the queue, so that the next request is held between being taken and being handed over.
    let first = rig.post("x\n".repeat(1000));
    let mut stream = TcpStream::connect(rig.address).await.unwrap();
    let request = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nlast";
    while rig.ledger.balance().received < 1000 {
        tokio::task::yield_now().await;
    }
    stream.write_all(request.as_bytes()).await.unwrap();
    while rig.ledger.balance().received < 1001 {
        tokio::task::yield_now().await;
    }
    drop(stream);
    assert_eq!(rig.take(EventStatus::Delivered).await.len(), 1000);
    assert_eq!(rig.take(EventStatus::Delivered).await, ["last"]);
    assert_eq!(first.await.unwrap().status, 200);
}

#[tokio::test]
async fn shutdown_answers_what_is_owed_and_refuses_the_rest() {
    let mut rig = start("", true).await;
    let owed = rig.post("one");
    let array = rig.arrays.next().await.unwrap();
    rig.shutdown.trigger();
    let late = loop {
        let answer = rig.post("late").await.unwrap();
        if answer.status == 503 {
            break answer;
        }
    };
    assert_eq!(late.headers[header::RETRY_AFTER].as_bytes(), b"1");
    assert!(!rig.source.is_finished() && !owed.is_finished());
    settle(array, EventStatus::Delivered);
    assert_eq!(owed.await.unwrap().status, 200);
    assert_eq!(rig.source.await.unwrap(), Ok(()));
    assert!(rig.arrays.next().await.is_none(), "no way into the pipeline is left");
}

fn tls_options(more: &str) -> String {
    let pem = |text: &str| serde_json::to_string(text).unwrap();
    let certificate = pem(include_str!("testdata/server.pem"));
    let key = pem(include_str!("testdata/server.key"));
    format!(r#","tls":{{"enabled":true,"crt_file":{certificate},"key_file":{key}{more}}}"#)
}

/// Posts over TLS; the answer's first line.
async fn post_encrypted(address: SocketAddr, own_certificate: bool) -> std::io::Result<String> {
    use rustls_pki_types::pem::PemObject;
    use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    let mut roots = rustls::RootCertStore::empty();
    let authority = include_bytes!("testdata/ca.pem");
    roots.add(CertificateDer::from_pem_slice(authority).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = if own_certificate {
        let chain = vec![CertificateDer::from_pem_slice(include_bytes!("testdata/server.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("testdata/server.key")).unwrap();
        builder.with_client_auth_cert(chain, key).unwrap()
    } else {
        builder.with_no_client_auth()
    };
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(address).await?;
    let mut stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await?;
    let request = "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 4\r\n\r\ntext";
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.lines().next().unwrap_or("").to_owned())
}

#[tokio::test]
async fn connections_are_encrypted_and_clients_known_if_asked() {
    let mut rig = start(&tls_options(""), false).await;
    assert_eq!(post_encrypted(rig.address, false).await.unwrap(), "HTTP/1.1 200 OK");
    assert_eq!(rig.take(EventStatus::Delivered).await, ["text"]);

    let authority = serde_json::to_string(include_str!("testdata/ca.pem")).unwrap();
    let known = tls_options(&format!(r#","verify_certificate":true,"ca_file":{authority}"#));
    let rig = start(&known, false).await;
    assert!(post_encrypted(rig.address, false).await.is_err(), "a client without a certificate");
    assert_eq!(post_encrypted(rig.address, true).await.unwrap(), "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn what_cannot_be_is_told_before_anything_is_served() {
    let config = |options: &str| {
        let text = format!(r#"{{"type":"http","address":"127.0.0.1:0"{options}}}"#);
        serde_json::from_str::<Box<dyn SourceConfig>>(&text).unwrap()
    };
    let errors = |options| config(options).validate_structure().unwrap_err().join("; ");
    assert!(errors(r#","path":"in""#).contains("`path` must begin with `/`"));
    assert!(errors(r#","response_code":500"#).contains("`response_code`"));
    assert!(errors(r#","max_in_flight_bytes":1000"#).contains("at least twice `max_body_bytes`"));
    assert!(errors(r#","tls":{"enabled":true}"#).contains("`tls.enabled` needs `tls.crt_file`"));
    assert!(errors(&tls_options(r#","key_pass":"secret""#)).contains("`tls.key_pass` is not supported"));
    let files = r#","tls":{"enabled":true,"crt_file":"/nowhere.pem","key_file":"/nowhere.key"}"#;
    let error = config(files).build(context().0.inner).await.err().unwrap().to_string();
    assert!(error.contains(r#"`tls.crt_file` "/nowhere.pem" cannot be read"#), "{error}");

    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let text = format!(r#"{{"address":"{}"}}"#, taken.local_addr().unwrap());
    let config: HttpServerConfig = serde_json::from_str(&text).unwrap();
    let error = config.build(context().0.inner).await.err().unwrap().to_string();
    assert!(error.starts_with("cannot listen on 127.0.0.1:"), "{error}");
}
