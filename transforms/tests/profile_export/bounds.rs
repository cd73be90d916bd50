//! Records of hostile shapes: they give the right answer, and in a time that grows with their length and not with its square.

use std::fmt::Write;
use std::time::{Duration, Instant};

use afluente_transforms::profile_export::Timestamp;

use crate::reference::Reference;
use crate::{Seen, config_of, mapper, run};

/// Work that grows with the square takes minutes at this size, work that grows with the length half a second.
const SIZE: usize = 160_000;
/// Far from both, so that a busy machine does not matter.
const LIMIT: Duration = Duration::from_secs(20);

fn grows_linearly(config: &str, record: impl Fn(usize) -> String) {
    let record = record(SIZE);
    let mut mapper = mapper(config);
    let start = Instant::now();
    let (seen, _) = run(&mut mapper, record.as_bytes(), Timestamp::default());
    assert!(matches!(seen, Seen::Export(_)), "{seen:?}");
    assert!(start.elapsed() < LIMIT, "{:?} for {} bytes", start.elapsed(), record.len());
}

fn list(size: usize, one: impl Fn(usize) -> String) -> String {
    (0..size).map(one).collect::<Vec<_>>().join(",")
}

const ID: &str = r#""identityMap":{"E":[{"id":"1"}]}"#;

#[test]
fn many_keys_in_an_exported_object_cost_little_each() {
    let config = r#"{"attributes":["a"]}"#;
    grows_linearly(config, |size| {
        format!("{{\"a\":{{{}}},{ID}}}", list(size, |n| format!("\"key-{n:08}-x\":{n}")))
    });
    // The same names again and again, and names that look alike at both ends.
    grows_linearly(config, |size| {
        format!("{{\"a\":{{{}}},{ID}}}", list(size, |n| format!("\"{}\":{n}", n % 50)))
    });
    grows_linearly(config, |size| {
        format!(
            "{{\"a\":{{{}}},{ID}}}",
            list(size, |n| format!("\"same start {n:06} m {n:06} same end\":null"))
        )
    });
    grows_linearly(config, |size| {
        format!(
            "{{\"a\":[{}],{ID}}}",
            list(size / 20, |_| format!("{{{}}}", list(20, |n| format!("\"{n}\":1,\"xdm:{n}\":2"))))
        )
    });
}

#[test]
fn many_memberships_namespaces_and_identities_cost_little_each() {
    let config = r#"{"segments":[{"id":"s"}],"trigger":"change","identity_namespace_case":"lower","key_namespaces":["N7"]}"#;
    grows_linearly(config, |size| {
        let members = list(size, |n| format!("\"{n:030}\":{{\"status\":\"exited\"}}"));
        format!("{{\"segmentMembership\":{{\"ups\":{{{members},\"s\":{{}}}}}},{ID}}}")
    });
    grows_linearly(config, |size| {
        let namespaces = list(size, |n| format!("\"n{n}\":{{\"s\":{{}}}}"));
        format!("{{\"segmentMembership\":{{{namespaces},\"ups\":{{\"s\":{{}}}}}},{ID}}}")
    });
    grows_linearly(config, |size| {
        let identities = list(size, |n| {
            format!("\"n{}\":[{{\"id\":\"{n}\"}}],\"N{}\":[{{\"id\":\"{n}\"}}]", n / 2, n / 2)
        });
        format!("{{\"segmentMembership\":{{\"ups\":{{\"s\":{{}}}}}},\"identityMap\":{{{identities}}}}}")
    });
    grows_linearly(config, |size| {
        let items = list(size, |n| format!("{{\"id\":\"{:020}\",\"primary\":true}}", n / 2));
        format!("{{\"segmentMembership\":{{\"ups\":{{\"s\":{{}}}}}},\"identityMap\":{{\"N7\":[{items}]}}}}")
    });
    let all = r#"{"trigger":"change"}"#;
    grows_linearly(all, |size| {
        let members = list(size, |n| format!("\"{n:030}\":{{\"status\":\"exited\"}}"));
        format!("{{\"segmentMembership\":{{\"ups\":{{{members}}}}},{ID}}}")
    });
}

