//! Poison: a service that refuses every request which holds a guilty record, and says any words about it.
//! In: bytes: which records there are, which are guilty, the words. Out: nothing, or a panic.
//! Holds, whatever the words: nobody is rejected unless it was refused alone, or is over the limit that the words state.

use std::borrow::Cow;
use std::time::Duration;

use afluente_pipeline::event::{EventFinalizers, EventStatus};
use afluente_sink::kinesis::InFlight;
use afluente_sink::kinesis::answer::Entry;
use afluente_sink::kinesis::core::{Core, CoreSettings, Reply};
use afluente_sink::kinesis::record::Record;
use afluente_sink::kinesis::verdict::{Trouble, index_in, record_limit_in, trouble};
use bytes::Bytes;

/// Turns after which the search counts as endless: far more than twenty records need.
const TURNS_MAX: u32 = 2000;

/// A record of the test: its size is drawn from its byte, and so is its guilt.
fn record(byte: u8, number: usize) -> (Bytes, bool) {
    let bytes = 1 + usize::from(byte & 0x7f) * 40;
    let mut data = vec![b'x'; bytes];
    data[0] = number as u8;
    (Bytes::from(data), byte & 0x80 != 0)
}

/// See the head of this file.
pub fn poison(data: &[u8]) {
    let Some((count, rest)) = data.split_first() else { return };
    let count = usize::from(count % 20) + 1;
    let Some((kinds, message)) = rest.split_at_checked(count) else { return };
    let message = String::from_utf8_lossy(message);
    if let Some(limit) = record_limit_in(&message) {
        assert!((1024..=10 * 1024 * 1024).contains(&limit) && message.contains(&limit.to_string()[..1]));
    }
    if let Some(index) = index_in(&message) {
        assert!(message.to_lowercase().contains("records.") && message.contains(&(index % 10).to_string()));
    }
    // Words about the stream's own name are no poison.
    if trouble(400, "ValidationException", &message) == Trouble::Poison {
        search(kinds, &message);
    }
}

fn search(kinds: &[u8], message: &str) {
    let records: Vec<_> = kinds.iter().enumerate().map(|(number, byte)| record(*byte, number)).collect();
    let mut core = Core::new(CoreSettings::default(), InFlight::fixed(4));
    for (number, (data, _)) in records.iter().enumerate() {
        let fate = core.open_fate(EventFinalizers::default(), Duration::ZERO);
        let key = Bytes::from(format!("k{number}"));
        core.accept(Record::keyed(data.clone(), key, number as u64, fate, Duration::ZERO));
        core.close_fate(fate);
    }
    let stored = Entry::Stored { shard: Cow::Borrowed("shardId-0"), sequence: Cow::Borrowed("1") };
    let (mut now, mut turns, mut rejected) = (Duration::ZERO, 0, 0);
    while !core.is_idle() {
        turns += 1;
        assert!(turns < TURNS_MAX, "the search does not end");
        if let Some(sealed) = core.next_request(now) {
            let number = |id| usize::from(core.record(id).unwrap().data[0]);
            if sealed.records.iter().any(|id| records[number(*id)].1) {
                core.on_reply(
                    now,
                    sealed,
                    Reply::Refused { status: 400, code: "ValidationException", message, retry_after: None },
                );
            } else {
                let entries = vec![stored.clone(); sealed.records.len()];
                core.on_reply(now, sealed, Reply::Entries(&entries));
            }
        } else if let Some(wake) = core.wake_at() {
            now = now.max(wake) + Duration::from_micros(1);
        }
        for rejection in core.take_rejections() {
            let guilty = records[usize::from(rejection.record.data[0])].1;
            let over = record_limit_in(message).is_some_and(|limit| rejection.record.weight() > limit);
            assert!(guilty || over, "rejected on words alone: {}", rejection.reason);
            rejected += 1;
            core.settle_rejected(&rejection, EventStatus::Rejected);
        }
    }
    assert_eq!(core.stats().delivered + rejected, records.len() as u64);
    assert!(rejected as usize >= records.iter().filter(|(_, guilty)| *guilty).count());
}
