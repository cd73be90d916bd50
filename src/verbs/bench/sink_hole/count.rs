//! Count: how many records a request's body has, without reading its JSON.
//! In: the body in pieces, cut anywhere. Out: how often a record's one field that is always there occurs.
//! Holds: the end of the last piece, for a name that is cut in two. Exact but for a partition key that is the field's own name.

use memchr::memmem::Finder;

/// The name that each record has once, in whatever order and with whatever space its writer likes.
const NAME: &[u8] = b"\"PartitionKey\"";

/// Counts records of one body.
pub(super) struct RecordCount {
    finder: Finder<'static>,
    tail: Vec<u8>,
    records: u64,
}

impl RecordCount {
    pub(super) fn new() -> Self {
        Self { finder: Finder::new(NAME), tail: Vec::with_capacity(2 * NAME.len()), records: 0 }
    }

    /// The next piece of the body.
    pub(super) fn add(&mut self, piece: &[u8]) {
        // What is cut in two: both parts are shorter than the name, so whatever is found has a part in each piece.
        self.tail.extend_from_slice(&piece[..piece.len().min(NAME.len() - 1)]);
        self.records += u64::from(self.finder.find(&self.tail).is_some());
        if piece.len() < NAME.len() {
            let surplus = self.tail.len().saturating_sub(NAME.len() - 1);
            self.tail.drain(..surplus);
            return;
        }
        self.records += self.finder.find_iter(piece).count() as u64;
        self.tail.clear();
        self.tail.extend_from_slice(&piece[piece.len() - (NAME.len() - 1)..]);
    }

    /// The number of records; begins anew.
    pub(super) fn finish(&mut self) -> u64 {
        self.tail.clear();
        std::mem::take(&mut self.records)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_body_has_as_many_records_wherever_it_is_cut(
            records in 0_usize..6, cuts in prop::collection::vec(1_usize..40, 1..20)
        ) {
            let entries: Vec<_> =
                (0..records).map(|n| format!(r#"{{"Data":"{n}", "PartitionKey" : "k\"PartitionKey\""}}"#)).collect();
            let body = format!(r#"{{"StreamName":"s","Records":[{}]}}"#, entries.join(","));
            let mut count = RecordCount::new();
            for _ in 0..2 {
                let (mut rest, mut cuts) = (body.as_bytes(), cuts.iter().cycle());
                while !rest.is_empty() {
                    let (piece, more) = rest.split_at(rest.len().min(*cuts.next().unwrap_or(&1)));
                    count.add(piece);
                    rest = more;
                }
                prop_assert_eq!(count.finish(), records as u64);
            }
        }
    }
}
