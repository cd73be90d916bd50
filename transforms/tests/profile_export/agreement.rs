//! The fast code and the slow reference agree, byte for byte, on whatever the generators think of; and nothing panics.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::agree::agree;
use crate::config_of;
use crate::generate::{self, Style};

/// A record, written in some style.
fn written() -> impl Strategy<Value = Vec<u8>> {
    (generate::record(), generate::style()).prop_map(|(node, style)| node.to_text(style).into_bytes())
}

/// Any profile event that has an identity and a mapped segment now and then: fodder for `change`.
fn small_events() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let status = prop::sample::select(vec!["realized", "existing", "exited", "paused"]);
    let member = (prop::sample::select(vec!["seg-1", "seg-2", "seg-3"]), status)
        .prop_map(|(id, status)| format!("\"{id}\":{{\"status\":\"{status}\"}}"));
    let namespace = (prop::sample::select(vec!["ups", "UPS", "AAM"]), vec(member, 0..3))
        .prop_map(|(name, members)| format!("\"{name}\":{{{}}}", members.join(",")));
    let identity = (prop::sample::select(vec!["ECID", "ecid", "CRMID"]), vec(0..3_u8, 0..3), any::<bool>())
        .prop_map(|(name, ids, primary)| {
            let items: Vec<String> =
                ids.iter().map(|id| format!("{{\"id\":\"{id}\",\"primary\":{primary}}}")).collect();
            format!("\"{name}\":[{}]", items.join(","))
        });
    let attribute = prop::sample::select(vec![
        "1",
        "2",
        "null",
        "[1,2]",
        "[2,1]",
        r#"{"a":1,"b":2}"#,
        r#"{"b":2,"a":1}"#,
        r#"{"a":1.0,"b":2}"#,
        r#""\u0061""#,
        r#""a""#,
        r#"{"a":null}"#,
        "{}",
        r#"{"xdm:a":{"b":[{"c":1,"d":2}]}}"#,
        r#"{"a":{"b":[{"d":2,"c":1}]}}"#,
    ]);
    let event = (vec(namespace, 0..3), vec(identity, 1..3), attribute.clone(), attribute).prop_map(
        |(memberships, identities, a, b)| {
            format!(
                r#"{{"segmentMembership":{{{}}},"identityMap":{{{}}},"a":{a},"b":{{"c":{b}}}}}"#,
                memberships.join(","),
                identities.join(",")
            )
            .into_bytes()
        },
    );
    vec(event, 1..25)
}

/// Changes a few bytes anywhere.
fn mutate(mut record: Vec<u8>, changes: &[(usize, u8, u8)]) -> Vec<u8> {
    const TOKENS: &[u8] = b"{}[]:,\"\\ntf0-.eE+ \n\t\r\x00\x1f\x7f\x80\xffu";
    for (place, kind, byte) in changes {
        let at = place % (record.len() + 1);
        let byte = if kind % 2 == 0 { *byte } else { TOKENS[usize::from(*byte) % TOKENS.len()] };
        match kind % 6 {
            0 | 1 if at < record.len() => record[at] = byte,
            2 | 3 => record.insert(at, byte),
            4 => record.truncate(at),
            _ if at < record.len() => drop(record.remove(at)),
            _ => {}
        }
    }
    record
}

