//! The slow reference: sections 5 to 8 of the specification read aloud, over a tree. Shares no code with the transform; only the
//! typed configuration is common. Names of functions are the words of the specification.

use std::collections::{BTreeMap, BTreeSet};

use afluente_transforms::profile_export::{
    Arrays, AttributeChange, ExpiredMemberships, KeyStyle, NamespaceCase, OnMissingIdentity,
    ProfileExportConfig, SegmentScope, StatusVocabulary, Trigger, UnknownStatus,
};

use super::json::{Fault, Tree};
use super::seen::{Seen, dropped, skipped};

pub struct Reference {
    config: ProfileExportConfig,
    /// Nanoseconds since 1970.
    now: i128,
    /// Most recently seen last.
    memory: Vec<(Key, Remembered)>,
}

type Key = (String, String);

#[derive(Clone)]
struct Remembered {
    classes: BTreeMap<Key, bool>,
    identities: BTreeSet<Key>,
    attributes: Vec<Option<Tree>>,
}

struct Identity {
    namespace: String,
    id: String,
    primary: bool,
}

struct Membership {
    namespace: String,
    id: String,
    time: Option<String>,
    status: String,
    /// Position in `segments`.
    mapped: Option<usize>,
}

impl Reference {
    pub fn new(config: ProfileExportConfig, now: i128) -> Self {
        Self { config, now, memory: Vec::new() }
    }

    /// Handles one record. The second value is the profile's key of an export.
    pub fn handle(&mut self, record: &[u8]) -> (Seen, Option<Key>) {
        match self.section_7(record) {
            Ok((output, key)) => (Seen::Export(output), key),
            Err(seen) => (seen, None),
        }
    }

    fn section_7(&mut self, record: &[u8]) -> Result<(String, Option<Key>), Seen> {
        let text = std::str::from_utf8(record).map_err(|_| dropped("invalid_utf8"))?;
        let document = Tree::read(text, self.config.max_depth as usize).map_err(|fault| match fault {
            Fault::Invalid => dropped("invalid_json"),
            Fault::TooDeep => dropped("too_deep"),
        })?;
        if !matches!(document, Tree::Map(_)) {
            return Err(dropped("not_an_object"));
        }
        let profile = self.input_root(document).ok_or_else(|| dropped("no_profile"))?;
        let top = Tree::Map(self.renamed_members(&profile));
        let segment_membership = section(&top, "segmentMembership", "bad_segment_membership")?;
        let identity_map = section(&top, "identityMap", "bad_identity_map")?;
        let identities = self.identities(&identity_map);
        if identities.is_empty() && self.config.on_missing_identity == OnMissingIdentity::Drop {
            return Err(dropped("no_identity"));
        }
        let memberships = self.memberships(&segment_membership);
        let attributes = self.attributes(&profile);
        let key = self.key(&identities);
        self.trigger(&key, &identities, &memberships, &attributes)?;
        Ok((self.output(&identities, &memberships, &attributes), key))
    }

    fn input_root(&self, document: Tree) -> Option<Tree> {
        let mut here = document;
        for step in self.config.input_root.split('/').skip(1) {
            here = here.get(&step.replace("~1", "/").replace("~0", "~"))?.clone();
        }
        matches!(here, Tree::Map(_)).then_some(here)
    }

    fn rename(&self, name: &str) -> String {
        if self.config.key_style == KeyStyle::AsIs {
            return name.to_owned();
        }
        match name {
            "@id" => "_id".to_owned(),
            "@type" => "_type".to_owned(),
            _ => match name.strip_prefix("xdm:") {
                Some(rest) if !rest.is_empty() => rest.to_owned(),
                _ => name.to_owned(),
            },
        }
    }

