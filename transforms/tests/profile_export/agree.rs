//! Agree: the fast code and the slow reference say the same of a sequence of records, byte for byte.
//! In: a configuration and records.  Out: nothing, or a panic that shows the record. Shared with the fuzz targets.

use afluente_transforms::profile_export::{ProfileExportConfig, Timestamp};

use super::json::Tree;
use super::reference::Reference;
use super::seen::{Seen, dropped, run};

/// Two ways that a record may be reported when it is both too deep and broken otherwise.
fn either(seen: &Seen) -> bool {
    *seen == dropped("invalid_json") || *seen == dropped("too_deep")
}

/// Runs all records through both and compares.
pub fn agree(config: ProfileExportConfig, records: &[impl AsRef<[u8]>]) {
    let now = Timestamp::parse("2024-06-01T00:00:00Z").unwrap();
    let mut fast = config.compile().unwrap();
    let mut slow = Reference::new(config, now.unix_nanos());
    for record in records {
        let record = record.as_ref();
        let (seen, key) = run(&mut fast, record, now);
        let (expected, expected_key) = slow.handle(record);
        let shown = String::from_utf8_lossy(record);
        assert!(seen == expected || either(&seen) && either(&expected), "{shown}\n{seen:?}\n{expected:?}");
        let expected_key = expected_key.map_or(String::new(), |(namespace, id)| format!("{namespace}:{id}"));
        assert_eq!(String::from_utf8_lossy(&key), expected_key, "{}", shown);
        if let Seen::Export(output) = &seen {
            let tree = Tree::read(output, 10_000);
            assert!(tree.is_ok_and(|tree| tree.to_text() == *output), "{output} is not compact JSON");
        }
    }
    let counters = fast.counters();
    assert_eq!(counters.received, records.len() as u64);
    let ends =
        counters.exported + counters.skipped.iter().sum::<u64>() + counters.dropped.iter().sum::<u64>();
    assert_eq!(counters.received, ends);
}
