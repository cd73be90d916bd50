//! Tests of the file above: the option tables, and properties on generated input.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use chrono::TimeZone;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::event::SourceMetadata;

fn config(options: serde_json::Value) -> EncodingConfig {
    serde_json::from_value(options).unwrap()
}

fn encoder(options: serde_json::Value) -> Encoder {
    Encoder::new(&config(options)).unwrap()
}

fn json_event(text: &str) -> LogEvent {
    LogEvent::from_json_bytes(Bytes::copy_from_slice(text.as_bytes()), EventMetadata::default())
}

fn time() -> DateTime<Utc> {
    Utc.timestamp_opt(1_769_851_800, 123_456_789).single().unwrap()
}

fn message_event(message: &'static [u8]) -> LogEvent {
    let mut fields = ObjectMap::new();
    fields.insert("host".into(), Value::from("h1"));
    let shared = SourceMetadata {
        source_type: Some("stdin"),
        ingest_timestamp: Some(time()),
        fields,
        ..SourceMetadata::default()
    };
    LogEvent::from_message_bytes(Bytes::from_static(message), EventMetadata::from_source(Arc::new(shared)))
}

fn text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn unchanged_json_leaves_as_it_came_without_a_copy() {
    let source = Bytes::from_static(b"{ \"b\": 1.50,\n\"a\": 18446744073709551615 }");
    let event = LogEvent::from_json_bytes(source.clone(), EventMetadata::default());
    let encoder = encoder(json!({"codec": "json", "timestamp_format": "unix"}));
    let encoded = encoder.encode(&event).unwrap();
    assert_eq!(encoded, source);
    assert_eq!(encoded.as_ptr(), source.as_ptr(), "shared, not copied");
    let (owned, _) = encoder.encode_owned(event);
    assert_eq!(owned.unwrap().as_ptr(), source.as_ptr());
}

