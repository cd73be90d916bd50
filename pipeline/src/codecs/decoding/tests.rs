//! Tests of decoding: what is an event, what is not, and that errors say where but never what.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::event::Raw;

fn json() -> Decoder {
    DecodingConfig { codec: DecodingCodec::Json, ..Default::default() }.build()
}

fn texts(events: &[LogEvent]) -> Vec<String> {
    let text = |event: &LogEvent| match event.raw() {
        Some(Raw::Json(bytes)) => String::from_utf8(bytes.to_vec()).unwrap(),
        other => panic!("not kept as JSON text: {other:?}"),
    };
    events.iter().map(text).collect()
}

fn decode(record: &str) -> Result<Vec<String>, DecodeError> {
    let mut events = Vec::new();
    json().decode(Bytes::copy_from_slice(record.as_bytes()), &EventMetadata::default(), &mut events)?;
    Ok(texts(&events))
}

fn decode_body(body: &str) -> Result<Vec<String>, DecodeError> {
    let mut events = Vec::new();
    let body = Bytes::copy_from_slice(body.as_bytes());
    json().decode_documents(&body, &EventMetadata::default(), &mut events)?;
    Ok(texts(&events))
}

#[test]
fn an_object_is_one_event_with_its_own_bytes() {
    for record in [r#"{}"#, r#"{"a":1.50,"a":[1E+2,"\u00e9\ud83d\ude00"],"b":{"c":null}}"#, "{\"é\": -0 }"] {
        assert_eq!(decode(record).unwrap(), [record]);
        assert_eq!(decode(&format!(" \t{record}\r")).unwrap(), [record], "white space around it is let go");
    }
}

