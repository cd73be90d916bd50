//! Connection: one client of the sink-hole, request after request.
//! In: a socket. Out: answers on it; what was taken, to the service.
//! Holds: one buffer that requests run through. Never: keeps a body, unless the service has to look into it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use memchr::memmem;

use super::Service;
use super::answer::{AllStored, RECORDS_MAX, http, refusal};
use super::count::RecordCount;

/// What is read at once: large enough for few calls, small enough to stay in a core's own cache.
const BUFFER_BYTES: usize = 256 * 1024;
/// The largest body: base64 and framing of 10 MiB fit below it with room.
const BODY_BYTES_MAX: usize = 20 * 1024 * 1024;
/// A probe (`DryRun`) and whatever is not PutRecords is shorter than this.
const SMALL_BYTES: usize = 4096;

/// One client.
pub(super) struct Connection {
    socket: TcpStream,
    service: Arc<Service>,
    buffer: Vec<u8>,
    /// What of the buffer was read and not used yet.
    unused: std::ops::Range<usize>,
    body: Vec<u8>,
    count: RecordCount,
    all_stored: AllStored,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    PutRecords,
    ListShards,
    ListStreams,
    Other,
}

/// The head of a request, as far as it matters.
struct Head {
    action: Action,
    body_bytes: usize,
    waits_for_continue: bool,
}

impl Connection {
    pub(super) fn new(socket: TcpStream, service: Arc<Service>) -> Self {
        Self {
            socket,
            service,
            buffer: vec![0; BUFFER_BYTES],
            unused: 0..0,
            body: Vec::new(),
            count: RecordCount::new(),
            all_stored: AllStored::default(),
        }
    }

    /// Answers until the client leaves. There is nobody to tell about a broken connection.
    pub(super) fn serve(mut self) {
        let _ = self.socket.set_nodelay(true);
        while let Ok(Some(head)) = self.head() {
            if self.request(&head).is_err() {
                return;
            }
        }
    }

    fn request(&mut self, head: &Head) -> io::Result<()> {
        if head.body_bytes > BODY_BYTES_MAX {
            self.socket.write_all(&http("413 Payload Too Large", b""))?;
            return Err(io::ErrorKind::InvalidData.into());
        }
        if head.waits_for_continue {
            self.socket.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let put_records = head.action == Action::PutRecords;
        let looked_into = self.service.keyed || head.body_bytes <= SMALL_BYTES || !put_records;
        self.read_body(head.body_bytes, looked_into)?;
        let received = Instant::now();
        let answer = match head.action {
            Action::PutRecords if looked_into && memmem::find(&self.body, b"\"DryRun\":true").is_some() => {
                refusal("DryRunOperationException", "The request would have succeeded.")
            }
            Action::PutRecords => return self.put_records(head.body_bytes as u64, received),
            Action::ListShards => self.service.shards.list(),
            Action::ListStreams => http("200 OK", br#"{"HasMoreStreams":false,"StreamNames":[]}"#),
            Action::Other => refusal("UnknownOperationException", "this service takes PutRecords alone"),
        };
        self.socket.write_all(&answer)
    }

    fn put_records(&mut self, body_bytes: u64, received: Instant) -> io::Result<()> {
        self.wait_since(received);
        let (service, block) = (&self.service, self.service.next_block());
        if service.keyed {
            let answered = service.shards.answer(&self.body, block, received);
            self.socket.write_all(&answered.http)?;
            service.took(answered.stored, answered.throttled, body_bytes);
            return Ok(());
        }
        self.count.add(&self.body);
        self.body.clear();
        let records = self.count.finish();
        if !(1..=RECORDS_MAX).contains(&records) {
            let sentence = format!("{records} records: 1 to {RECORDS_MAX} are taken");
            return self.socket.write_all(&refusal("ValidationException", &sentence));
        }
        self.socket.write_all(self.all_stored.answer(records, block))?;
        service.took(records, 0, body_bytes);
        Ok(())
    }

    /// The answer comes one round trip after the request.
    fn wait_since(&self, received: Instant) {
        let left = self.service.round_trip.saturating_sub(received.elapsed());
        if !left.is_zero() {
            #[expect(clippy::disallowed_methods, reason = "the thread of this one client, who waits too")]
            std::thread::sleep(left);
        }
    }

    /// The next request's head; none when the client has left.
    fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            let unused = &self.buffer[self.unused.clone()];
            if let Some(end) = memmem::find(unused, b"\r\n\r\n") {
                let head = parse(&unused[..end]);
                self.unused.start += end + 4;
                return head.map(Some);
            }
            self.buffer.copy_within(self.unused.clone(), 0);
            self.unused = 0..self.unused.len();
            if self.unused.end == self.buffer.len() {
                return Err(io::ErrorKind::InvalidData.into());
            }
            match self.socket.read(&mut self.buffer[self.unused.end..])? {
                0 => return Ok(None),
                read => self.unused.end += read,
            }
        }
    }

    /// Reads a body; into `body` if it is to be looked into, else past the counter.
    fn read_body(&mut self, bytes: usize, looked_into: bool) -> io::Result<()> {
        self.body.clear();
        let mut left = bytes;
        while left > 0 {
            if self.unused.is_empty() {
                let read = self.socket.read(&mut self.buffer)?;
                if read == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                self.unused = 0..read;
            }
            let taken = left.min(self.unused.len());
            let piece = &self.buffer[self.unused.start..self.unused.start + taken];
            if looked_into {
                self.body.extend_from_slice(piece);
            } else {
                self.count.add(piece);
            }
            self.unused.start += taken;
            left -= taken;
        }
        Ok(())
    }
}

fn parse(head: &[u8]) -> io::Result<Head> {
    let text = std::str::from_utf8(head).map_err(|_| io::ErrorKind::InvalidData)?;
    let header = |wanted: &str| {
        text.split("\r\n").skip(1).find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim())
        })
    };
    let action = match header("x-amz-target").and_then(|target| target.rsplit('.').next()) {
        Some("PutRecords") => Action::PutRecords,
        Some("ListShards") => Action::ListShards,
        Some("ListStreams") => Action::ListStreams,
        _ => Action::Other,
    };
    let body_bytes = match header("content-length") {
        Some(length) => length.parse().map_err(|_| io::ErrorKind::InvalidData)?,
        None => 0,
    };
    Ok(Head {
        action,
        body_bytes,
        waits_for_continue: header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")),
    })
}
