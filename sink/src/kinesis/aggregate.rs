//! Aggregate: several user records with one partition key in one Kinesis record, in the format of Amazon's producer library (KPL).
//! In: a key and the records' data. Out: the bytes to store, and their exact number before a byte is written.
//! Never: mixes keys: records that share one stay on one shard and in order, also when the stream is split.
//!
//! Source: `aggregation-format.md` of `awslabs/amazon-kinesis-producer`. Four magic bytes, a protobuf message (proto2), the MD5 of
//! the message. The message holds a table of keys (field 1, here of one entry), no explicit hash keys, and the records
//! (field 3), each with its index in the table (field 1) and its data (field 3).

#[cfg(test)]
pub mod tests;

use md5::{Digest, Md5};

/// What an aggregate begins with.
const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];
/// Bytes of the MD5 at its end.
const DIGEST_BYTES: usize = 16;
/// `partition_key_table`, field 1 of the message: bytes of a length.
const KEY_TABLE_TAG: u8 = 0x0A;
/// `records`, field 3 of the message: bytes of a length.
const RECORD_TAG: u8 = 0x1A;
/// `partition_key_index`, field 1 of a record, with its value 0.
const FIRST_KEY: [u8; 2] = [0x08, 0x00];
/// `data`, field 3 of a record: bytes of a length.
const DATA_TAG: u8 = 0x1A;

/// How many bytes an aggregate has, as records join it.
#[derive(Clone, Copy, Debug)]
pub struct Size(usize);

impl Size {
    /// Of an aggregate for a key of `key_bytes`, still without a record.
    #[must_use]
    pub fn empty(key_bytes: usize) -> Self {
        Self(MAGIC.len() + field_bytes(key_bytes) + DIGEST_BYTES)
    }

    /// With one more record of `data_bytes`.
    #[must_use]
    pub fn with(self, data_bytes: usize) -> Self {
        Self(self.0 + field_bytes(record_bytes(data_bytes)))
    }

    /// In bytes.
    #[must_use]
    pub fn bytes(self) -> usize {
        self.0
    }
}

/// The aggregate of records that share `key` and have this `data`, in this order. `size` is what it comes to.
#[must_use]
pub fn write<'a>(key: &[u8], data: impl Iterator<Item = &'a [u8]>, size: Size) -> Vec<u8> {
    let mut out = Vec::with_capacity(size.bytes());
    out.extend_from_slice(&MAGIC);
    write_field(KEY_TABLE_TAG, key, &mut out);
    for data in data {
        out.push(RECORD_TAG);
        write_varint(record_bytes(data.len()), &mut out);
        out.extend_from_slice(&FIRST_KEY);
        write_field(DATA_TAG, data, &mut out);
    }
    let digest = Md5::digest(&out[MAGIC.len()..]);
    out.extend_from_slice(&digest);
    debug_assert_eq!(out.len(), size.bytes());
    out
}

/// Bytes of a record's own fields.
fn record_bytes(data_bytes: usize) -> usize {
    FIRST_KEY.len() + field_bytes(data_bytes)
}

/// Bytes of a field that holds `bytes` bytes: tag, length, content.
fn field_bytes(bytes: usize) -> usize {
    1 + varint_bytes(bytes) + bytes
}

/// Bytes of a number in protobuf's base 128.
fn varint_bytes(number: usize) -> usize {
    let bits = usize::BITS - (number | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

fn write_field(tag: u8, content: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    write_varint(content.len(), out);
    out.extend_from_slice(content);
}

fn write_varint(mut number: usize, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