#[test]
fn a_root_array_is_one_event_per_element_and_other_roots_are_refused() {
    assert_eq!(decode(r#" [ {"a":1} ,{"b":[2]}] "#).unwrap(), [r#"{"a":1}"#, r#"{"b":[2]}"#]);
    assert_eq!(decode("[]").unwrap(), Vec::<String>::new());
    assert_eq!(decode("  ").unwrap(), Vec::<String>::new());
    let error = decode(r#"[{"a":1},7]"#).unwrap_err();
    assert_eq!(error.to_string(), "element 2 of the array, byte 9: expected an object");
    assert_eq!(decode("7").unwrap_err().to_string(), "byte 0: expected an object or an array of objects");
}

#[test]
fn what_is_not_json_is_refused_with_its_place_and_without_its_content() {
    for (record, reason) in [
        (r#"{"secret" 1}"#, "byte 10: expected `:`"),
        (r#"{"a":1,}"#, "byte 7: expected a key in quotes"),
        (r#"{"a":01}"#, "byte 6: expected `,` or `}`"),
        (r#"{"a":.5}"#, "byte 5: expected a value"),
        (r#"{"a":1.}"#, "byte 7: expected a digit"),
        (r#"{"a":NaN}"#, "byte 5: expected a value"),
        (r#"{"a":1} {"b":2}"#, "byte 8: expected the end of the record"),
        ("{\"a\":\"x\ty\"}", "byte 7: control character in a string"),
        (r#"{"a":"x"#, "byte 7: string without an end"),
        (r#"{"a":"\x"}"#, "byte 6: unknown escape"),
        (r#"{"a":"\ud800x"}"#, "byte 6: lone surrogate escape"),
        (r#"{"a":"\ud800\ud800"}"#, "byte 6: lone surrogate escape"),
        (r#"{"a":"\udc00"}"#, "byte 6: lone surrogate escape"),
        (r#"{"a":"\u12G4"}"#, "byte 6: `\\u` needs four hex digits"),
        (r#"{"a":[1}"#, "byte 7: expected `,` or `]`"),
        ("\u{feff}{}", "byte 0: expected an object or an array of objects"),
        ("{", "byte 1: expected a key in quotes"),
    ] {
        assert_eq!(decode(record).unwrap_err().to_string(), reason, "{record}");
    }
}

#[test]
fn depth_is_bounded_without_recursion() {
    let nested = |levels: usize| format!("{}{{}}{}", r#"{"a":"#.repeat(levels - 1), "}".repeat(levels - 1));
    assert!(decode(&nested(JSON_LEVELS_MAX)).is_ok());
    let reason = decode(&nested(JSON_LEVELS_MAX + 1)).unwrap_err().fault.reason;
    assert_eq!(reason, "nested deeper than 1024 levels");
    assert!(decode(&format!("{{\"a\":{}", "[".repeat(1_000_000))).is_err());
}

#[test]
fn bad_utf8_is_refused_unless_lossy_is_asked_for() {
    let record = Bytes::from_static(b"{\"a\":\"x\xffy\"}");
    let mut events = Vec::new();
    let error = json().decode(record.clone(), &EventMetadata::default(), &mut events).unwrap_err();
    assert_eq!((error.to_string().as_str(), events.len()), ("byte 7: not UTF-8", 0));
    let lossy: DecodingConfig = serde_json::from_str(r#"{"codec":"json","json":{"lossy":true}}"#).unwrap();
    lossy.build().decode(record, &EventMetadata::default(), &mut events).unwrap();
    assert_eq!(texts(&events), ["{\"a\":\"x\u{fffd}y\"}"]);
}

#[test]
fn a_body_holds_one_document_or_one_a_line() {
    let three = [r#"{"a":1}"#, r#"{"b":2}"#, r#"{"c":3}"#];
    assert_eq!(decode_body("{\"a\":1}\n{\"b\":2}\r\n\n{\"c\":3}\n").unwrap(), three);
    assert_eq!(decode_body("[{\"a\":1},\n{\"b\":2}]\n[{\"c\":3}]").unwrap(), three);
    assert_eq!(decode_body("{\n  \"a\": 1\n}").unwrap(), ["{\n  \"a\": 1\n}"], "a document may span lines");
    let error = decode_body("{\"a\":1}\n{\"b\":2}\n{\"c\"}").unwrap_err();
    assert_eq!((error.decoded, error.fault.offset), (2, 20));
    assert!(decode_body(r#"{"a":1}{"b":2}"#).is_err(), "two documents on one line");
}

#[test]
fn a_failed_body_leaves_earlier_events_alone() {
    let mut events = vec![LogEvent::default()];
    let body = Bytes::from_static(b"{}\n{}\n[");
    let error = json().decode_documents(&body, &EventMetadata::default(), &mut events).unwrap_err();
    assert_eq!((events.len(), error.decoded), (1, 2));
}

#[test]
fn elements_of_an_array_are_slices_of_the_body() {
    let body = Bytes::from_static(br#" [{"a": 1}, "x" ,[2]] "#);
    let elements = json_elements(&body).unwrap();
    assert_eq!(elements, [&br#"{"a": 1}"#[..], br#""x""#, b"[2]"]);
    assert_eq!(json_elements(&Bytes::from_static(b"[1,]")).unwrap_err().element, Some(2));
    assert!(json_elements(&Bytes::from_static(b"[1] 2")).is_err());
}

#[test]
fn options_have_vectors_shape_and_errors_list_what_is_supported() {
    let decoding: DecodingConfig = serde_json::from_str(r#"{"codec":"json"}"#).unwrap();
    assert_eq!(decoding.codec, DecodingCodec::Json);
    let error = serde_json::from_str::<DecodingConfig>(r#"{"codec":"avro"}"#).unwrap_err().to_string();
    assert!(error.starts_with("codec `avro` is not supported here; supported: `bytes`, `json`"), "{error}");
    let framing = |text: &str| serde_json::from_str::<FramingConfig>(text).unwrap().build();
    let lines = Framing::Lines { delimiter: b'\n', max_length: Some(9) };
    let text = r#"{"method":"newline_delimited","newline_delimited":{"max_length":9}}"#;
    assert_eq!(framing(text), Ok(lines));
    let text = r#"{"method":"character_delimited","character_delimited":{"delimiter":"|"}}"#;
    assert_eq!(framing(text), Ok(Framing::Lines { delimiter: b'|', max_length: None }));
    assert!(framing(r#"{"method":"character_delimited"}"#).is_err());
    assert!(serde_json::from_str::<FramingConfig>(r#"{"method":"octet_counting"}"#).is_err());
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(|number| serde_json::json!(number)),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::hash_map(any::<String>(), inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn every_document_passes_and_ends_where_it_ends(value in any_json(), pretty: bool) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        let text = text.unwrap();
        prop_assert_eq!(check_value(text.as_bytes(), 0), Ok(text.len()));
    }

    #[test]
    fn one_changed_byte_is_judged_as_by_another_parser(value in any_json(), at: prop::sample::Index, byte: u8) {
        let mut text = serde_json::to_vec(&value).unwrap();
        let at = at.index(text.len());
        text[at] = byte;
        let ours = check_value(&text, 0) == Ok(text.len()) && std::str::from_utf8(&text).is_ok();
        // A tree would refuse numbers beyond its range; a raw value is the text alone.
        let theirs = serde_json::from_slice::<serde_json::Value>(&text);
        let theirs = match theirs {
            Err(error) if error.to_string().starts_with("number out of range") => return Ok(()),
            other => other.is_ok() && !is_space(text[0]) && !is_space(text[text.len() - 1]),
        };
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn no_bytes_panic(text in prop::collection::vec(prop_oneof![
        any::<u8>(),
        prop::sample::select(&b"{}[]\",:\\u0123456789-+.eEtrufalsn \n"[..]),
    ], 0..60)) {
        let mut events = Vec::new();
        let _ = json().decode(Bytes::from(text.clone()), &EventMetadata::default(), &mut events);
        let _ = json().decode_documents(&Bytes::from(text.clone()), &EventMetadata::default(), &mut events);
        let _ = json_elements(&Bytes::from(text));
    }
}
