//! Generators: profile events as text, right and wrong in every way that the specification mentions, and configurations that
//! hit them. Names come from a small pool, so that keys collide, repeat, and are mapped often.

use proptest::collection::vec;
use proptest::prelude::*;

/// JSON text that is written with care or without.
#[derive(Clone, Debug)]
pub enum Node {
    Word(&'static str),
    Number(&'static str),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// How a document is written.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// After colons and commas.
    pub space: &'static str,
    /// Everywhere else between tokens.
    pub inside: &'static str,
    /// Every how manieth character is written as an escape; 0: none.
    pub escapes: usize,
}

pub fn style() -> impl Strategy<Value = Style> {
    let space = prop_oneof![
        4 => Just(("", "")), 2 => Just((" ", "")), 1 => Just((" ", " ")), 1 => Just(("\n  ", "")), 1 => Just(("", "\r\n\t")),
    ];
    let escapes = prop_oneof![4 => Just(0), 1 => Just(1), 1 => Just(3)];
    (space, escapes).prop_map(|((space, inside), escapes)| Style { space, inside, escapes })
}

impl Node {
    pub fn write(&self, style: Style, out: &mut String) {
        match self {
            Node::Word(text) | Node::Number(text) => out.push_str(text),
            Node::Text(text) => write_text(text, style, out),
            Node::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                        out.push_str(style.space);
                    }
                    out.push_str(style.inside);
                    item.write(style, out);
                    out.push_str(style.inside);
                }
                out.push_str(style.inside);
                out.push(']');
            }
            Node::Map(members) => {
                out.push('{');
                out.push_str(style.inside);
                for (i, (key, value)) in members.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                        out.push_str(style.space);
                    }
                    write_text(key, style, out);
                    out.push_str(style.inside);
                    out.push(':');
                    out.push_str(style.space);
                    value.write(style, out);
                    out.push_str(style.inside);
                }
                out.push_str(style.inside);
                out.push('}');
            }
        }
    }

    pub fn to_text(&self, style: Style) -> String {
        let mut out = String::new();
        self.write(style, &mut out);
        out
    }
}

fn write_text(text: &str, style: Style, out: &mut String) {
    out.push('"');
    for (i, letter) in text.chars().enumerate() {
        if style.escapes > 0 && i % style.escapes == 0 {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            match letter {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '/' => out.push_str("\\/"),
                '\n' => out.push_str("\\n"),
                '\u{8}' => out.push_str("\\b"),
                low if low < ' ' => out.push_str(&format!("\\u{:04X}", low as u32)),
                other => out.push(other),
            }
        }
    }
    out.push('"');
}

/// Names that meet the attribute paths of [`config`].
pub fn name() -> impl Strategy<Value = String> {
    let pool = [
        "a",
        "b",
        "c",
        "xdm:a",
        "xdm:b",
        "xdm:xdm:a",
        "xdm:",
        "@id",
        "_id",
        "xdm:_id",
        "@type",
        "_type",
        "xdm:@id",
        "a.b",
        "a\\b",
        "é",
        "😀",
        "",
        "\"",
        "\n",
        "long name with more than sixteen bytes",
        "long name with more then sixteen bytes",
    ];
    prop::sample::select(pool.to_vec()).prop_map(str::to_owned)
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(vec!["", "x", "Ines", "a/b", "tab\t", "q\"q", "b\\s", "\u{0}\u{1f}\u{7f}", "Zoë 漢字 😀", "\u{2028}"])
            .prop_map(str::to_owned),
        1 => "[ -~]{0,70}",
    ]
}

fn scalar() -> impl Strategy<Value = Node> {
    let numbers =
        ["0", "-0", "12.50", "1E+2", "1e-7", "0.0", "123456789012345678901234567890", "-9.5e10", "7"];
    prop_oneof![
        2 => text().prop_map(Node::Text),
        2 => prop::sample::select(numbers.to_vec()).prop_map(Node::Number),
        2 => Just(Node::Word("null")),
        1 => Just(Node::Word("true")),
        1 => Just(Node::Word("false")),
    ]
}