    /// The members of an object under their new names, each once; those that lose against a plain name are gone. Two names that
    /// both become a third: the value that comes last, at the place of the first (not specified).
    fn renamed_members(&self, object: &Tree) -> Vec<(String, Tree)> {
        let Tree::Map(members) = object else { return Vec::new() };
        let mut out: Vec<(String, Tree)> = Vec::new();
        for (name, value) in members {
            let new = self.rename(name);
            let plain_is_there = object.get(&new).is_some() && self.rename(&new) == new;
            if new != *name && plain_is_there {
                continue;
            }
            put(&mut out, new, value.clone());
        }
        out
    }

    fn identities(&self, identity_map: &[(String, Tree)]) -> Vec<Identity> {
        let lower = self.config.identity_namespace_case == NamespaceCase::Lower;
        let mut namespaces: Vec<(String, Vec<Identity>)> = Vec::new();
        for (name, items) in identity_map {
            let Tree::List(items) = items else { continue };
            let name = if lower { name.to_ascii_lowercase() } else { name.clone() };
            if !namespaces.iter().any(|(other, _)| *other == name) {
                namespaces.push((name.clone(), Vec::new()));
            }
            let joined = &mut namespaces.iter_mut().find(|(other, _)| *other == name).unwrap().1;
            for item in items {
                let item = Tree::Map(self.renamed_members(item));
                let Some(id) = item.get("id").and_then(Tree::text).filter(|id| !id.is_empty()) else {
                    continue;
                };
                let primary = item.get("primary") == Some(&Tree::Bool(true));
                match joined.iter_mut().find(|other| other.id == id) {
                    Some(other) => other.primary |= primary,
                    None => joined.push(Identity { namespace: name.clone(), id: id.to_owned(), primary }),
                }
            }
        }
        namespaces.into_iter().flat_map(|(_, identities)| identities).collect()
    }

    fn memberships(&self, segment_membership: &[(String, Tree)]) -> Vec<Membership> {
        let mut memberships = Vec::new();
        for (namespace, segments) in segment_membership {
            let Tree::Map(segments) = segments else { continue };
            for (id, membership) in once(segments) {
                if matches!(membership, Tree::Map(_)) {
                    let fields = Tree::Map(self.renamed_members(&membership));
                    memberships.extend(self.membership(namespace, &id, &fields));
                }
            }
        }
        memberships
    }

    fn membership(&self, namespace: &str, id: &str, fields: &Tree) -> Option<Membership> {
        let status = match fields.get("status") {
            None | Some(Tree::Null) => "realized",
            Some(Tree::Text(text)) => text,
            Some(_) => return None,
        };
        let is_member = matches!(status, "realized" | "existing");
        if !is_member && status != "exited" && self.config.unknown_status == UnknownStatus::Omit {
            return None;
        }
        let string = |name: &str| fields.get(name).and_then(Tree::text).map(str::to_owned);
        let time = string("lastQualificationTime").or_else(|| string("timestamp"));
        let until = string("validUntil").as_deref().and_then(read_time);
        if is_member && self.config.expired_memberships == ExpiredMemberships::Omit {
            // Not later than now: the nanosecond that holds it must not lie after now, nor more digits if it is now.
            if until.is_some_and(|(nanos, more)| nanos < self.now || nanos == self.now && !more) {
                return None;
            }
        }
        let days = i128::from(self.config.exited_retention_days);
        if status == "exited" && days > 0 {
            let limit = self.now - days * 86_400 * 1_000_000_000;
            if time.as_deref().and_then(read_time).is_some_and(|(nanos, _)| nanos < limit) {
                return None;
            }
        }
        let mapped = self
            .config
            .segments
            .iter()
            .position(|segment| segment.id == id && segment.namespace.eq_ignore_ascii_case(namespace));
        let (namespace, id, status) = (namespace.to_owned(), id.to_owned(), status.to_owned());
        Some(Membership { namespace, id, time, status, mapped })
    }

