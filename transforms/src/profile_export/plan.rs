//! Plan: a configuration compiled once, so that reading a record only follows numbers.
//! In: a typed configuration.  Out: a tree of attribute paths, tables of names, and the fixed parts of the output as bytes.
//! Holds: what is the same for all records. Finds the configuration errors that need a second look.

use std::collections::HashMap;

use super::config::{
    Arrays, AttributeChange, ExpiredMemberships, KeyStyle, MAX_DEPTH, NamespaceCase, OnMissingIdentity,
    ProfileExportConfig, RETENTION_DAYS, STATE_PROFILES_CEILING, Segment, SegmentScope, StatusVocabulary,
    Trigger, UnknownStatus, bad_timestamp,
};
use super::error::{ConfigError, ConfigErrorCode};
use super::names::NameTable;
use super::text::{Rank, renamed};
use super::write::escape_into;

/// What a name at the top level of the profile, or below a node, stands for.
pub(crate) const SEGMENT_MEMBERSHIP: u32 = u32::MAX;
pub(crate) const IDENTITY_MAP: u32 = u32::MAX - 1;
/// The node of the profile itself.
pub(crate) const ROOT: u32 = 0;
/// What stands between a membership's fields and the id of the next one.
pub(crate) const MEMBERSHIP_END: &[u8; 3] = b"},\"";

/// How names and arrays are treated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spelling {
    /// `key_style: platform`.
    pub(crate) platform: bool,
    /// `arrays: omit`.
    pub(crate) omit_arrays: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Decoded steps of `input_root`.
    pub(crate) envelope: Vec<Vec<u8>>,
    pub(crate) max_depth: u32,
    pub(crate) spelling: Spelling,
    /// Attribute paths as a tree, parents before children, each subtree in one piece. The first is the profile.
    pub(crate) nodes: Vec<Node>,
    /// How to write the attributes, unless an attribute's place in the output depends on which others exist.
    pub(crate) steps: Option<Vec<Step>>,
    /// Configured segment namespaces in lower case, each with its entry of `segment_ids`.
    pub(crate) segment_namespaces: NameTable,
    pub(crate) segment_ids: Vec<NameTable>,
    /// The end of a mapped membership in the output, from after the status: times and name, both with a comma before, and then
    /// [`MEMBERSHIP_END`].
    pub(crate) mapped: Vec<Box<[u8]>>,
    pub(crate) scope_mapped: bool,
    pub(crate) existing_as_realized: bool,
    pub(crate) keep_unknown_status: bool,
    pub(crate) omit_expired: bool,
    pub(crate) exited_retention_days: u64,
    pub(crate) lower_namespaces: bool,
    pub(crate) drop_without_identity: bool,
    pub(crate) trigger: Trigger,
    pub(crate) attribute_write: bool,
    pub(crate) backfill: bool,
    /// In lower case.
    pub(crate) key_namespaces: Vec<Vec<u8>>,
    pub(crate) state_max_profiles: u32,
}

/// One step of writing the attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Into the object of this node; if nothing was found of it, on to step `end`.
    Enter { node: u32, end: u32 },
    /// The value of this node, if it exists.
    Value { node: u32 },
    /// Out of the innermost object.
    Leave,
}

/// One step of one or more attribute paths.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    /// Comma, name with quotes, colon and opening bracket, as the output has it, then [`Node::PADDING`] bytes.
    pub(crate) key: Box<[u8]>,
    pub(crate) by_name: NameTable,
    /// In the order of the output when all attributes exist.
    pub(crate) children: Vec<u32>,
    /// A path ends here; its place in the configuration.
    pub(crate) attribute: Option<u32>,
    /// The first node after this one's subtree.
    pub(crate) end: u32,
}

impl Node {
    /// Bytes after a key, so that a short one can be copied with moves of fixed size.
    pub(crate) const PADDING: usize = 48;
}

