//! Tests of names: tables find what they hold and nothing else, and a repeated or colliding name is settled by the rules.

#![allow(clippy::unwrap_used)]

use super::*;

/// A record of names, one after the other, and their texts.
fn texts(names: &[String]) -> (Vec<u8>, Vec<Text>) {
    let mut record = Vec::new();
    let texts = names
        .iter()
        .map(|name| {
            let start = record.len();
            record.extend_from_slice(name.as_bytes());
            Text::in_record(start, record.len())
        })
        .collect();
    (record, texts)
}

#[test]
fn a_table_finds_its_names_and_no_others() {
    for count in [0, 1, 2, 7, 50, 1000] {
        for name in [
            |n: u32| format!("{n}"),
            |n| format!("same start {n:06} m {n:06} same end"),
            |n| "x".repeat(n as usize),
        ] {
            let table = NameTable::new((0..count).map(|n| (name(n).into_bytes(), n)));
            for n in 0..count {
                assert_eq!(table.find(name(n).as_bytes()), Some(n));
            }
            assert_eq!(table.find(name(count).as_bytes()), None);
            assert_eq!(table.find(b"nobody"), None);
        }
    }
}

#[test]
fn names_are_found_in_their_frame_only_however_many_there_are() {
    for size in [1, 5, 15, 16, 17, 40] {
        let names: Vec<String> = (0..size).map(|n| format!("name {n}")).collect();
        let (record, texts) = texts(&names);
        let mut all = Names::default();
        let note = |all: &mut Names, frame, i: usize| all.note(frame, texts[i], &record, &[]);
        let outer = all.enter();
        for round in 0..3 {
            for i in 0..size {
                assert_eq!(note(&mut all, outer, i), (i, round == 0), "{size}");
                // A frame inside knows nothing of this one, and leaves nothing behind.
                let inner = all.enter();
                for _ in 0..2 {
                    for j in (0..size).rev() {
                        let (place, _) = note(&mut all, inner, j);
                        assert_eq!(place, size - 1 - j);
                    }
                }
                all.leave(inner);
            }
        }
        all.leave(outer);
        assert!(all.met.is_empty() && all.table.is_empty());
    }
}

#[test]
fn a_superseded_name_is_found_at_its_new_place() {
    for size in [2, 15, 16, 17, 18, 40] {
        let names: Vec<String> = (0..size).map(|n| format!("name {n}")).collect();
        let (record, texts) = texts(&names);
        let mut all = Names::default();
        let frame = all.enter();
        for text in &texts {
            all.note(frame, *text, &record, &[]);
        }
        assert_eq!(all.supersede(frame, texts[1], &record, &[]), size);
        assert_eq!(all.note(frame, texts[1], &record, &[]), (size, false));
        assert_eq!(all.note(frame, texts[0], &record, &[]), (0, false));
        all.leave(frame);
        assert!(all.table.is_empty());
    }
}
