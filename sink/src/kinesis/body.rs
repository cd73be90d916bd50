//! Body: the JSON of a `PutRecords` request, written once.
//! In: the records of a sealed request. Out: one buffer, base64 straight from the records' bytes.
//! Never: escapes more than a partition key needs, copies a record twice.

use std::borrow::Cow;

use base64_simd::STANDARD;

/// JSON around one record: `{"Data":"","PartitionKey":""},`.
const RECORD_FRAME_BYTES: usize = 31;

/// Writes requests to one stream.
#[derive(Clone, Debug)]
pub struct BodyWriter {
    head: Vec<u8>,
}

impl BodyWriter {
    /// A writer for the stream called `stream_name`.
    #[must_use]
    pub fn new(stream_name: &str) -> Self {
        let mut head = b"{\"StreamName\":".to_vec();
        write_json_string(stream_name.as_bytes(), &mut head);
        head.extend_from_slice(b",\"Records\":[");
        Self { head }
    }

    /// Writes a request with `records`, the data and key of each, into `body`, which is emptied first. `count` and `weight` are how many
    /// they are and the sum of their weights, to size the buffer.
    pub fn write<'a>(
        &self,
        records: impl Iterator<Item = (Cow<'a, [u8]>, &'a [u8])>,
        count: usize,
        weight: usize,
        body: &mut Vec<u8>,
    ) {
        body.clear();
        body.reserve(self.head.len() + weight / 3 * 4 + count * (RECORD_FRAME_BYTES + 8) + 16);
        body.extend_from_slice(&self.head);
        for (index, (data, key)) in records.enumerate() {
            if index > 0 {
                body.push(b',');
            }
            body.extend_from_slice(b"{\"Data\":\"");
            STANDARD.encode_append(&data, body);
            body.extend_from_slice(b"\",\"PartitionKey\":");
            write_json_string(key, body);
            body.push(b'}');
        }
        body.extend_from_slice(b"]}");
    }
}

/// Writes UTF-8 `text` as a JSON string.
fn write_json_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    // A look that never stops early is many bytes at a time.
    if !text.iter().fold(false, |any, byte| any | special(*byte)) {
        out.extend_from_slice(text);
    } else {
        for &byte in text {
            match byte {
                b'"' => out.extend_from_slice(b"\\\""),
                b'\\' => out.extend_from_slice(b"\\\\"),
                0..0x20 => {
                    const HEX: &[u8; 16] = b"0123456789abcdef";
                    out.extend_from_slice(b"\\u00");
                    out.push(HEX[usize::from(byte >> 4)]);
                    out.push(HEX[usize::from(byte & 15)]);
                }
                _ => out.push(byte),
            }
        }
    }
    out.push(b'"');
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_data_and_key_read_back(
            records in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..50), "\\PC{1,20}|[\"\\\\\\x00-\\x1f]{1,5}"), 1..5)
        ) {
            let mut body = Vec::new();
            let content = records.iter().map(|(data, key)| (Cow::Borrowed(&data[..]), key.as_bytes()));
            BodyWriter::new("a\"b").write(content, records.len(), 0, &mut body);
            let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
            prop_assert_eq!(&json["StreamName"], "a\"b");
            for ((data, key), written) in records.iter().zip(json["Records"].as_array().unwrap()) {
                let decoded = STANDARD.decode_to_vec(written["Data"].as_str().unwrap()).unwrap();
                prop_assert_eq!(&decoded, data);
                prop_assert_eq!(written["PartitionKey"].as_str().unwrap(), key);
            }
        }
    }
}