impl Plan {
    pub(crate) fn compile(config: &ProfileExportConfig) -> Result<Self, ConfigError> {
        let in_range = |place: &str, value: u64, range: std::ops::RangeInclusive<u64>| {
            if range.contains(&value) {
                return Ok(());
            }
            let (low, high) = (range.start(), range.end());
            Err(ConfigError::bad_value(
                place,
                format!("found {value}, expected an integer from {low} to {high}"),
            ))
        };
        in_range("max_depth", config.max_depth, MAX_DEPTH)?;
        in_range("exited_retention_days", config.exited_retention_days, RETENTION_DAYS)?;
        in_range("state_max_profiles", config.state_max_profiles, 1..=u64::MAX)?;
        let platform = config.key_style == KeyStyle::Platform;
        let envelope = pointer(&config.input_root)?;
        let paths = attribute_paths(config, platform)?;
        let (nodes, interleaved) = tree(&paths);
        let steps = (!interleaved).then(|| writing_steps(&nodes));
        let (segment_namespaces, segment_ids) = segment_tables(&config.segments)?;
        if config.segment_scope == SegmentScope::Mapped && config.segments.is_empty() {
            return Err(ConfigError::new(
                ConfigErrorCode::MappedScopeWithoutSegments,
                "segment_scope",
                "`mapped` exports mapped segments only, but `segments` is empty; list segments or use `all`",
            ));
        }
        Ok(Self {
            envelope,
            max_depth: config.max_depth as u32,
            spelling: Spelling { platform, omit_arrays: config.arrays == Arrays::Omit },
            nodes,
            steps,
            segment_namespaces,
            segment_ids,
            mapped: config.segments.iter().map(|segment| membership_tail(segment, config)).collect(),
            scope_mapped: config.segment_scope == SegmentScope::Mapped,
            existing_as_realized: config.status_vocabulary == StatusVocabulary::Current,
            keep_unknown_status: config.unknown_status == UnknownStatus::Keep,
            omit_expired: config.expired_memberships == ExpiredMemberships::Omit,
            exited_retention_days: config.exited_retention_days,
            lower_namespaces: config.identity_namespace_case == NamespaceCase::Lower,
            drop_without_identity: config.on_missing_identity == OnMissingIdentity::Drop,
            trigger: config.trigger,
            attribute_write: config.attribute_change == AttributeChange::Write,
            backfill: config.backfill,
            key_namespaces: config
                .key_namespaces
                .iter()
                .map(|n| n.to_ascii_lowercase().into_bytes())
                .collect(),
            state_max_profiles: config.state_max_profiles.min(STATE_PROFILES_CEILING) as u32,
        })
    }

    /// Whether reading a record needs the time.
    pub(crate) fn needs_clock(&self) -> bool {
        self.omit_expired || self.exited_retention_days > 0
    }

    pub(crate) fn has_segments(&self) -> bool {
        !self.mapped.is_empty()
    }
}

/// The steps of a JSON Pointer (RFC 6901).
fn pointer(text: &str) -> Result<Vec<Vec<u8>>, ConfigError> {
    let bad = |why: &str| {
        let message = format!("{text:?} is not a JSON Pointer: {why}");
        ConfigError::new(ConfigErrorCode::BadPointer, "input_root", message)
    };
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let Some(steps) = text.strip_prefix('/') else {
        return Err(bad("it starts with `/` or is empty; write for example `/body/xdmEntity`"));
    };
    let decode = |step: &str| {
        let mut out = String::with_capacity(step.len());
        let mut letters = step.chars();
        while let Some(letter) = letters.next() {
            out.push(match letter {
                '~' => match letters.next() {
                    Some('0') => '~',
                    Some('1') => '/',
                    _ => return Err(bad("`~` is written `~0` and a `/` inside a key `~1`")),
                },
                other => other,
            });
        }
        Ok(out.into_bytes())
    };
    steps.split('/').map(decode).collect()
}

/// A mapped attribute: its place in the configuration, and its steps in the spelling of the output.
struct Path {
    number: u32,
    steps: Vec<Vec<u8>>,
}

/// The attribute paths as steps in the spelling of the output, without those into the two sections.
fn attribute_paths(config: &ProfileExportConfig, platform: bool) -> Result<Vec<Path>, ConfigError> {
    let mut paths = Vec::new();
    for (i, selector) in config.attributes.iter().enumerate() {
        let place = match selector {
            super::config::AttributeSelector::Path(_) => format!("attributes[{i}]"),
            super::config::AttributeSelector::Selector { .. } => format!("attributes[{i}].path"),
        };
        let steps = steps(selector.path(), &place)?;
        let steps: Vec<Vec<u8>> = steps
            .into_iter()
            .map(|step| if platform { renamed(step.as_bytes()).0.to_vec() } else { step.into_bytes() })
            .collect();
        if !matches!(steps[0].as_slice(), b"segmentMembership" | b"identityMap") {
            paths.push(Path { number: i as u32, steps });
        }
    }
    Ok(paths)
}

