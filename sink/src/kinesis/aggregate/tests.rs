//! Tests of the aggregate's bytes, and a small reader that is not built from the writer.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

/// The keys and data of an aggregate's records, in order; `None` if the bytes are no aggregate.
pub fn read(bytes: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let rest = bytes.strip_prefix(b"\xF3\x89\x9A\xC2")?;
    let (message, digest) = rest.split_at_checked(rest.len().checked_sub(16)?)?;
    if Md5::digest(message)[..] != *digest {
        return None;
    }
    let (mut keys, mut records) = (Vec::new(), Vec::new());
    for (field, value) in fields(message)? {
        match (field, value) {
            (1, Value::Bytes(key)) => keys.push(key.to_vec()),
            (3, Value::Bytes(record)) => records.push(record),
            _ => return None,
        }
    }
    records.into_iter().map(|record| read_record(record, &keys)).collect()
}

fn read_record(record: &[u8], keys: &[Vec<u8>]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (mut key, mut data) = (None, None);
    for (field, value) in fields(record)? {
        match (field, value) {
            (1, Value::Number(index)) => key = keys.get(index),
            (3, Value::Bytes(bytes)) => data = Some(bytes.to_vec()),
            _ => return None,
        }
    }
    Some((key?.clone(), data?))
}

enum Value<'a> {
    Number(usize),
    Bytes(&'a [u8]),
}

/// The fields of a protobuf message, by number.
fn fields(mut message: &[u8]) -> Option<Vec<(usize, Value<'_>)>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let number = varint(&mut message)?;
        let value = match tag & 7 {
            0 => Value::Number(number),
            2 => {
                let (bytes, rest) = message.split_at_checked(number)?;
                message = rest;
                Value::Bytes(bytes)
            }
            _ => return None,
        };
        fields.push((tag >> 3, value));
    }
    Some(fields)
}

fn varint(bytes: &mut &[u8]) -> Option<usize> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= usize::from(first & 0x7F) << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
        shift += 7;
    }
}

fn size_of(key: &[u8], data: &[Vec<u8>]) -> Size {
    data.iter().fold(Size::empty(key.len()), |size, data| size.with(data.len()))
}

#[test]
fn two_records_give_the_bytes_that_the_published_aggregator_gives() {
    let data = [b"x".to_vec(), b"yy".to_vec()];
    let bytes = write(b"k", data.iter().map(Vec::as_slice), size_of(b"k", &data));
    // Made with `aws_kinesis_agg` 1.2.3.
    let expected = b"\xf3\x89\x9a\xc2\n\x01k\x1a\x05\x08\x00\x1a\x01x\x1a\x06\x08\x00\x1a\x02yyAz\xfc\xbdeD\xd6-\x90u\xeb\x8c\xfb\xe7(\x16";
    assert_eq!(bytes, expected);
}

#[test]
fn lengths_around_each_step_of_the_number_format_are_counted_right() {
    for step in [0_usize, 1, 1 << 7, 1 << 14, 1 << 21] {
        // The record's own fields are a few bytes longer than its data, so both lengths cross the step.
        for length in step.saturating_sub(8)..step + 2 {
            let data = vec![vec![b'x'; length]];
            let size = size_of(b"key", &data);
            let bytes = write(b"key", data.iter().map(Vec::as_slice), size);
            assert_eq!(bytes.len(), size.bytes(), "{length}");
            assert_eq!(read(&bytes).unwrap(), [(b"key".to_vec(), data[0].clone())]);
        }
    }
}

proptest! {
    #[test]
    fn the_size_is_known_before_writing_and_everything_reads_back(
        key in "\\PC{1,256}",
        data in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..40),
    ) {
        let size = size_of(key.as_bytes(), &data);
        let bytes = write(key.as_bytes(), data.iter().map(Vec::as_slice), size);
        prop_assert_eq!(bytes.len(), size.bytes());
        let expected: Vec<_> = data.into_iter().map(|data| (key.clone().into_bytes(), data)).collect();
        prop_assert_eq!(read(&bytes).unwrap(), expected);
    }

    #[test]
    fn a_changed_byte_is_noticed(at in 0..60_usize, flip in 1..=255_u8) {
        let data = [b"some data".to_vec(), b"more of it".to_vec()];
        let mut bytes = write(b"key", data.iter().map(Vec::as_slice), size_of(b"key", &data));
        let at = at % bytes.len();
        bytes[at] ^= flip;
        prop_assert_eq!(read(&bytes), None);
    }
}