#[test]
fn many_escapes_and_much_white_space_cost_little_each() {
    let config = r#"{"attributes":["a","b"]}"#;
    grows_linearly(config, |size| format!("{{\"a\":\"{}\",{ID}}}", "\\n\\\\\\\"\\u00e9".repeat(size)));
    grows_linearly(config, |size| format!("{{\"a\":[{}],{ID}}}", list(size, |n| format!("\"\\t{n}\""))));
    grows_linearly(config, |size| format!("{{\"a\":{{\"k\":{}1}},{ID}}}", " \n\t".repeat(size)));
    grows_linearly(config, |size| {
        format!("{{\"z\":[{}],{ID}}}", list(size, |n| format!("\"\\ud83d\\ude00{n}\"")))
    });
}

#[test]
fn a_record_with_its_values_rewritten_many_times_costs_little_each() {
    let config = r#"{"attributes":["a.b","a","c.d","c.d.e.f"]}"#;
    grows_linearly(config, |size| {
        format!("{{{},{ID}}}", list(size, |n| format!("\"a\":{{\"b\":{{\"x\":{n}}}}}")))
    });
    grows_linearly(config, |size| {
        format!("{{{},{ID}}}", list(size, |n| format!("\"c\":{{\"d\":{{\"e\":{{\"f\":{n}}}}}}}")))
    });
}

#[test]
fn objects_with_many_keys_come_out_like_the_reference() {
    let config = r#"{"attributes":["a"],"max_depth":10}"#;
    // Around the size where comparing one by one ends; with repeated and renamed keys, and objects inside.
    for size in [1, 2, 14, 15, 16, 17, 18, 33, 100] {
        for (step, prefix) in [(1, ""), (3, "xdm:"), (2, "\\u0078dm:")] {
            let mut members = String::new();
            for n in 0..size {
                let key = if n % step == 0 { prefix } else { "" };
                let inner = list(size, |m| format!("\"{}\":{m}", m * step % (size + 1)));
                write!(members, "\"{key}{}\":{{{inner}}},\"q{n}\":null,", n * step % size).unwrap();
            }
            let record = format!("{{\"a\":{{{members}\"0\":1,\"xdm:{}\":2}},{ID}}}", size / 2);
            let (seen, _) = run(&mut mapper(config), record.as_bytes(), Timestamp::default());
            assert_eq!(seen, Reference::new(config_of(config), 0).handle(record.as_bytes()).0, "{record}");
        }
    }
}

#[test]
fn an_object_of_sixteen_names_and_a_repetition_leaves_nothing_behind() {
    // Sixteen names are the last that are compared one by one; the repetition after them makes a table.
    let inner = format!("{{{},\"i0\":1}}", list(16, |n| format!("\"i{n}\":{n}")));
    let record = format!(
        "{{\"a\":{{{},\"inner\":{inner},{}}},{ID}}}",
        list(10, |n| format!("\"o{n}\":{n}")),
        list(60, |n| format!("\"p{n}\":{n}"))
    );
    let config = r#"{"attributes":["a"]}"#;
    let (seen, _) = run(&mut mapper(config), record.as_bytes(), Timestamp::default());
    assert_eq!(seen, Reference::new(config_of(config), 0).handle(record.as_bytes()).0);
}

#[test]
fn a_giant_record_does_not_keep_its_memory() {
    let mut mapper = mapper(r#"{"attributes":["a"]}"#);
    let giant = format!("{{\"a\":[{}],{ID}}}", list(400_000, |n| format!("\"\\t{n}\"")));
    assert!(matches!(run(&mut mapper, giant.as_bytes(), Timestamp::default()).0, Seen::Export(_)));
    // And the next one is right.
    let small = format!("{{\"a\":[\"\\t1\"],{ID}}}");
    assert_eq!(
        run(&mut mapper, small.as_bytes(), Timestamp::default()).0,
        crate::export(&format!("{{\"a\":[\"\\t1\"],\"segmentMembership\":{{}},{ID}}}"))
    );
}