    /// One entry per configured attribute: its path and its copied value.
    fn attributes(&self, profile: &Tree) -> Vec<(Vec<String>, Option<Tree>)> {
        let mut out = Vec::new();
        for selector in &self.config.attributes {
            let mut steps = vec![String::new()];
            let mut letters = selector.path().chars();
            while let Some(letter) = letters.next() {
                match letter {
                    '.' => steps.push(String::new()),
                    '\\' => steps.last_mut().unwrap().push(letters.next().unwrap()),
                    other => steps.last_mut().unwrap().push(other),
                }
            }
            let steps: Vec<String> = steps.iter().map(|step| self.rename(step)).collect();
            if matches!(steps[0].as_str(), "segmentMembership" | "identityMap") {
                continue;
            }
            let mut here = Some(profile.clone());
            for step in &steps {
                here = here.and_then(|here| {
                    let members = self.renamed_members(&here);
                    members.into_iter().find(|(name, _)| name == step).map(|(_, value)| value)
                });
            }
            let value = here.filter(|value| self.exists(value)).map(|value| self.copy(&value));
            out.push((steps, value));
        }
        out
    }

    fn exists(&self, value: &Tree) -> bool {
        match value {
            Tree::Null => false,
            Tree::List(_) => self.config.arrays == Arrays::Export,
            _ => true,
        }
    }

    fn copy(&self, value: &Tree) -> Tree {
        match value {
            Tree::Map(_) => Tree::Map(
                self.renamed_members(value)
                    .into_iter()
                    .filter(|(_, value)| self.exists(value))
                    .map(|(name, value)| (name, self.copy(&value)))
                    .collect(),
            ),
            Tree::List(items) => Tree::List(items.iter().map(|item| self.copy(item)).collect()),
            other => other.clone(),
        }
    }

    fn key(&self, identities: &[Identity]) -> Option<Key> {
        let in_namespace = |name: &str| -> Vec<&Identity> {
            identities.iter().filter(|identity| identity.namespace.eq_ignore_ascii_case(name)).collect()
        };
        let candidates: Vec<&Identity> = if self.config.key_namespaces.is_empty() {
            identities.iter().collect()
        } else {
            self.config.key_namespaces.iter().map(|name| in_namespace(name)).find(|list| !list.is_empty())?
        };
        let mut named: BTreeMap<Key, bool> = BTreeMap::new();
        for identity in candidates {
            *named.entry((identity.namespace.to_ascii_lowercase(), identity.id.clone())).or_default() |=
                identity.primary;
        }
        let primaries: Vec<&Key> =
            named.iter().filter(|(_, primary)| **primary).map(|(key, _)| key).collect();
        match primaries[..] {
            [only] => Some(only.clone()),
            _ => named.first_key_value().map(|(key, _)| key.clone()),
        }
    }

