//! Tests of answers: the fast reader agrees with serde on anything, and no bytes make it panic.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn stored(shard: &str, sequence: &str) -> Entry<'static> {
    Entry::Stored { shard: shard.to_owned().into(), sequence: sequence.to_owned().into() }
}

fn failed(code: &str, message: &str) -> Entry<'static> {
    Entry::Failed { code: code.to_owned().into(), message: message.to_owned().into() }
}

fn entries(body: &str, expected_len: usize) -> Vec<Entry<'_>> {
    parse_put_records(body.as_bytes(), expected_len).unwrap().entries
}

fn refused(body: &str, expected_len: usize) -> AnswerError {
    parse_put_records(body.as_bytes(), expected_len).unwrap_err()
}

#[test]
fn the_services_own_form_is_read_by_the_fast_way() {
    let body = r#"{"EncryptionType":"KMS","FailedRecordCount":1,"Records":[{"SequenceNumber":"495","ShardId":"shardId-000000000000"},{"ErrorCode":"InternalFailure","ErrorMessage":"Internal service failure."},{"ShardId":"shardId-000000000001","SequenceNumber":"496"}]}"#;
    let fast = Compact::new(body).answer(3).unwrap();
    assert_eq!(fast.failed_record_count, Some(1));
    assert_eq!(
        fast.entries,
        [
            stored("shardId-000000000000", "495"),
            failed("InternalFailure", "Internal service failure."),
            stored("shardId-000000000001", "496"),
        ]
    );
    let borrowed = fast.entries.iter().all(|entry| {
        matches!(
            entry,
            Entry::Stored { shard: Cow::Borrowed(_), sequence: Cow::Borrowed(_) }
                | Entry::Failed { code: Cow::Borrowed(_), message: Cow::Borrowed(_) }
        )
    });
    assert!(borrowed, "nothing is copied");
    assert_eq!(parse_put_records(body.as_bytes(), 3).unwrap(), fast);
}

#[test]
fn order_white_space_escapes_nulls_and_unknown_fields_do_not_matter() {
    let body = r#" { "Records" : [ { "New" : {"a":[1,{}]}, "ShardId" : "shardId-\u0030", "SequenceNumber":"1",
        "ErrorCode":null,"ErrorMessage":null }, {"ErrorMessage":"a \"quoted\" word","ErrorCode":"X","ShardId":null} ],
        "Later":[true], "FailedRecordCount": 1 } "#;
    assert_eq!(entries(body, 2), [stored("shardId-0", "1"), failed("X", "a \"quoted\" word")]);
}

