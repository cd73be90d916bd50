//! Aggregate: takes a Kinesis record apart, as a consumer does.
//! In: a partition key and data.  Out: the user records in it: several if it is a KPL aggregate, else the record itself.
//! Never: fails: what is no sound aggregate is a plain record.

use bytes::Bytes;
use md5::{Digest, Md5};

/// The keys and data of the user records, in order.
pub(super) fn user_records(key: &str, data: Bytes) -> Vec<(String, Bytes)> {
    taken_apart(&data).unwrap_or_else(|| vec![(key.to_owned(), data)])
}

fn taken_apart(data: &Bytes) -> Option<Vec<(String, Bytes)>> {
    let rest = data.strip_prefix(&[0xF3, 0x89, 0x9A, 0xC2])?;
    let (message, digest) = rest.split_last_chunk::<16>()?;
    if Md5::digest(message)[..] != *digest {
        return None;
    }
    let (mut keys, mut records) = (Vec::new(), Vec::new());
    let mut message = Message(message);
    while let Some((field, value)) = message.next() {
        match field {
            1 => keys.push(String::from_utf8(value.to_vec()).ok()?),
            3 => records.push(value),
            _ => return None,
        }
    }
    let user_record = |mut record: Message<'_>| {
        let (mut key, mut user_data) = (None, None);
        while let Some((field, value)) = record.next() {
            match field {
                // A number is given as its own bytes; tables of more than 127 keys are not made here.
                1 => key = keys.get(usize::from(*value.first()?)),
                3 => user_data = Some(data.slice_ref(value)),
                _ => return None,
            }
        }
        Some((key?.clone(), user_data?))
    };
    records.into_iter().map(Message).map(user_record).collect()
}

/// What is left of a protobuf message.
struct Message<'a>(&'a [u8]);

impl<'a> Message<'a> {
    /// The next field's number and content.
    fn next(&mut self) -> Option<(u64, &'a [u8])> {
        let tag = self.number()?;
        let start = self.0;
        let number = self.number()?;
        if tag & 7 == 0 {
            return Some((tag >> 3, &start[..start.len() - self.0.len()]));
        }
        let (content, rest) = self.0.split_at_checked(number as usize)?;
        self.0 = rest;
        Some((tag >> 3, content))
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7F) << shift;
            if *byte < 0x80 {
                return Some(number);
            }
        }
        None
    }
}