/// A record whose memberships or identities lack a few of their pieces, or have others instead.
fn jumbled() -> impl Strategy<Value = Vec<u8>> {
    const IDENTITY: &[&str] =
        &["\"id\":\"", "x", "\"", ",", "\"primary\":", "true", ",", "\"authenticatedState\":\"", "y", "\""];
    const MEMBERSHIP: &[&str] = &[
        "\"72ddd79b-6b0a-4e97-a8d2-112ccd81bd02",
        "\":{\"",
        "lastQualificationTime\":\"",
        "2024-01-02T03:04:05Z",
        "\",",
        "\"status\":\"",
        "realized",
        "\"",
        "}",
        ",",
        "\"seg-1\":{",
        "\"status\":\"",
        "exited",
        "\"",
        "}",
    ];
    const OTHERS: &[&str] = &["\\", "\u{1}", "\"", ",", ":", "}", "{", "]", "null", "é", "\\u0041"];
    let edits = vec((any::<prop::sample::Index>(), prop::sample::select(OTHERS), 0..4_u8), 1..4);
    (any::<bool>(), any::<prop::sample::Index>(), edits).prop_map(|(membership, start, edits)| {
        let mut pieces = (if membership { MEMBERSHIP } else { IDENTITY }).to_vec();
        if !membership && start.index(3) == 0 {
            // The id last.
            pieces.rotate_left(4);
            pieces.insert(6, ",");
            pieces.pop();
        }
        // Members that follow each other make a shape of their own.
        let whole = pieces.concat();
        for (place, piece, kind) in edits {
            let at = place.index(pieces.len().max(1));
            match kind {
                0 => pieces.insert(at, piece),
                1 => drop(pieces.splice(at..pieces.len().min(at + 1), [piece])),
                2 => drop(pieces.splice(at..pieces.len().min(at + 1), [])),
                _ => drop(pieces.splice(at..pieces.len().min(at + 2), [])),
            }
        }
        let whole = if start.index(2) == 0 { format!("{{{whole}}},") } else { String::new() };
        let changed = pieces.concat();
        if membership {
            format!(r#"{{"segmentMembership":{{"ups":{{{changed}}}}},"identityMap":{{"E":[{{"id":"1"}}]}}}}"#)
        } else {
            format!(r#"{{"segmentMembership":{{}},"identityMap":{{"E":[{whole}{{{changed}}}]}}}}"#)
        }
        .into_bytes()
    })
}

const EVERY: &[&str] = &["\"every\"", "\"relevant\"", "\"change\""];
const CHANGE: &[&str] = &["\"change\""];

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn members_that_lack_a_piece_are_told_from_whole_ones(records in vec(jumbled(), 1..30)) {
        agree(config_of("{}"), &records);
    }

    #[test]
    fn fast_and_slow_agree_on_generated_records(
        config in generate::config(EVERY),
        records in vec(written(), 1..8),
    ) {
        agree(config_of(&config), &records);
    }

    #[test]
    fn fast_and_slow_agree_on_the_memory_of_change(
        config in generate::config(CHANGE),
        attributes in prop::sample::subsequence(vec!["a", "b", "b.c", "a.b"], 0..4),
        records in small_events(),
    ) {
        let attributes = serde_json::to_string(&attributes).unwrap();
        let start = config.find("],\"segments\"").unwrap();
        let config = config[start + 2..].replace("\"input_root\":\"/body~1~0/\"", "\"backfill\":true");
        let config = format!("{{\"attributes\":{attributes},\"trigger\":\"change\",{config}");
        // Keys that come twice in the text: the last counts, as anywhere in JSON.
        agree(config_of(&config), &records);
    }

    #[test]
    fn fast_and_slow_agree_on_broken_records(
        config in generate::config(EVERY),
        record in written(),
        changes in vec(vec(any::<(usize, u8, u8)>(), 1..4), 1..8),
    ) {
        // The first one, whole, teaches its shape.
        let mut records = vec![record.clone()];
        records.extend(changes.iter().map(|changes| mutate(record.clone(), changes)));
        records.push(record);
        agree(config_of(&config), &records);
    }

    // Long enough for several shapes to be learned, and for records to leave one half way.
    #[test]
    fn fast_and_slow_agree_on_records_that_come_again_a_little_changed(
        config in generate::config(EVERY),
        kinds in vec(written(), 1..5),
        turns in vec((any::<usize>(), vec(any::<(usize, u8, u8)>(), 0..2)), 40..90),
    ) {
        let turn = |(kind, changes): &(usize, Vec<_>)| mutate(kinds[kind % kinds.len()].clone(), changes);
        agree(config_of(&config), &turns.iter().map(turn).collect::<Vec<_>>());
    }

    #[test]
    fn fast_and_slow_agree_on_any_bytes(config in generate::config(EVERY), record in vec(any::<u8>(), 0..200)) {
        agree(config_of(&config), &[record]);
    }

    #[test]
    fn fast_and_slow_agree_on_any_json_like_text(
        config in generate::config(EVERY),
        record in r#"[\[\]{}:,"\\nulltrefas0-9.eE+\- \n]{0,40}"#,
    ) {
        agree(config_of(&config), &[record.into_bytes()]);
    }

    #[test]
    fn where_a_record_lies_in_its_blocks_does_not_matter(
        config in generate::config(EVERY),
        node in generate::profile(),
        escapes in 0..4_usize,
        before in 0..70_usize,
        after in 0..70_usize,
    ) {
        let text = node.to_text(Style { space: "", inside: "", escapes });
        let record = format!("{}{text}{}", " ".repeat(before), "\n".repeat(after));
        agree(config_of(&config), &[record.into_bytes()]);
    }
}

/// Enough to find what matters in seconds; more with `PROFILE_EXPORT_CASES`.
fn cases() -> u32 {
    std::env::var("PROFILE_EXPORT_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(256)
}
