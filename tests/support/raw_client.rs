//! Raw client: HTTP/1.1 by hand over one connection, with a signature header that is present and nothing more.
//! In: an operation and a JSON body.  Out: status, headers and body, or the error of the socket.
//! Never: retries, reconnects, checks what it is told: it is there to see exactly what the fault server does.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One connection to a server.
pub struct RawClient {
    stream: TcpStream,
    pub access_key: String,
    pub session_token: Option<String>,
    pub region: String,
    /// `x-amz-date`; now by default.
    pub signed_at: Option<String>,
    pub signed: bool,
}

/// One answer.
#[derive(Debug, Clone)]
pub struct RawAnswer {
    pub status: u16,
    /// By lower-case name.
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl RawAnswer {
    /// The body as JSON; `null` when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The error code of the whole request; empty without one.
    pub fn code(&self) -> String {
        self.json()["__type"].as_str().unwrap_or_default().to_owned()
    }

    pub fn message(&self) -> String {
        self.json()["message"].as_str().unwrap_or_default().to_owned()
    }

    /// `ShardId` or `ErrorCode` of each record.
    pub fn verdicts(&self) -> Vec<String> {
        let json = self.json();
        let records = json["Records"].as_array().cloned().unwrap_or_default();
        records
            .iter()
            .map(|record| {
                record["ErrorCode"].as_str().or(record["ShardId"].as_str()).unwrap_or_default().to_owned()
            })
            .collect()
    }
}

/// A PutRecords body.
pub fn put_body<K: AsRef<str>, D: AsRef<[u8]>>(stream: &str, records: &[(K, D)]) -> Value {
    let records: Vec<Value> = records
        .iter()
        .map(|(key, data)| {
            json!({
                "Data": base64_simd::STANDARD.encode_to_string(data),
                "PartitionKey": key.as_ref(),
            })
        })
        .collect();
    json!({"StreamName": stream, "Records": records})
}

impl RawClient {
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            access_key: "AKIDTEST".to_owned(),
            session_token: None,
            region: "us-east-1".to_owned(),
            signed_at: None,
            signed: true,
        })
    }

    /// PutRecords.
    pub async fn put<K: AsRef<str>, D: AsRef<[u8]>>(
        &mut self,
        stream: &str,
        records: &[(K, D)],
    ) -> io::Result<RawAnswer> {
        self.call("PutRecords", &put_body(stream, records)).await
    }

    /// Any operation of Kinesis.
    pub async fn call(&mut self, operation: &str, body: &Value) -> io::Result<RawAnswer> {
        self.send(operation, body.to_string().as_bytes()).await?;
        self.receive().await
    }

    /// Writes a request and leaves the answer for later.
    pub async fn send(&mut self, operation: &str, body: &[u8]) -> io::Result<()> {
        let date =
            self.signed_at.clone().unwrap_or_else(|| chrono::Utc::now().format("%Y%m%dT%H%M%SZ").to_string());
        let mut headers = format!(
            "x-amz-target: Kinesis_20131202.{operation}\r\nx-amz-date: {date}\r\ncontent-type: application/x-amz-json-1.1\r\n"
        );
        if self.signed {
            headers.push_str(&format!(
                "authorization: AWS4-HMAC-SHA256 Credential={}/20260101/{}/kinesis/aws4_request, SignedHeaders=host;x-amz-date, Signature=00\r\n",
                self.access_key, self.region
            ));
        }
        if let Some(token) = &self.session_token {
            headers.push_str(&format!("x-amz-security-token: {token}\r\n"));
        }
        self.send_raw("POST", "/", &headers, body).await
    }

    /// Writes any request. `headers` are whole lines.
    pub async fn send_raw(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> io::Result<()> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        );
        self.stream.write_all(head.as_bytes()).await?;
        self.stream.write_all(body).await
    }

    /// Reads one answer, which must announce its length.
    pub async fn receive(&mut self) -> io::Result<RawAnswer> {
        let mut bytes = Vec::new();
        let head_end = loop {
            if let Some(at) = memchr::memmem::find(&bytes, b"\r\n\r\n") {
                break at;
            }
            if self.stream.read_buf(&mut bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
        let mut lines = head.lines();
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1)?.parse().ok())
            .ok_or(io::ErrorKind::InvalidData)?;
        let headers: HashMap<String, String> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        let length: usize = headers
            .get("content-length")
            .and_then(|length| length.parse().ok())
            .ok_or(io::ErrorKind::InvalidData)?;
        let mut body = bytes.split_off(head_end + 4);
        while body.len() < length {
            if self.stream.read_buf(&mut body).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(RawAnswer { status, headers, body })
    }
}
