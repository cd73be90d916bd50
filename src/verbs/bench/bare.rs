//! Bare: the floor of this machine: what nobody can leave out, on one thread, in place of the pipeline.
//! In: lines on standard input. Out: requests with the same bodies to the sink-hole, one after the other, and one sample.
//! Never: a promise. No order, no retry, no pace, no acknowledgement, no signature beyond the body's hash, no look at an answer beyond its
//! length; keys go as they are. What goes wrong ends it. So it is for made-up events and a service without limits.

use std::io::{Error, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};

use afluente::transforms::profile_export::{Mapper, Timestamp};
use memchr::{memchr, memmem};
use sha2::{Digest, Sha256};

/// Half of what is read at once; what a line may take.
const READ_BYTES: usize = 256 * 1024;
/// Most records of a request. API reference, PutRecords.
const RECORDS_MAX: usize = 500;

/// Lines become requests. Without a mapper they go as they are.
pub(super) struct Bare {
    mapper: Option<Mapper>,
    service: TcpStream,
    /// Lines that were sent.
    pub(super) sent: u64,
    /// Lines that the mapping did not export.
    pub(super) skipped: u64,
    waiting: usize,
    body: Vec<u8>,
    output: Vec<u8>,
    key: Vec<u8>,
    answer: Vec<u8>,
}

impl Bare {
    pub(super) fn new(mapper: Option<Mapper>, service: SocketAddr) -> Result<Self> {
        let service = TcpStream::connect(service)?;
        service.set_nodelay(true)?;
        let (body, output, key) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self {
            mapper,
            service,
            sent: 0,
            skipped: 0,
            waiting: 0,
            body,
            output,
            key,
            answer: vec![0; READ_BYTES],
        })
    }

    /// Reads `input` to its end.
    pub(super) fn run(&mut self, input: &mut impl Read) -> Result<()> {
        let (mut buffer, mut filled) = (vec![0; 2 * READ_BYTES], 0);
        loop {
            let count = input.read(&mut buffer[filled..])?;
            if count == 0 {
                return self.send();
            }
            filled += count;
            let mut start = 0;
            while let Some(length) = memchr(b'\n', &buffer[start..filled]) {
                self.line(&buffer[start..start + length])?;
                start += length + 1;
            }
            buffer.copy_within(start..filled, 0);
            filled -= start;
            if filled == buffer.len() {
                return Err(Error::other(format!("a line is longer than {filled} bytes")));
            }
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<()> {
        let Self { mapper, output, key, body, .. } = self;
        let (data, key): (&[u8], &[u8]) = match mapper {
            None => (line, b"0123456789abcdef"),
            Some(mapper) => {
                output.clear();
                key.clear();
                mapper.map(line, Timestamp::from_unix_nanos(0), output, key);
                (output, key)
            }
        };
        if data.is_empty() {
            self.skipped += 1;
            return Ok(());
        }
        body.extend_from_slice(if self.waiting == 0 {
            b"{\"StreamName\":\"bench\",\"Records\":["
        } else {
            b","
        });
        body.extend_from_slice(b"{\"Data\":\"");
        base64_simd::STANDARD.encode_append(data, body);
        body.extend_from_slice(b"\",\"PartitionKey\":\"");
        body.extend_from_slice(key);
        body.extend_from_slice(b"\"}");
        self.waiting += 1;
        if self.waiting == RECORDS_MAX { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<()> {
        if self.waiting == 0 {
            return Ok(());
        }
        self.body.extend_from_slice(b"]}");
        let hash = Sha256::digest(&self.body);
        write!(
            self.service,
            "POST / HTTP/1.1\r\nHost: bench\r\nX-Amz-Target: Kinesis_20131202.PutRecords\r\nX-Hash: {:02x?}\r\n\
             Content-Type: application/x-amz-json-1.1\r\nContent-Length: {}\r\n\r\n",
            &hash[..4],
            self.body.len()
        )?;
        self.service.write_all(&self.body)?;
        self.body.clear();
        self.hear()?;
        self.sent += std::mem::take(&mut self.waiting) as u64;
        Ok(())
    }

    /// Reads an answer to its end.
    fn hear(&mut self) -> Result<()> {
        const LENGTH: &[u8] = b"Content-Length: ";
        let (mut filled, mut whole) = (0, None);
        while whole.is_none_or(|whole| filled < whole) {
            let count = self.service.read(&mut self.answer[filled..])?;
            if count == 0 {
                return Err(Error::other("the sink-hole has gone or answers at too great a length"));
            }
            filled += count;
            let head = memmem::find(&self.answer[..filled], b"\r\n\r\n").map(|end| end + 4);
            whole = head.and_then(|head| {
                let value = memmem::find(&self.answer[..head], LENGTH)? + LENGTH.len();
                let digits = self.answer[value..].iter().take_while(|byte| byte.is_ascii_digit());
                Some(head + digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0')))
            });
        }
        Ok(())
    }
}
