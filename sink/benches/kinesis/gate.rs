//! Gate: 500 records enter and leave; nobody waits, or half wait behind the other half.
//! The floor is a set that is asked nothing but whether a key is in it.

use std::hint::black_box;

use afluente_sink::kinesis::bench::Turnstile;
use criterion::Criterion;
use hashbrown::HashTable;

use super::input::{RECORDS, group};

pub(crate) fn benches(c: &mut Criterion) {
    let hash = |n: usize| (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let distinct: Vec<_> = (0..RECORDS).map(hash).collect();
    let pairs: Vec<_> = (0..RECORDS).map(|n| hash(n % (RECORDS / 2))).collect();
    let mut group = group(c, "gate", RECORDS * size_of::<u64>());
    let mut set = HashTable::new();
    group.bench_function("floor/set", |b| {
        b.iter(|| {
            for key in black_box(&distinct) {
                set.insert_unique(*key, *key, |key| *key);
            }
            for key in black_box(&distinct) {
                if let Ok(found) = set.find_entry(*key, |known| known == key) {
                    found.remove();
                }
            }
            set.len()
        });
    });
    for (name, keys, waiting) in [("distinct", distinct.clone(), 0), ("pairs", pairs, RECORDS / 2)] {
        let mut turnstile = Turnstile::with_records(RECORDS);
        assert_eq!(turnstile.pass(&keys), waiting);
        group.bench_function(name, |b| b.iter(|| turnstile.pass(black_box(&keys))));
    }
    group.finish();
}
