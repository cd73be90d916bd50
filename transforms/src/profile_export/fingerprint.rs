//! Fingerprint: 128 bits that stand for a name, a set or a value (`trigger: change` remembers these, not content).
//! In: bytes.  Out: SipHash-1-3-128 under a key drawn at random per transform.
//! Collisions: two different things get one fingerprint with a chance of 2^-128, and nobody who does not know the key can do
//! better. Among a million remembered profiles the chance that any two share a key is below 10^-26; a change missed because old
//! and new value collide is rarer still. So nothing else guards against them.
//! Never: leaves the process; is stable between runs.

use std::hash::{BuildHasher, RandomState};

use siphasher::sip128::SipHasher13;

/// Makes fingerprints.
#[derive(Debug)]
pub(crate) struct Fingerprinter {
    hasher: SipHasher13,
    scratch: Vec<u8>,
    list: Vec<u8>,
    open: Vec<Open>,
}

/// A container of which the fingerprint is being made.
#[derive(Clone, Copy, Debug)]
struct Open {
    object: bool,
    /// Objects: the sum of the members' fingerprints, so that their order does not matter. Arrays: a chain.
    sum: u128,
    /// Where the key of the current member starts.
    key: usize,
}

/// What the bytes are: the first byte of everything that is hashed.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Kind {
    Pair = 1,
    Scalar,
    Member,
    ObjectMember,
    Element,
    ContainerElement,
    Object,
    Array,
    Container,
    Attributes,
}

impl Fingerprinter {
    pub(crate) fn new() -> Self {
        let seed = |n: u64| RandomState::new().hash_one(n);
        Self {
            hasher: SipHasher13::new_with_keys(seed(0), seed(1)),
            scratch: Vec::new(),
            list: Vec::new(),
            open: Vec::new(),
        }
    }

    /// Gives memory back that a giant record left behind.
    pub(crate) fn shrink(&mut self, most: usize) {
        for scratch in [&mut self.scratch, &mut self.list] {
            scratch.clear();
            scratch.shrink_to(most);
        }
    }

    fn hash(&mut self, kind: Kind, parts: [&[u8]; 2]) -> u128 {
        self.scratch.clear();
        self.scratch.push(kind as u8);
        for part in parts {
            self.scratch.extend_from_slice(part);
        }
        self.hasher.hash(&self.scratch).into()
    }

    /// Of a name in a namespace whose case does not matter.
    pub(crate) fn pair(&mut self, namespace: &[u8], name: &[u8]) -> u128 {
        self.scratch.clear();
        self.scratch.push(Kind::Pair as u8);
        self.scratch.extend_from_slice(&(namespace.len() as u32).to_le_bytes());
        self.scratch.extend(namespace.iter().map(u8::to_ascii_lowercase));
        self.scratch.extend_from_slice(name);
        self.hasher.hash(&self.scratch).into()
    }

    /// Of attributes with their exported values, in the order of the plan.
    pub(crate) fn attributes<'v>(&mut self, attributes: impl Iterator<Item = (u32, &'v [u8])>) -> u128 {
        let mut list = std::mem::take(&mut self.list);
        list.clear();
        list.push(Kind::Attributes as u8);
        for (number, value) in attributes {
            list.extend_from_slice(&number.to_le_bytes());
            if let Some(b'{' | b'[') = value.first() {
                list.push(Kind::Container as u8);
                list.extend_from_slice(&self.value(value).to_le_bytes());
            } else {
                list.push(Kind::Scalar as u8);
                list.extend_from_slice(&(value.len() as u32).to_le_bytes());
                list.extend_from_slice(value);
            }
        }
        let print = self.hasher.hash(&list).into();
        self.list = list;
        print
    }

    /// Of compact JSON as `copy.rs` writes it. The order of members does not matter, that of elements does.
    fn value(&mut self, json: &[u8]) -> u128 {
        self.open.clear();
        let mut at = 0;
        loop {
            // A value is next.
            let start = at;
            let mut done = match json.get(at) {
                Some(byte @ (b'{' | b'[')) => {
                    at += 1;
                    self.open.push(Open { object: *byte == b'{', sum: 0, key: at });
                    if !matches!(json.get(at), Some(b'}' | b']')) {
                        at = value_start(json, at, *byte == b'{');
                        continue;
                    }
                    None
                }
                _ => {
                    at = scalar_end(json, at);
                    Some(&json[start..at])
                }
            };
            // A value has ended (`done` is its text if it is a scalar), or a container is empty.
            loop {
                let Some(open) = self.open.last().copied() else {
                    return done.map_or(0, |text| self.hash(Kind::Scalar, [text, &[]]));
                };
                if let Some(text) = done.take() {
                    let sum = if open.object {
                        open.sum.wrapping_add(self.hash(Kind::Member, [&json[open.key..at], &[]]))
                    } else {
                        self.hash(Kind::Element, [&open.sum.to_le_bytes(), text])
                    };
                    self.set_sum(sum);
                }
                if json.get(at) == Some(&b',') {
                    at += 1;
                    if let Some(open) = self.open.last_mut() {
                        open.key = at;
                    }
                    at = value_start(json, at, open.object);
                    break;
                }
                // A closing bracket.
                at += 1;
                let Some(closed) = self.open.pop() else { return 0 };
                let kind = if closed.object { Kind::Object } else { Kind::Array };
                let whole = self.hash(kind, [&closed.sum.to_le_bytes(), &[]]);
                let Some(parent) = self.open.last().copied() else { return whole };
                let sum = if parent.object {
                    let key = &json[parent.key..scalar_end(json, parent.key)];
                    parent.sum.wrapping_add(self.hash(Kind::ObjectMember, [&whole.to_le_bytes(), key]))
                } else {
                    self.hash(Kind::ContainerElement, [&parent.sum.to_le_bytes(), &whole.to_le_bytes()])
                };
                self.set_sum(sum);
            }
        }
    }

    fn set_sum(&mut self, sum: u128) {
        if let Some(open) = self.open.last_mut() {
            open.sum = sum;
        }
    }
}