/// Any value.
pub fn value() -> impl Strategy<Value = Node> {
    scalar().prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            1 => vec(inner.clone(), 0..4).prop_map(Node::List),
            3 => vec((name(), inner), 0..6).prop_map(Node::Map),
        ]
    })
}

fn pick(words: &[&'static str]) -> impl Strategy<Value = String> + use<> {
    prop::sample::select(words.to_vec()).prop_map(str::to_owned)
}

fn time() -> impl Strategy<Value = Node> {
    prop_oneof![
        6 => pick(&[
            "2024-05-31T23:59:59Z", "2024-06-01T00:00:00Z", "2024-06-01T00:00:00.0000000001Z", "2024-06-01T01:30:00+0200",
            "2024-06-01T00:00:00.000-00:00", "2024-05-02T00:00:00Z", "2024-05-01T23:59:59.999999999999Z", "2024-04-01",
            "2023-02-29T00:00:00Z", "2024-05-31t23:59:60z", "yesterday", "",
        ]).prop_map(Node::Text),
        1 => value(),
    ]
}

fn field(
    names: &[&'static str],
    value: impl Strategy<Value = Node>,
) -> impl Strategy<Value = (String, Node)> {
    (pick(names), value)
}

fn membership() -> impl Strategy<Value = Node> {
    let status = prop_oneof![
        8 => pick(&["realized", "existing", "exited", "Realized", "paused", ""]).prop_map(Node::Text),
        1 => value(),
    ];
    let member = prop_oneof![
        3 => field(&["status", "xdm:status"], status),
        2 => field(&["lastQualificationTime", "xdm:lastQualificationTime"], time()),
        1 => field(&["timestamp", "xdm:timestamp"], time()),
        1 => field(&["validUntil", "xdm:validUntil"], time()),
        1 => field(&["version", "payload", "x"], value()),
    ];
    prop_oneof![9 => vec(member, 0..6).prop_map(Node::Map), 1 => value()]
}

fn memberships() -> impl Strategy<Value = Node> {
    let ids = ["seg-1", "seg-2", "seg-3", "Seg-1", "s\"x", "xdm:seg-1", "a@example.com", ""];
    let namespace = prop_oneof![9 => vec((pick(&ids), membership()), 0..5).prop_map(Node::Map), 1 => value()];
    let section = vec((pick(&["ups", "UPS", "Ups", "AAM", "xdm:ups", "é", ""]), namespace), 0..4);
    prop_oneof![12 => section.prop_map(Node::Map), 1 => value()]
}

fn identities() -> impl Strategy<Value = Node> {
    let ids = pick(&["1", "2", "3", "10", "", "Zoë", "q\"q", "a/b"]).prop_map(Node::Text);
    let primary = prop_oneof![3 => Just(Node::Word("true")), 2 => Just(Node::Word("false")), 1 => value()];
    let member = prop_oneof![
        5 => field(&["id", "id", "xdm:id"], prop_oneof![9 => ids, 1 => value()]),
        2 => field(&["primary", "xdm:primary"], primary),
        1 => field(&["authenticatedState", "@id"], value()),
    ];
    let item = prop_oneof![9 => vec(member, 1..4).prop_map(Node::Map), 1 => value()];
    let namespace = prop_oneof![9 => vec(item, 0..5).prop_map(Node::List), 1 => value()];
    let names = ["ECID", "ecid", "EcId", "Email", "email", "CRMID", "xdm:ECID", "ÉCID", ""];
    prop_oneof![15 => vec((pick(&names), namespace), 0..5).prop_map(Node::Map), 1 => value()]
}

/// A profile: sections and attributes, in any order, some more than once.
pub fn profile() -> impl Strategy<Value = Node> {
    let member = prop_oneof![
        3 => field(&["segmentMembership", "segmentMembership", "xdm:segmentMembership"], memberships()),
        4 => field(&["identityMap", "identityMap", "xdm:identityMap"], identities()),
        6 => (name(), value()),
        1 => field(&["body", "segments", "identityMapp"], value()),
    ];
    vec(member, 0..10).prop_map(Node::Map)
}

/// A record for a configuration whose `input_root` is empty or `/body~1~0/`: a key with both characters that need `~`, then the
/// empty key.
pub fn record() -> impl Strategy<Value = Node> {
    let member = prop_oneof![
        4 => field(&["body/~"], vec(field(&["", "x", "xdm:"], profile()), 0..3).prop_map(Node::Map)),
        1 => field(&["body/~", "header"], value()),
    ];
    prop_oneof![
        6 => profile(),
        2 => vec(member, 0..3).prop_map(Node::Map),
        1 => value(),
    ]
}

fn path() -> impl Strategy<Value = String> {
    let step = pick(&[
        "a",
        "b",
        "c",
        "xdm:a",
        "xdm:b",
        "_id",
        "@id",
        "xdm:",
        "a\\.b",
        "a\\\\b",
        "é",
        "long name with more than sixteen bytes",
        "segmentMembership",
        "identityMap",
        "xdm:segmentMembership",
    ]);
    vec(step, 1..4).prop_map(|steps| steps.join("."))
}

fn maybe(key: &'static str, values: &[&'static str]) -> impl Strategy<Value = Option<String>> + use<> {
    let values: Vec<Option<String>> = values.iter().map(|value| Some(format!("\"{key}\":{value}"))).collect();
    prop_oneof![2 => Just(None), 1 => prop::sample::select(values)]
}

/// Mapped segments, some with names and times.
fn segments() -> impl Strategy<Value = String> {
    let all = vec![
        r#"{"id":"seg-1","name":"One \"1\"","created_at":1,"mapping_updated_at":9223372036854775807}"#,
        r#"{"id":"seg-2"}"#,
        r#"{"id":"seg-3","namespace":"AAM","name":"","updated_at":0}"#,
        r#"{"id":"s\"x","namespace":"uPs","mapping_created_at":5}"#,
        r#"{"id":"xdm:seg-1","namespace":"xdm:ups"}"#,
    ];
    prop::sample::subsequence(all, 0..=5).prop_map(|list| format!("\"segments\":[{}]", list.join(",")))
}

/// A valid configuration as JSON text.
pub fn config(trigger: &'static [&'static str]) -> impl Strategy<Value = String> {
    let attributes = vec(path(), 0..7).prop_map(|paths| {
        let paths: Vec<String> = paths.iter().map(|path| serde_json::to_string(path).unwrap()).collect();
        format!("\"attributes\":[{}]", paths.join(","))
    });
    let words = (
        maybe("key_style", &["\"as_is\""]),
        maybe("arrays", &["\"omit\""]),
        maybe("include_segment_names", &["true"]),
        maybe("include_segment_timestamps", &["true"]),
        maybe("status_vocabulary", &["\"current\""]),
        maybe("unknown_status", &["\"keep\""]),
        maybe("expired_memberships", &["\"omit\""]),
        maybe("exited_retention_days", &["30", "1"]),
        maybe("identity_namespace_case", &["\"lower\""]),
        maybe("on_missing_identity", &["\"export\""]),
    );
    let more = (
        maybe("trigger", trigger),
        maybe("attribute_change", &["\"write\""]),
        maybe("backfill", &["false"]),
        maybe("key_namespaces", &["[\"ecid\",\"Email\"]", "[\"nobody\",\"CRMID\",\"ECID\"]", "[\"écid\"]"]),
        maybe("state_max_profiles", &["1", "2", "3"]),
        maybe("max_depth", &["3", "4", "5", "6", "7"]),
        maybe("input_root", &["\"/body~1~0/\""]),
        any::<bool>(),
    );
    (attributes, segments(), words, more).prop_map(|(attributes, segments, w, m)| {
        let mut all = vec![Some(attributes), Some(segments.clone())];
        all.extend([w.0, w.1, w.2, w.3, w.4, w.5, w.6, w.7, w.8, w.9, m.0, m.1, m.2, m.3, m.4, m.5, m.6]);
        if m.7 && segments != "\"segments\":[]" {
            all.push(Some("\"segment_scope\":\"mapped\"".to_owned()));
        }
        format!("{{{}}}", all.into_iter().flatten().collect::<Vec<_>>().join(","))
    })
}