#[test]
fn a_code_without_a_message_is_a_failure() {
    assert_eq!(entries(r#"{"Records":[{"ErrorCode":"X"}]}"#, 1), [failed("X", "")]);
}

#[test]
fn another_number_of_entries_says_nothing_about_any_record() {
    let one = r#"{"Records":[{"SequenceNumber":"1","ShardId":"s"}]}"#;
    for expected in [0, 2, 500] {
        assert!(matches!(refused(one, expected), AnswerError::Length { got: 1, .. }));
    }
    assert!(matches!(refused(r#"{"Records":[]}"#, 1), AnswerError::Length { got: 0, expected: 1 }));
}

#[test]
fn an_entry_that_says_neither_or_both_is_refused() {
    for entry in [
        "{}",
        r#"{"SequenceNumber":"1"}"#,
        r#"{"ShardId":"s"}"#,
        r#"{"SequenceNumber":"","ShardId":"s"}"#,
        r#"{"SequenceNumber":"1","ShardId":""}"#,
        r#"{"ErrorCode":"","ErrorMessage":"m"}"#,
        r#"{"ErrorMessage":"m"}"#,
        r#"{"SequenceNumber":"1","ShardId":"s","ErrorCode":"X"}"#,
        r#"{"SequenceNumber":null,"ShardId":null,"ErrorCode":null}"#,
    ] {
        let body = format!(r#"{{"Records":[{{"SequenceNumber":"1","ShardId":"s"}},{entry}]}}"#);
        assert!(matches!(refused(&body, 2), AnswerError::Entry { index: 1 }), "{entry}");
    }
}

#[test]
fn what_is_not_such_json_is_refused_without_repeating_it() {
    for body in [
        "",
        "{",
        "null",
        "[]",
        "<html>secret</html>",
        r#"{"Records":null}"#,
        r#"{"FailedRecordCount":0}"#,
        r#"{"Records":[{"SequenceNumber":"1","ShardId":"s"}]}x"#,
        r#"{"Records":[{"SequenceNumber":"1","ShardId":"s"},]}"#,
        r#"{"Records":[{"SequenceNumber":"1","ShardId":7}]}"#,
        r#"{"Records":[{"SequenceNumber":"1","SequenceNumber":"2","ShardId":"secret"}]}"#,
    ] {
        let error = refused(body, 1);
        assert!(matches!(error, AnswerError::Json(_)), "{body}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    assert!(matches!(parse_put_records(b"{\"Records\":[\xff]}", 1), Err(AnswerError::Json(_))));
    let deep = format!(r#"{{"X":{}}}"#, "[".repeat(100_000));
    assert!(matches!(refused(&deep, 1), AnswerError::Json(_)));
}

/// The same meaning, read through a tree.
fn reference(body: &[u8], expected_len: usize) -> Option<Vec<Entry<'static>>> {
    let tree: Value = serde_json::from_slice(body).ok()?;
    let records = tree.as_object()?.get("Records")?.as_array()?;
    if records.len() != expected_len {
        return None;
    }
    records
        .iter()
        .map(|record| {
            let record = record.as_object()?;
            let text = |key: &str| match record.get(key) {
                None | Some(Value::Null) => Some(None),
                Some(Value::String(text)) => Some(Some(text.as_str())),
                _ => None,
            };
            let said = |key: &str| text(key).map(|text| text.filter(|text| !text.is_empty()));
            let message = text("ErrorMessage")?.unwrap_or_default();
            match (said("SequenceNumber")?, said("ShardId")?, said("ErrorCode")?) {
                (Some(sequence), Some(shard), None) => Some(stored(shard, sequence)),
                (None, _, Some(code)) => Some(failed(code, message)),
                _ => None,
            }
        })
        .collect()
}

fn any_entry() -> impl Strategy<Value = Value> {
    let text = prop_oneof![4 => "[a-zA-Z0-9-]{1,20}", 1 => "\\PC{0,12}"];
    prop_oneof![
        6 => (text.clone(), text.clone()).prop_map(|(a, b)| json!({"SequenceNumber": a, "ShardId": b})),
        2 => (text.clone(), text.clone()).prop_map(|(a, b)| json!({"ShardId": a, "SequenceNumber": b})),
        3 => (text.clone(), text.clone()).prop_map(|(a, b)| json!({"ErrorCode": a, "ErrorMessage": b})),
        1 => (text.clone(), text.clone()).prop_map(|(a, b)| json!({"ErrorMessage": a, "ErrorCode": b})),
        1 => text.clone().prop_map(|a| json!({"ErrorCode": a, "ShardId": null, "Extra": [1, {"x": null}]})),
        1 => text.prop_map(|a| json!({"SequenceNumber": a})),
    ]
}

fn any_answer() -> impl Strategy<Value = (Vec<u8>, usize)> {
    (proptest::collection::vec(any_entry(), 0..8), any::<u64>(), any::<bool>(), any::<bool>()).prop_map(
        |(records, count, pretty, first)| {
            let expected = records.len();
            let tree = if first {
                json!({"EncryptionType": "NONE", "FailedRecordCount": count, "Records": records})
            } else {
                json!({"Records": records, "FailedRecordCount": count})
            };
            let body = if pretty { serde_json::to_vec_pretty(&tree) } else { serde_json::to_vec(&tree) };
            (body.unwrap(), expected)
        },
    )
}

proptest! {
    #[test]
    fn both_ways_of_reading_agree_with_a_tree((body, expected) in any_answer()) {
        let found = parse_put_records(&body, expected).ok().map(|answer| answer.entries);
        prop_assert_eq!(&found, &reference(&body, expected));
        if let Some(fast) = Compact::new(std::str::from_utf8(&body).unwrap()).answer(expected) {
            prop_assert_eq!(Some(fast.entries), found);
        }
    }

    #[test]
    fn damaged_answers_never_panic_and_never_say_more_than_a_tree(
        (mut body, expected) in any_answer(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..5),
    ) {
        for (place, byte, kind) in edits {
            if body.is_empty() { break }
            let at = place.index(body.len());
            match kind {
                0 => body[at] = byte,
                1 => { body.remove(at); }
                _ => body.truncate(at),
            }
        }
        // A tree keeps the last of two equal fields where ours refuses them, and looks into fields that ours skips.
        if let (Ok(answer), Ok(_)) = (parse_put_records(&body, expected), serde_json::from_slice::<Value>(&body)) {
            prop_assert_eq!(Some(answer.entries), reference(&body, expected));
        }
    }

    #[test]
    fn any_bytes_are_survived(body in proptest::collection::vec(any::<u8>(), 0..300), expected in 0..5usize) {
        let _ = parse_put_records(&body, expected);
        let error = ServiceError::parse(&body, None);
        prop_assert!(error.message.chars().count() <= MESSAGE_CHARS_MAX + 1);
    }

    #[test]
    fn a_quoted_value_is_never_repeated(value in "[a-z' ]{1,30}", tail in "[a-z]{1,10}") {
        let body = json!({"__type": "ValidationException", "message": format!(
            "1 validation error detected: Value 'X{value}X' at 'records.3.member.partitionKey' failed to satisfy \
             constraint: Member must have length less than or equal to 256 {tail}")});
        let message = ServiceError::parse(body.to_string().as_bytes(), None).message;
        let expected = format!("1 validation error detected: Value '…' at 'records.3.member.partitionKey' failed to \
             satisfy constraint: Member must have length less than or equal to 256 {tail}");
        prop_assert_eq!(message, expected);
    }
}

#[test]
fn a_refusal_has_a_bare_code_and_the_services_words() {
    for (body, header, code, message) in [
        (
            r#"{"__type":"ResourceNotFoundException","message":"Stream x not found."}"#,
            None,
            "ResourceNotFoundException",
            "Stream x not found.",
        ),
        (
            r#"{"__type":"com.amazonaws.kinesis.v20131202#ExpiredTokenException","Message":"The security token\nincluded"}"#,
            None,
            "ExpiredTokenException",
            "The security token included",
        ),
        (r#"{"code":"X:http://internal.amazon.com/coral/","message":""}"#, None, "X", ""),
        (r#"{"message":"m"}"#, Some("AccessDeniedException:http://internal/"), "AccessDeniedException", "m"),
        (r#"{"__type":7,"message":{}}"#, Some("Y"), "Y", ""),
        ("", Some("InternalFailure"), "InternalFailure", ""),
        ("", None, "", ""),
    ] {
        let found = ServiceError::parse(body.as_bytes(), header);
        assert_eq!(found, ServiceError { code: code.to_owned(), message: message.to_owned() });
    }
}

#[test]
fn a_proxys_page_becomes_a_short_line() {
    let page = "<html><head><style>body { x }</style><script>if (a<b) {}</script><title>502 Bad Gateway</title></head>\r\n\
                <body><h1>Upstream <b>down</b></h1></body></html>";
    let found = ServiceError::parse(page.as_bytes(), None);
    assert_eq!(
        found,
        ServiceError { code: String::new(), message: "502 Bad Gateway Upstream down".to_owned() }
    );
    let long = ServiceError::parse("ä ".repeat(100_000).as_bytes(), None);
    assert_eq!(long.message.chars().count(), SNIPPET_CHARS_MAX + 1);
}

#[test]
fn an_unfinished_quotation_takes_the_rest_of_the_message_with_it() {
    let body = json!({"__type": "ValidationException", "message": "Value 'jane@example.com is odd"});
    assert_eq!(ServiceError::parse(body.to_string().as_bytes(), None).message, "Value '…");
}
