//! Credentials from instance metadata, and how long and how often it is asked.

use std::net::TcpStream;

use tokio::net::TcpSocket;

use super::*;
use crate::kinesis::http::CONNECT_TIMEOUT;

#[tokio::test]
async fn instance_metadata_gives_credentials_and_region_where_nothing_else_does() {
    let imds = Loopback::start(|asked| match asked.line.as_str() {
        "PUT /latest/api/token" => Reply::Answer(
            200,
            vec![("x-aws-ec2-metadata-token-ttl-seconds", "600".to_owned())],
            "token".to_owned(),
        ),
        _ if asked.header("x-aws-ec2-metadata-token") != "token" => {
            Reply::Answer(401, Vec::new(), String::new())
        }
        line if line.ends_with("/placement/region") => Reply::ok("ap-south-1"),
        line if line.ends_with("/security-credentials-extended/")
            || line.ends_with("/security-credentials/") =>
        {
            Reply::ok("my-role")
        }
        line if line.contains("security-credentials") => Reply::ok(
            r#"{"Code":"Success","LastUpdated":"2026-01-01T00:00:00Z","Type":"AWS-HMAC",
                "AccessKeyId":"ASIAIMDS000000000001","SecretAccessKey":"s","Token":"t",
                "Expiration":"2026-01-01T06:00:00Z","AccountId":"111122223333"}"#,
        ),
        _ => Reply::Answer(404, Vec::new(), String::new()),
    })
    .await;
    let server = kinesis().await;
    let variables = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", &*imds.url()), ("KINESIS", &*server.url())];
    if inside(
        "instance_metadata::instance_metadata_gives_credentials_and_region_where_nothing_else_does",
        &variables,
    )
    .await
    {
        puts(&client_of(json!({"load_timeout_secs": 20, "imds": {"max_attempts": 2}})).await).await;
        let nowhere = ClientSettings { region: None, endpoint: None, ..settings("") };
        assert_eq!(client(nowhere).await.endpoint().uri, "https://kinesis.ap-south-1.amazonaws.com/");
        return;
    }
    signed_with(&server, "ASIAIMDS000000000001");
}

/// What an attempt says when instance metadata, at `IMDS`, is all there is and it gives nothing.
async fn failure_of(auth: serde_json::Value) -> String {
    let found = failure(client_of(auth).await.put_records(Bytes::from_static(b"{}")).await);
    assert_eq!((found.kind, found.may_be_stored), (FailureKind::Credentials, false));
    found.message
}

#[tokio::test]
async fn instance_metadata_is_asked_as_often_as_the_user_says() {
    let imds = Loopback::start(|_| Reply::Answer(500, Vec::new(), String::new())).await;
    let variables = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", &*imds.url()), ("KINESIS", "http://127.0.0.1:9")];
    if inside("instance_metadata::instance_metadata_is_asked_as_often_as_the_user_says", &variables).await {
        failure_of(json!({"load_timeout_secs": 60, "imds": {"max_attempts": 1}})).await;
        failure_of(json!({"load_timeout_secs": 60, "imds": {"max_attempts": 2}})).await;
        return;
    }
    assert_eq!(imds.count(), 1 + 2);
}

#[tokio::test]
async fn instance_metadata_that_does_not_answer_is_left_when_the_read_timeout_says() {
    let imds = Loopback::start(|_| Reply::Silence).await;
    let variables = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", &*imds.url()), ("KINESIS", "http://127.0.0.1:9")];
    let name = "instance_metadata::instance_metadata_that_does_not_answer_is_left_when_the_read_timeout_says";
    if inside(name, &variables).await {
        let imds = json!({"max_attempts": 1, "connect_timeout_seconds": 1, "read_timeout_seconds": 1});
        let message = failure_of(json!({"load_timeout_secs": 60, "imds": imds})).await;
        assert!(message.contains("set AWS_ACCESS_KEY_ID") && !message.contains("within"), "{message}");
        return;
    }
    assert_eq!(imds.count(), 1);
}

#[tokio::test]
async fn instance_metadata_that_takes_no_connection_is_left_when_the_connect_timeout_says() {
    // A listener that accepts nobody: when its queue is full, connections are not answered any more.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        queue.push(stream);
    }
    let imds = format!("http://{address}");
    let variables = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", &*imds), ("KINESIS", "http://127.0.0.1:9")];
    let name =
        "instance_metadata::instance_metadata_that_takes_no_connection_is_left_when_the_connect_timeout_says";
    if inside(name, &variables).await {
        let imds = json!({"max_attempts": 1, "connect_timeout_seconds": 1, "read_timeout_seconds": 600});
        let began = std::time::Instant::now();
        failure_of(json!({"load_timeout_secs": 600, "imds": imds})).await;
        assert!(
            began.elapsed() < CONNECT_TIMEOUT,
            "{:?}: the general limit, not the user's",
            began.elapsed()
        );
    }
}

#[tokio::test]
async fn loading_takes_no_longer_than_the_user_allows() {
    let imds = Loopback::start(|_| Reply::Silence).await;
    let variables = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", &*imds.url()), ("KINESIS", "http://127.0.0.1:9")];
    if inside("instance_metadata::loading_takes_no_longer_than_the_user_allows", &variables).await {
        let auth = json!({"load_timeout_secs": 1, "imds": {"read_timeout_seconds": 600}});
        let message = failure_of(auth).await;
        assert!(
            message.contains("within 1s") && message.contains("raise auth.load_timeout_secs"),
            "{message}"
        );
    }
}
