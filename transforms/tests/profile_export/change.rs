//! The memory of `trigger: change`: forgetting in the right order, many segments, and what it weighs.

use afluente_transforms::profile_export::{Outcome, ProfileExportConfig, Segment, Timestamp, Trigger};

use crate::reference::Reference;
use crate::{Seen, config_of, export, mapper, run, skipped};

fn event(id: u64, status: &str, more: &str) -> String {
    format!(
        r#"{{"segmentMembership":{{"ups":{{"s":{{"status":"{status}"}}}}}},"identityMap":{{"E":[{{"id":"{id}"}}]}}{more}}}"#
    )
}

#[test]
fn the_profile_seen_least_recently_is_forgotten_first() {
    let config = r#"{"segments":[{"id":"s"}],"trigger":"change","state_max_profiles":50}"#;
    let mut fast = mapper(config);
    let mut slow = Reference::new(config_of(config), 0);
    let mut dice: u64 = 7;
    for n in 0..20_000 {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Small ids come often, so that some are always remembered and some never; now and then nothing is remembered.
        let id = ((dice >> 33) % 100).min((dice >> 40) % 100);
        let status = ["realized", "existing", "exited", "unknown"][(dice >> 20) as usize % 4];
        let record = event(id, status, "");
        let seen = run(&mut fast, record.as_bytes(), Timestamp::default()).0;
        assert_eq!(seen, slow.handle(record.as_bytes()).0, "event {n}");
        assert!(fast.profiles_remembered() <= 50);
    }
    assert_eq!(fast.profiles_remembered(), 50);
}

#[test]
fn a_memory_of_one_remembers_one() {
    let mut mapper = mapper(r#"{"trigger":"change","state_max_profiles":1}"#);
    let mut seen = |id| run(&mut mapper, event(id, "existing", "").as_bytes(), Timestamp::default()).0;
    assert!(matches!(seen(1), Seen::Export(_)));
    assert_eq!(seen(1), skipped("no_relevant_change"));
    assert!(matches!(seen(2), Seen::Export(_)));
    assert!(matches!(seen(1), Seen::Export(_)), "2 took its place");
}

#[test]
fn each_of_many_segments_is_told_apart() {
    // More than fit into one word, and into two.
    for count in [31, 32, 33, 64, 65, 250] {
        let segments = (0..count).map(|n| Segment::new(format!("s{n}"))).collect();
        let config = ProfileExportConfig { segments, trigger: Trigger::Change, ..Default::default() };
        let (mut fast, mut slow) = (config.compile().unwrap(), Reference::new(config.clone(), 0));
        let mut check = |skip: usize, exited: usize| {
            let members: Vec<String> = (0..count)
                .filter(|n| *n != skip)
                .map(|n| {
                    format!(r#""s{n}":{{"status":"{}"}}"#, if n == exited { "exited" } else { "existing" })
                })
                .collect();
            let record = format!(
                r#"{{"segmentMembership":{{"ups":{{{}}}}},"identityMap":{{"E":[{{"id":"1"}}]}}}}"#,
                members.join(",")
            );
            let seen = run(&mut fast, record.as_bytes(), Timestamp::default()).0;
            assert_eq!(
                seen,
                slow.handle(record.as_bytes()).0,
                "{count} segments, without {skip}, {exited} exited"
            );
        };
        for n in [0, 1, 30, 31, 32, 33, 63, 64, count - 1] {
            check(count, count);
            check(count, count);
            check(count, n);
            check(n, count);
            check(count, count);
        }
    }
}

#[test]
fn a_dropped_record_never_touches_the_memory() {
    let mut mapper = mapper(r#"{"trigger":"change","attributes":["a"]}"#);
    let mut seen = |record: &str| run(&mut mapper, record.as_bytes(), Timestamp::default()).0;
    seen(&event(1, "existing", ",\"a\":1"));
    seen(&event(1, "existing", ",\"a\":2}"));
    seen(&event(1, "existing", ",\"identityMap\":{}"));
    assert_eq!(seen(&event(1, "existing", ",\"a\":1")), skipped("no_relevant_change"));
    assert_eq!(mapper.profiles_remembered(), 1);
}

#[test]
fn numbers_compare_as_text_and_strings_as_characters() {
    let mut mapper = mapper(r#"{"trigger":"change","attributes":["a"]}"#);
    let mut seen = |a: &str| {
        run(&mut mapper, event(1, "existing", &format!(",\"a\":{a}")).as_bytes(), Timestamp::default()).0
    };
    let same = skipped("no_relevant_change");
    seen("{\"k\":1,\"l\":\"é/\"}");
    assert_eq!(seen("{\"l\":\"\\u00e9\\/\",\"k\":1}"), same);
    assert_eq!(seen("{\"xdm:l\":\"é/\",\"x\":null, \"k\":1}"), same);
    assert_ne!(seen("{\"l\":\"é/\",\"k\":1.0}"), same);
    assert_ne!(seen("{\"l\":\"é/\",\"k\":\"1.0\"}"), same);
    assert_ne!(seen("{\"l\":\"e\u{301}/\",\"k\":\"1.0\"}"), same);
    assert_ne!(seen("null"), same);
    assert_eq!(seen("null"), same);
}

#[test]
fn an_event_without_a_key_is_always_first_sight() {
    let mut mapper =
        mapper(r#"{"trigger":"change","key_namespaces":["CRMID"],"segments":[{"id":"s"}],"backfill":false}"#);
    let mut seen = |status| run(&mut mapper, event(1, status, "").as_bytes(), Timestamp::default());
    for _ in 0..2 {
        let record =
            r#"{"segmentMembership":{"ups":{"s":{"status":"realized"}}},"identityMap":{"E":[{"id":"1"}]}}"#;
        assert_eq!(seen("realized"), (export(record), Vec::new()));
        assert_eq!(seen("existing").0, skipped("historical"));
        assert_eq!(seen("unknown").0, skipped("no_mapped_segment"));
    }
    assert_eq!(mapper.profiles_remembered(), 0);
}

#[test]
fn a_remembered_profile_weighs_less_than_200_bytes() {
    let segments = (0..3).map(|n| Segment::new(format!("s{n}"))).collect();
    let config = ProfileExportConfig {
        segments,
        trigger: Trigger::Change,
        state_max_profiles: 1_000_000,
        ..Default::default()
    };
    let mut mapper = config.compile().unwrap();
    let (mut out, mut key) = (Vec::new(), Vec::new());
    // Just past a doubling is where spare room is largest.
    for id in 0..70_000_u64 {
        let record = format!(
            r#"{{"segmentMembership":{{"ups":{{"s1":{{}}}}}},"identityMap":{{"E":[{{"id":"{id}"}}],"F":[{{"id":"f"}}]}}}}"#
        );
        out.clear();
        key.clear();
        assert_eq!(mapper.map(record.as_bytes(), Timestamp::default(), &mut out, &mut key), Outcome::Export);
    }
    let each = mapper.memory_held_bytes() / mapper.profiles_remembered();
    assert!((64..200).contains(&each), "{each} bytes");
}
