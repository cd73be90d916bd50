//! Answer: what the sink-hole writes back.
//! In: how many records a request had, a number higher than those before. Out: an HTTP answer, ready to be sent.
//! Holds: the answer to as many records as last time, in which only the sequence numbers change.

use std::io::Write;

/// A sequence number has 56 digits: these, sixteen of the answer, four of the record.
const SEQUENCE_HEAD: &str = "495903382714902566085596925383615710";
const BLOCK_DIGITS: usize = 16;
/// Most records a request may have. API reference, PutRecords.
pub(super) const RECORDS_MAX: u64 = 500;

/// The sequence number of record `index` in answer `block`.
pub(super) fn sequence_number(block: u64, index: usize) -> String {
    format!("{SEQUENCE_HEAD}{block:016}{index:04}")
}

/// An HTTP answer with this status, like `200 OK`.
pub(super) fn http(status: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = Vec::with_capacity(body.len() + 160);
    // Writing to a vector cannot fail.
    let _ = write!(
        answer,
        "HTTP/1.1 {status}\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    answer.extend_from_slice(body);
    answer
}

/// A refusal of a whole request.
pub(super) fn refusal(code: &str, message: &str) -> Vec<u8> {
    http("400 Bad Request", serde_json::json!({"__type": code, "message": message}).to_string().as_bytes())
}

/// The body that says the fate of each record; `entries` are objects, separated by commas.
pub(super) fn put_records(entries: &str, failed: u64) -> Vec<u8> {
    http("200 OK", format!(r#"{{"FailedRecordCount":{failed},"Records":[{entries}]}}"#).as_bytes())
}

/// Answers that all records are stored in the one shard.
#[derive(Default)]
pub(super) struct AllStored {
    records: u64,
    answer: Vec<u8>,
    /// Where the digits of the block are in each record.
    places: Vec<usize>,
}

impl AllStored {
    /// The answer to a request with `records` records, at most [`RECORDS_MAX`].
    pub(super) fn answer(&mut self, records: u64, block: u64) -> &[u8] {
        if self.records != records || self.answer.is_empty() {
            self.prepare(records);
        }
        let digits = format!("{block:0BLOCK_DIGITS$}");
        for place in &self.places {
            self.answer[*place..*place + BLOCK_DIGITS].copy_from_slice(digits.as_bytes());
        }
        &self.answer
    }

    fn prepare(&mut self, records: u64) {
        let entries: Vec<_> = (0..records as usize)
            .map(|index| {
                let sequence = sequence_number(0, index);
                format!(r#"{{"SequenceNumber":"{sequence}","ShardId":"shardId-000000000000"}}"#)
            })
            .collect();
        self.records = records;
        self.answer = put_records(&entries.join(","), 0);
        self.places = memchr::memmem::find_iter(&self.answer, SEQUENCE_HEAD)
            .map(|start| start + SEQUENCE_HEAD.len())
            .collect();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_record_gets_a_sequence_number_higher_than_those_before() {
        let mut stored = AllStored::default();
        let mut last = String::new();
        for (block, records) in [(0, 3), (1, 3), (2, 2), (10_000_000, 500)] {
            let answer = stored.answer(records, block).to_vec();
            let at = memchr::memmem::find(&answer, b"\r\n\r\n").unwrap() + 4;
            let head = String::from_utf8(answer[..at].to_vec()).unwrap();
            assert!(head.contains(&format!("Content-Length: {}\r\n", answer.len() - at)), "{head}");
            let body: serde_json::Value = serde_json::from_slice(&answer[at..]).unwrap();
            let entries = body["Records"].as_array().unwrap();
            assert_eq!(entries.len() as u64, records);
            for (index, entry) in entries.iter().enumerate() {
                let sequence = entry["SequenceNumber"].as_str().unwrap().to_owned();
                assert_eq!(sequence, sequence_number(block, index));
                assert_eq!(sequence.len(), 56);
                assert!(sequence > last);
                last = sequence;
            }
        }
    }
}