    fn trigger(
        &mut self,
        key: &Option<Key>,
        identities: &[Identity],
        memberships: &[Membership],
        attributes: &[(Vec<String>, Option<Tree>)],
    ) -> Result<(), Seen> {
        let has_segments = !self.config.segments.is_empty();
        let m: Vec<&Membership> = memberships
            .iter()
            .filter(|membership| matches!(membership.status.as_str(), "realized" | "existing" | "exited"))
            .filter(|membership| membership.mapped.is_some() || !has_segments)
            .collect();
        let transition = m.iter().any(|membership| membership.status != "existing");
        let any_attribute = attributes.iter().any(|(_, value)| value.is_some());
        if self.config.trigger == Trigger::Every {
            return Ok(());
        }
        if self.config.trigger == Trigger::Relevant {
            return if has_segments && m.is_empty() {
                Err(skipped("no_mapped_segment"))
            } else if transition || any_attribute {
                Ok(())
            } else {
                Err(skipped("no_relevant_change"))
            };
        }
        let mut classes: BTreeMap<Key, bool> = BTreeMap::new();
        for membership in &m {
            let segment = (membership.namespace.to_ascii_lowercase(), membership.id.clone());
            *classes.entry(segment).or_default() |= membership.status != "exited";
        }
        let seen = Remembered {
            identities: identities
                .iter()
                .map(|identity| (identity.namespace.to_ascii_lowercase(), identity.id.clone()))
                .collect(),
            attributes: attributes.iter().map(|(_, value)| value.clone()).collect(),
            classes,
        };
        let known = key.as_ref().and_then(|key| self.memory.iter().position(|(other, _)| other == key));
        let Some(known) = known else {
            if has_segments && m.is_empty() {
                return Err(skipped("no_mapped_segment"));
            }
            if let Some(key) = key {
                if self.memory.len() as u64 == self.config.state_max_profiles {
                    self.memory.remove(0);
                }
                self.memory.push((key.clone(), seen));
            }
            return if self.config.backfill || transition { Ok(()) } else { Err(skipped("historical")) };
        };
        let (key, before) = self.memory.remove(known);
        self.memory.push((key, seen.clone()));
        if seen.classes.iter().any(|(segment, class)| before.classes.get(segment) != Some(class)) {
            return Ok(());
        }
        let attributes_changed = match self.config.attribute_change {
            AttributeChange::Write => any_attribute,
            AttributeChange::Value => {
                before.attributes.iter().zip(&seen.attributes).any(|(before, now)| match (before, now) {
                    (Some(before), Some(now)) => !before.same_for_change(now),
                    (before, now) => before.is_some() != now.is_some(),
                })
            }
        };
        if before.identities != seen.identities || attributes_changed {
            if seen.classes.values().any(|member| *member) || !has_segments {
                return Ok(());
            }
            return Err(skipped("not_a_member"));
        }
        Err(skipped("no_relevant_change"))
    }

    fn output(
        &self,
        identities: &[Identity],
        memberships: &[Membership],
        attributes: &[(Vec<String>, Option<Tree>)],
    ) -> String {
        let mut top = Vec::new();
        let mut placed: Vec<&[String]> = Vec::new();
        for (path, value) in attributes {
            let Some(value) = value else { continue };
            if placed.iter().any(|earlier| path.starts_with(earlier)) {
                continue;
            }
            placed.push(path);
            place(&mut top, path, value.clone());
        }
        let mut segment_membership = Vec::new();
        for membership in memberships {
            if self.config.segment_scope == SegmentScope::Mapped && membership.mapped.is_none() {
                continue;
            }
            let mut fields = Vec::new();
            if let Some(time) = &membership.time {
                fields.push(("lastQualificationTime".to_owned(), Tree::Text(time.clone())));
            }
            let current = self.config.status_vocabulary == StatusVocabulary::Current;
            let status =
                if current && membership.status == "existing" { "realized" } else { &membership.status };
            fields.push(("status".to_owned(), Tree::Text(status.to_owned())));
            if let Some(segment) = membership.mapped.map(|i| &self.config.segments[i]) {
                let times = [
                    ("createdAt", segment.created_at),
                    ("updatedAt", segment.updated_at),
                    ("mappingCreatedAt", segment.mapping_created_at),
                    ("mappingUpdatedAt", segment.mapping_updated_at),
                ];
                for (name, time) in times {
                    if let Some(time) = time.filter(|_| self.config.include_segment_timestamps) {
                        fields.push((name.to_owned(), Tree::Number(time.to_string())));
                    }
                }
                if let Some(name) = segment.name.clone().filter(|_| self.config.include_segment_names) {
                    fields.push(("name".to_owned(), Tree::Text(name)));
                }
            }
            let path = [membership.namespace.clone(), membership.id.clone()];
            place(&mut segment_membership, &path, Tree::Map(fields));
        }
        let mut identity_map: Vec<(String, Tree)> = Vec::new();
        for identity in identities {
            let item = Tree::Map(vec![("id".to_owned(), Tree::Text(identity.id.clone()))]);
            match identity_map.iter_mut().find(|(name, _)| *name == identity.namespace) {
                Some((_, Tree::List(items))) => items.push(item),
                _ => identity_map.push((identity.namespace.clone(), Tree::List(vec![item]))),
            }
        }
        top.push(("segmentMembership".to_owned(), Tree::Map(segment_membership)));
        top.push(("identityMap".to_owned(), Tree::Map(identity_map)));
        Tree::Map(top).to_text()
    }
}