/// Where the next value starts: after the key of a member.
fn value_start(json: &[u8], at: usize, object: bool) -> usize {
    if object { scalar_end(json, at) + 1 } else { at }
}

/// The end of a string, number or word.
fn scalar_end(json: &[u8], at: usize) -> usize {
    if json.get(at) != Some(&b'"') {
        let rest = json.get(at..).unwrap_or_default();
        return at + rest.iter().position(|byte| matches!(byte, b',' | b'}' | b']')).unwrap_or(rest.len());
    }
    let mut end = at + 1;
    while let Some(found) = memchr::memchr2(b'"', b'\\', json.get(end..).unwrap_or_default()) {
        end += found;
        if json[end] == b'"' {
            return end + 1;
        }
        end += 2;
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_members_does_not_matter_and_that_of_elements_does() {
        let mut prints = Fingerprinter::new();
        let mut of = |json: &str| prints.value(json.as_bytes());
        assert_eq!(of(r#"{"a":1,"b":{"c":[1,2],"d":"x"}}"#), of(r#"{"b":{"d":"x","c":[1,2]},"a":1}"#));
        let different = [
            r#"{"a":1,"b":{"c":[2,1],"d":"x"}}"#,
            r#"{"a":1,"b":{"c":[1,2],"d":"y"}}"#,
            r#"{"a":1}"#,
            r#"{"a":"1"}"#,
            r#"{"a":1.0}"#,
            r#"{"a":[]}"#,
            r#"{"a":{}}"#,
            "{}",
            "[]",
            "[[]]",
            "[{}]",
            "[[],[]]",
            "[1]",
            "[1,1]",
            "1",
            "\"1\"",
            "true",
            r#"["1"]"#,
            r#"["1,1"]"#,
            r#"{"a":{"b":1}}"#,
            r#"{"a":{"b":{}}}"#,
            r#"[{"a":1}]"#,
            r#"[[1],2]"#,
            r#"[[1,2]]"#,
            r#"{"a\"":1}"#,
            r#"{"a":"\"","b":1}"#,
            r#"[1,[2]]"#,
        ];
        let mut seen: Vec<u128> = different.iter().map(|json| of(json)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), different.len());
    }

    #[test]
    fn attributes_differ_by_their_numbers_and_values_and_not_by_the_order_of_members() {
        let mut prints = Fingerprinter::new();
        let mut of =
            |list: &[(u32, &str)]| prints.attributes(list.iter().map(|(n, json)| (*n, json.as_bytes())));
        assert_eq!(of(&[(1, r#"{"a":1,"b":2}"#), (2, "3")]), of(&[(1, r#"{"b":2,"a":1}"#), (2, "3")]));
        let different: [&[(u32, &str)]; 9] = [
            &[],
            &[(1, "12")],
            &[(2, "12")],
            &[(1, "\"12\"")],
            &[(1, "1"), (2, "2")],
            &[(1, "2"), (2, "1")],
            &[(1, "[1]"), (2, "2")],
            &[(1, "1"), (2, "[2]")],
            &[(1, "{}")],
        ];
        let mut seen: Vec<u128> = different.iter().map(|list| of(list)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), different.len());
    }
}