#[test]
fn each_codec_writes_what_vector_writes() {
    let tree = LogEvent::from(serde_json::from_str::<Value>(r#"{"b":2,"a":{"z":1,"y":[]}}"#).unwrap());
    let number = json_event(r#"{"message":12.50}"#);
    let cases: Vec<(serde_json::Value, LogEvent, &str)> = vec![
        (json!({"codec": "json"}), tree.clone(), r#"{"a":{"y":[],"z":1},"b":2}"#),
        (
            json!({"codec": "json", "json": {"pretty": true}}),
            json_event(r#"{"b":1,"a":[2]}"#),
            "{\n  \"a\": [\n    2\n  ],\n  \"b\": 1\n}",
        ),
        (
            json!({"codec": "json"}),
            message_event(b"hi \"you\""),
            r#"{"host":"h1","message":"hi \"you\"","source_type":"stdin","timestamp":"2026-01-31T09:30:00.123456789Z"}"#,
        ),
        (
            json!({"codec": "json", "timestamp_format": "unix"}),
            message_event(b"a\xff"),
            "{\"host\":\"h1\",\"message\":\"a\u{fffd}\",\"source_type\":\"stdin\",\"timestamp\":1769851800}",
        ),
        (json!({"codec": "text"}), message_event(b"plain"), "plain"),
        (json!({"codec": "raw_message"}), message_event(b"plain"), "plain"),
        (json!({"codec": "text"}), json_event(r#"{"message":"from \u00e4 field","a":1}"#), "from ä field"),
        (json!({"codec": "text"}), number, "12.5"),
        (json!({"codec": "text"}), json_event(r#"{"message":null}"#), ""),
        (json!({"codec": "raw_message"}), tree, ""),
        (json!({"codec": "text", "except_fields": ["message"]}), message_event(b"secret"), ""),
        (json!({"codec": "text", "timestamp_format": "unix"}), message_event(b"same"), "same"),
    ];
    for (options, event, expected) in cases {
        let encoder = encoder(options.clone());
        assert_eq!(text(&encoder.encode(&event).unwrap()), expected, "{options}");
        let mut appended = b">".to_vec();
        encoder.encode_to(&event, &mut appended).unwrap();
        assert_eq!(appended, format!(">{expected}").into_bytes(), "{options}");
        assert_eq!(text(&encoder.encode_owned(event).0.unwrap()), expected, "{options}");
    }
}

#[test]
fn raw_messages_keep_bytes_that_are_not_text() {
    let encoded = encoder(json!({"codec": "raw_message"})).encode(&message_event(b"\xff\x00\xfe")).unwrap();
    assert_eq!(&encoded[..], b"\xff\x00\xfe");
}

#[test]
fn fields_are_chosen_by_path_and_exceptions_come_first() {
    let source = r#"{"user":{"id":7,"mail":"m"},"traits":{"a":1},"odd key":2,"list":[10,20]}"#;
    for (only, except, expected) in [
        (json!([".user.id", "traits"]), json!(null), r#"{"traits":{"a":1},"user":{"id":7}}"#),
        (json!(["\"odd key\"", "absent"]), json!(null), r#"{"odd key":2}"#),
        (json!([]), json!(null), "{}"),
        (
            json!(null),
            json!(["user.mail", ".list", "\"odd key\"", "absent.deep"]),
            r#"{"traits":{"a":1},"user":{"id":7}}"#,
        ),
        (json!(["user"]), json!(["user.mail"]), r#"{"user":{"id":7}}"#),
        (json!(null), json!([]), source),
    ] {
        let encoder = encoder(json!({"codec": "json", "only_fields": only, "except_fields": except}));
        assert_eq!(text(&encoder.encode(&json_event(source)).unwrap()), expected, "{only} {except}");
    }
}

#[test]
fn a_path_in_both_lists_is_refused() {
    let both = config(json!({"codec": "json", "only_fields": [".a", "b"], "except_fields": ["c", "a"]}));
    assert_eq!(
        Encoder::new(&both).unwrap_err(),
        "`except_fields` and `only_fields` should be mutually exclusive."
    );
    let broken = config(json!({"codec": "json", "only_fields": ["a..b"]}));
    assert_eq!(
        Encoder::new(&broken).unwrap_err(),
        "`encoding.only_fields`: `a..b` is not a path of a field, such as `.user.id` or `traits`"
    );
}

#[test]
fn json_that_cannot_be_read_is_refused_rather_than_sent_with_a_field_that_must_stay() {
    let deep = format!(r#"{{"secret":1,"a":{}{}}}"#, "[".repeat(300), "]".repeat(300));
    let event = json_event(&deep);
    let filtering = encoder(json!({"codec": "json", "except_fields": ["secret"]}));
    let error = filtering.encode(&event).unwrap_err();
    assert!(matches!(error, EncodeError::Unreadable(_)), "{error}");
    assert!(!error.to_string().contains("secret"));
    let mut out = b"kept".to_vec();
    filtering.encode_to(&event, &mut out).unwrap_err();
    assert_eq!(out, b"kept");
    assert_eq!(text(&encoder(json!({"codec": "json"})).encode(&event).unwrap()), deep);
}

#[test]
fn timestamp_formats_touch_native_timestamps_only() {
    for (format, expected) in [
        ("rfc3339", r#""2026-01-31T09:30:00.123456789Z""#),
        ("unix", "1769851800"),
        ("unix_ms", "1769851800123"),
        ("unix_us", "1769851800123456"),
        ("unix_ns", "1769851800123456789"),
        ("unix_float", "1769851800.123456"),
    ] {
        let mut tree: Value =
            serde_json::from_value(json!({"s": "2026-01-31T09:30:00Z", "n": [[]]})).unwrap();
        tree.insert(&parse_value_path("n[0][0].t").unwrap(), Value::Timestamp(time()));
        let encoded = encoder(json!({"codec": "json", "timestamp_format": format}))
            .encode(&LogEvent::from(tree))
            .unwrap();
        assert_eq!(text(&encoded), format!(r#"{{"n":[[{{"t":{expected}}}]],"s":"2026-01-31T09:30:00Z"}}"#));
    }
}

#[test]
fn a_time_beyond_nanoseconds_is_an_error_not_a_wrong_number() {
    let mut tree = Value::Object(ObjectMap::new());
    tree.insert(
        &parse_value_path("t").unwrap(),
        Value::Timestamp(Utc.with_ymd_and_hms(2500, 1, 1, 0, 0, 0).single().unwrap()),
    );
    let error = encoder(json!({"codec": "json", "timestamp_format": "unix_ns"}))
        .encode(&LogEvent::from(tree))
        .unwrap_err();
    assert!(error.to_string().contains("1677 to 2262"), "{error}");
}

#[test]
fn an_owned_event_gives_its_metadata_back_in_either_case() {
    let key = Bytes::from_static(b"k");
    let mut fine = message_event(b"x");
    fine.metadata_mut().set_partition_key(key.clone());
    let mut broken = json_event("{");
    broken.metadata_mut().set_partition_key(key.clone());
    let encoder = encoder(json!({"codec": "json", "except_fields": ["host"]}));
    for (event, encodes) in [(fine, true), (broken, false)] {
        let (encoded, metadata) = encoder.encode_owned(event);
        assert_eq!(encoded.is_ok(), encodes);
        assert_eq!(metadata.partition_key(), Some(&key));
    }
}

#[test]
fn options_read_as_in_vector_and_others_say_what_is_supported() {
    let all: EncodingConfig = serde_yaml_ng::from_str(
        "{codec: json, metric_tag_values: full, unknown: 1, json: {pretty: true}, only_fields: null}",
    )
    .unwrap();
    assert!(all.json.pretty && all.only_fields.is_none());
    for (options, expected) in [
        ("{codec: avro}", "codec `avro` is not supported, expected one of `json`, `text`, `raw_message`"),
        ("{}", "missing field `codec`"),
        ("{codec: json, timestamp_format: iso}", "unknown variant `iso`"),
    ] {
        let error = serde_yaml_ng::from_str::<EncodingConfig>(options).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let written = serde_json::to_value(config(json!({"codec": "raw_message"}))).unwrap();
    assert_eq!(written, json!({"codec": "raw_message", "json": {"pretty": false}}));
}

fn frames(framing: serde_json::Value) -> Vec<u8> {
    let framing: FramingConfig = serde_json::from_value(framing).unwrap();
    let encoder = StreamEncoder::new(&config(json!({"codec": "text"})), Some(&framing)).unwrap();
    let mut out = Vec::new();
    for message in [&b"ab"[..], b"", b"cde"] {
        encoder.encode_to(&LogEvent::from_bytes_legacy(&Bytes::copy_from_slice(message)), &mut out).unwrap();
    }
    out
}

#[test]
fn frames_are_told_apart_as_the_method_says() {
    for (framing, expected) in [
        (json!({"method": "bytes"}), &b"abcde"[..]),
        (json!({"method": "newline_delimited"}), b"ab\n\ncde\n"),
        (
            json!({"method": "character_delimited", "character_delimited": {"delimiter": "\u{0}"}}),
            b"ab\0\0cde\0",
        ),
        (json!({"method": "length_delimited"}), b"\0\0\0\x02ab\0\0\0\0\0\0\0\x03cde"),
        (
            json!({"method": "length_delimited", "length_delimited":
                {"length_field_length": 2, "length_field_is_big_endian": false}}),
            b"\x02\0ab\0\0\x03\0cde",
        ),
        (json!({"method": "varint_length_delimited"}), b"\x02ab\0\x03cde"),
    ] {
        assert_eq!(frames(framing.clone()), expected, "{framing}");
    }
}

#[test]
fn a_long_frame_has_a_long_varint() {
    let framing = FramingConfig::VarintLengthDelimited;
    let encoder = StreamEncoder::new(&Codec::Text.into(), Some(&framing)).unwrap();
    let mut out = b"x".to_vec();
    encoder.encode_to(&LogEvent::from_str_legacy("y".repeat(300)), &mut out).unwrap();
    assert_eq!(&out[..4], b"x\xac\x02y");
    assert_eq!(out.len(), 1 + 2 + 300);
}

#[test]
fn a_frame_that_is_too_long_leaves_nothing_behind() {
    for options in [json!({"max_frame_length": 3}), json!({"length_field_length": 1})] {
        let framing: FramingConfig =
            serde_json::from_value(json!({"method": "length_delimited", "length_delimited": options}))
                .unwrap();
        let encoder = StreamEncoder::new(&Codec::Text.into(), Some(&framing)).unwrap();
        let mut out = b"before".to_vec();
        let error = encoder.encode_to(&LogEvent::from_str_legacy("z".repeat(256)), &mut out).unwrap_err();
        assert!(error.to_string().contains("256 bytes"), "{error}");
        assert_eq!(out, b"before");
    }
}

#[test]
fn framing_options_that_cannot_be_are_refused() {
    for (framing, expected) in [
        (
            json!({"method": "character_delimited", "character_delimited": {"delimiter": "ab"}}),
            "one ASCII character",
        ),
        (
            json!({"method": "character_delimited", "character_delimited": {"delimiter": "ä"}}),
            "one ASCII character",
        ),
        (
            json!({"method": "length_delimited", "length_delimited": {"length_field_length": 9}}),
            "1 to 8 bytes",
        ),
    ] {
        let framing: FramingConfig = serde_json::from_value(framing).unwrap();
        let error = StreamEncoder::new(&Codec::Text.into(), Some(&framing)).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    let unknown = serde_json::from_value::<FramingConfig>(json!({"method": "octet_counting"})).unwrap_err();
    assert!(unknown.to_string().contains("newline_delimited"), "{unknown}");
}

#[test]
fn json_of_several_lines_is_one_line_in_a_stream_of_lines() {
    let source = "{\n  \"a\" : \"x \\\" \\\\\",\r\n\t\"b\": [ 1.50, {} ]\n}";
    let line = StreamEncoder::new(&Codec::Json.into(), None).unwrap();
    let mut out = b"{ }\n".to_vec();
    line.encode_to(&json_event(source), &mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), "{ }\n{\"a\":\"x \\\" \\\\\",\"b\":[1.50,{}]}\n");

    let other = StreamEncoder::new(&Codec::Json.into(), Some(&FramingConfig::Bytes)).unwrap();
    let mut out = Vec::new();
    other.encode_to(&json_event(source), &mut out).unwrap();
    assert_eq!(out, source.as_bytes(), "only lines ask for one line");
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(|number| json!(number)),
        "[ -~äß\u{1F600}\n\"\\\\]{0,12}".prop_map(Into::into),
    ];
    let tree = leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::vec(("[a-z \"]{0,6}", inner), 0..6)
                .prop_map(|fields| fields.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    });
    prop::collection::vec(("[a-z]{1,6}", tree), 0..6)
        .prop_map(|fields| fields.into_iter().collect::<serde_json::Map<_, _>>().into())
}

proptest! {
    #[test]
    fn json_passes_through_byte_for_byte(document in any_json(), pretty in any::<bool>()) {
        let source = if pretty {
            serde_json::to_string_pretty(&document).unwrap()
        } else {
            document.to_string()
        };
        let encoded = encoder(json!({"codec": "json"})).encode(&json_event(&source)).unwrap();
        prop_assert_eq!(text(&encoded), source);
    }

    #[test]
    fn lines_hold_the_same_document_whatever_its_spaces(document in any_json()) {
        let line = StreamEncoder::new(&Codec::Json.into(), None).unwrap();
        let (mut spaced, mut compact) = (Vec::new(), Vec::new());
        line.encode_to(&json_event(&serde_json::to_string_pretty(&document).unwrap()), &mut spaced).unwrap();
        line.encode_to(&json_event(&document.to_string()), &mut compact).unwrap();
        if serde_json::to_string_pretty(&document).unwrap().contains('\n') {
            prop_assert_eq!(&spaced, &compact);
        }
        prop_assert_eq!(spaced.iter().filter(|byte| **byte == b'\n').count(), 1);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let event = LogEvent::from_json_bytes(bytes.into(), EventMetadata::default());
        for options in [json!({"codec": "json", "except_fields": ["a"]}), json!({"codec": "text"})] {
            let encoder = StreamEncoder::new(&config(options), None).unwrap();
            let mut out = Vec::new();
            if encoder.encode_to(&event, &mut out).is_err() {
                prop_assert!(out.is_empty());
            }
        }
        let mut out = Vec::new();
        StreamEncoder::new(&Codec::Json.into(), None).unwrap().encode_to(&event, &mut out).unwrap();
    }
}