/// A section's members; absent and null have none.
fn section(profile: &Tree, name: &str, reason: &str) -> Result<Vec<(String, Tree)>, Seen> {
    match profile.get(name) {
        None | Some(Tree::Null) => Ok(Vec::new()),
        Some(Tree::Map(members)) => Ok(once(members)),
        Some(_) => Err(dropped(reason)),
    }
}

/// Each name once: at its first place, with its last value.
fn once(members: &[(String, Tree)]) -> Vec<(String, Tree)> {
    let mut out: Vec<(String, Tree)> = Vec::new();
    for (name, value) in members {
        put(&mut out, name.clone(), value.clone());
    }
    out
}

fn put(members: &mut Vec<(String, Tree)>, name: String, value: Tree) {
    match members.iter_mut().find(|(older, _)| *older == name) {
        Some((_, older)) => *older = value,
        None => members.push((name, value)),
    }
}

/// Puts a value at a path, making objects on the way; what was there before is replaced where it stands.
fn place(members: &mut Vec<(String, Tree)>, path: &[String], value: Tree) {
    let found = members.iter().position(|(name, _)| *name == path[0]);
    let at = found.unwrap_or_else(|| {
        members.push((path[0].clone(), Tree::Map(Vec::new())));
        members.len() - 1
    });
    if path.len() == 1 {
        members[at].1 = value;
    } else if let Tree::Map(inside) = &mut members[at].1 {
        place(inside, &path[1..], value);
    }
}

/// Nanoseconds since 1970 by counting days one year and one month at a time, and whether digits are left.
fn read_time(text: &str) -> Option<(i128, bool)> {
    let all: Vec<char> = text.chars().collect();
    let number = |range: std::ops::Range<usize>| -> Option<i128> {
        let digits: String = all.get(range)?.iter().collect();
        digits.chars().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let mark =
        |at: usize, marks: &str| all.get(at).is_some_and(|letter| marks.contains(*letter)).then_some(());
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    mark(4, "-").and(mark(7, "-")).and(mark(10, "Tt")).and(mark(13, ":")).and(mark(16, ":"))?;
    let leap = |year: i128| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in = |year: i128, month: i128| match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap(year) => 29,
        2 => 28,
        _ => 31,
    };
    if !(1..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day)
    {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut at = 19;
    let mut fraction = String::new();
    if all.get(at) == Some(&'.') {
        at += 1;
        while all.get(at).is_some_and(char::is_ascii_digit) {
            fraction.push(all[at]);
            at += 1;
        }
        if fraction.is_empty() {
            return None;
        }
    }
    let zone: String = all[at..].iter().collect();
    let offset = if zone == "Z" || zone == "z" {
        0
    } else {
        let sign = if zone.starts_with('+') {
            1
        } else if zone.starts_with('-') {
            -1
        } else {
            return None;
        };
        let hours = number(at + 1..at + 3)?;
        let minutes = match all.len() - at {
            6 => mark(at + 3, ":").and(number(at + 4..at + 6))?,
            5 => number(at + 3..at + 5)?,
            _ => return None,
        };
        if hours > 23 || minutes > 59 {
            return None;
        }
        sign * (hours * 3600 + minutes * 60)
    };
    let years: i128 = (1970..year).map(|year| if leap(year) { 366 } else { 365 }).sum::<i128>()
        - (year..1970).map(|year| if leap(year) { 366 } else { 365 }).sum::<i128>();
    let months: i128 = (1..month).map(|month| days_in(year, month)).sum();
    let seconds = (years + months + day - 1) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    let padded = format!("{fraction:0<9}");
    let (nanos, more) = padded.split_at(9);
    Some((seconds * 1_000_000_000 + nanos.parse::<i128>().unwrap(), more.chars().any(|digit| digit != '0')))
}