fn steps(path: &str, place: &str) -> Result<Vec<String>, ConfigError> {
    let bad = |why: &str| {
        ConfigError::new(ConfigErrorCode::BadAttributePath, place, format!("{path:?} is not a path: {why}"))
    };
    let mut steps = vec![String::new()];
    let mut letters = path.chars();
    while let Some(letter) = letters.next() {
        let step = steps.last_mut().filter(|step| letter != '.' || !step.is_empty());
        let Some(step) = step else {
            return Err(bad("it has an empty step; write one dot between two keys, none at the ends"));
        };
        match letter {
            '.' => steps.push(String::new()),
            '\\' => match letters.next() {
                Some(escaped @ ('.' | '\\')) => step.push(escaped),
                _ => return Err(bad("a backslash stands before a dot or a backslash only")),
            },
            other => step.push(other),
        }
    }
    if steps.last().is_some_and(String::is_empty) {
        return Err(bad("it has an empty step; write one dot between two keys, none at the ends"));
    }
    Ok(steps)
}

/// A tree that is still being built.
#[derive(Default)]
struct Branch {
    name: Vec<u8>,
    attribute: Option<u32>,
    children: Vec<Branch>,
    by_name: HashMap<Vec<u8>, usize>,
}

/// Builds the tree of paths. Paths are kept out where they can never be placed: below a path that comes earlier.
fn tree(paths: &[Path]) -> (Vec<Node>, bool) {
    let mut root = Branch::default();
    'paths: for Path { number, steps } in paths {
        let mut branch = &mut root;
        for step in steps {
            if branch.attribute.is_some() {
                continue 'paths;
            }
            let next = match branch.by_name.get(step) {
                Some(next) => *next,
                None => {
                    branch.by_name.insert(step.clone(), branch.children.len());
                    branch.children.push(Branch { name: step.clone(), ..Branch::default() });
                    branch.children.len() - 1
                }
            };
            branch = &mut branch.children[next];
        }
        branch.attribute.get_or_insert(*number);
    }
    flatten(root)
}

/// Lays the tree out in one list. Without recursion: a path may have any number of steps.
fn flatten(root: Branch) -> (Vec<Node>, bool) {
    let mut nodes: Vec<Node> = Vec::new();
    let mut names: Vec<Vec<u8>> = Vec::new();
    // A branch to lay out with its parent, or a node whose subtree is complete.
    enum Todo {
        Lay(Branch, Option<u32>),
        Complete(u32),
    }
    let mut order = Vec::new();
    let mut todo = vec![Todo::Lay(root, None)];
    while let Some(step) = todo.pop() {
        match step {
            Todo::Complete(node) => nodes[node as usize].end = nodes.len() as u32,
            Todo::Lay(branch, parent) => {
                let number = nodes.len() as u32;
                let mut key = b",\"".to_vec();
                escape_into(&branch.name, &mut key);
                key.extend_from_slice(b"\":{");
                key.extend([b' '; Node::PADDING]);
                order.extend(branch.attribute);
                nodes.push(Node { key: key.into(), attribute: branch.attribute, ..Node::default() });
                names.push(branch.name);
                if let Some(parent) = parent {
                    nodes[parent as usize].children.push(number);
                }
                todo.push(Todo::Complete(number));
                todo.extend(branch.children.into_iter().rev().map(|child| Todo::Lay(child, Some(number))));
            }
        }
    }
    for (i, node) in nodes.iter_mut().enumerate() {
        let mut below: Vec<(Vec<u8>, u32)> =
            node.children.iter().map(|child| (names[*child as usize].clone(), *child)).collect();
        if i == ROOT as usize {
            below.push((b"segmentMembership".to_vec(), SEGMENT_MEMBERSHIP));
            below.push((b"identityMap".to_vec(), IDENTITY_MAP));
        }
        node.by_name = NameTable::new(below);
    }
    // With the attributes in the order of the tree, leaving some out changes nothing for the others. An attribute that
    // contains others comes later than they do (or they would not be in the tree), but before them in the tree.
    let interleaved = !order.is_sorted();
    (nodes, interleaved)
}

/// The steps of writing, for nodes in the order of the output.
fn writing_steps(nodes: &[Node]) -> Vec<Step> {
    let mut steps = Vec::new();
    // Ends of open subtrees, and the steps that entered them.
    let mut open: Vec<(u32, usize)> = Vec::new();
    for (node, number) in nodes.iter().zip(0..) {
        while let Some((_, entered)) = open.last().copied().filter(|(end, _)| *end == number) {
            leave(&mut steps, entered);
            open.pop();
        }
        if number == ROOT {
            continue;
        }
        if node.attribute.is_some() {
            steps.push(Step::Value { node: number });
        } else {
            open.push((node.end, steps.len()));
            steps.push(Step::Enter { node: number, end: 0 });
        }
    }
    while let Some((_, entered)) = open.pop() {
        leave(&mut steps, entered);
    }
    steps
}

/// Leaves the object that step `entered` entered.
fn leave(steps: &mut Vec<Step>, entered: usize) {
    steps.push(Step::Leave);
    let after = steps.len() as u32;
    if let Some(Step::Enter { end, .. }) = steps.get_mut(entered) {
        *end = after;
    }
}

/// Tables to find a mapped segment by namespace (in lower case) and id.
fn segment_tables(segments: &[Segment]) -> Result<(NameTable, Vec<NameTable>), ConfigError> {
    let mut namespaces: Vec<Vec<u8>> = Vec::new();
    let mut ids: Vec<Vec<(Vec<u8>, u32)>> = Vec::new();
    let mut seen: HashMap<(Vec<u8>, Vec<u8>), usize> = HashMap::new();
    let mut by_namespace: HashMap<Vec<u8>, usize> = HashMap::new();
    for (i, segment) in segments.iter().enumerate() {
        for (key, value) in [("id", &segment.id), ("namespace", &segment.namespace)] {
            if value.is_empty() {
                let message = "found \"\", expected text that is not empty";
                return Err(ConfigError::bad_value(format!("segments[{i}].{key}"), message));
            }
        }
        for (key, time) in [
            ("created_at", segment.created_at),
            ("updated_at", segment.updated_at),
            ("mapping_created_at", segment.mapping_created_at),
            ("mapping_updated_at", segment.mapping_updated_at),
        ] {
            if let Some(time) = time.filter(|time| i64::try_from(*time).is_err()) {
                return Err(bad_timestamp(format!("segments[{i}].{key}"), &time));
            }
        }
        let namespace = segment.namespace.to_ascii_lowercase().into_bytes();
        let id = segment.id.clone().into_bytes();
        if let Some(first) = seen.insert((namespace.clone(), id.clone()), i) {
            return Err(ConfigError::new(
                ConfigErrorCode::DuplicateSegment,
                format!("segments[{i}]"),
                format!(
                    "{:?} in namespace {:?} is segments[{first}] already (case of the namespace ignored); remove one",
                    segment.id, segment.namespace
                ),
            ));
        }
        let place = *by_namespace.entry(namespace.clone()).or_insert_with(|| {
            namespaces.push(namespace);
            ids.push(Vec::new());
            namespaces.len() - 1
        });
        ids[place].push((id, i as u32));
    }
    Ok((NameTable::new(namespaces.into_iter().zip(0..)), ids.into_iter().map(NameTable::new).collect()))
}

/// What follows the status of a mapped membership in the output (specification, 4.2 and 4.4).
fn membership_tail(segment: &Segment, config: &ProfileExportConfig) -> Box<[u8]> {
    let mut tail = Vec::new();
    if config.include_segment_timestamps {
        for (key, time) in [
            ("createdAt", segment.created_at),
            ("updatedAt", segment.updated_at),
            ("mappingCreatedAt", segment.mapping_created_at),
            ("mappingUpdatedAt", segment.mapping_updated_at),
        ] {
            if let Some(time) = time {
                tail.extend_from_slice(format!(",\"{key}\":{time}").as_bytes());
            }
        }
    }
    if let Some(name) = segment.name.as_ref().filter(|_| config.include_segment_names) {
        tail.extend_from_slice(b",\"name\":\"");
        escape_into(name.as_bytes(), &mut tail);
        tail.push(b'"');
    }
    tail.extend_from_slice(MEMBERSHIP_END);
    tail.into()
}

/// A field name in the spelling that is asked for, and how much it weighs.
#[inline(always)]
pub(crate) fn field_name(name: &[u8], spelling: Spelling) -> (&[u8], Rank) {
    if spelling.platform { renamed(name) } else { (name, Rank::Plain) }
}
