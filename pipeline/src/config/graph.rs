//! Graph: which component reads which outputs.
//! In: components with their outputs and `inputs` as written. Out: resolved inputs, and everything that does not fit together.
//! Never: loads a component. One that could not be loaded still has its name here; what its outputs are is then not questioned.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::path::Path;

use indexmap::IndexMap;

use super::document::Masks;
use super::error::{Finding, Trail, nearest};
use super::fields::Report;
use crate::component::{ComponentKey, ComponentKind, OutputId, Resource};

/// One component as the graph sees it.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) kind: ComponentKind,
    pub(super) key: ComponentKey,
    /// Its outputs; `None` if it could not be loaded.
    pub(super) outputs: Option<Vec<Option<String>>>,
    /// Its inputs as written; `None` for a source, and if they could not be read.
    pub(super) inputs: Option<Vec<String>>,
    /// What only it may own.
    pub(super) resources: Vec<Resource>,
    /// What of the inputs must not be shown.
    pub(super) masks: Masks,
}

impl Node {
    /// `sources`, `transforms` or `sinks`, and the id.
    pub(super) fn trail(&self) -> Trail {
        Trail::of(&[section(self.kind), self.key.id()])
    }

    fn outputs(&self) -> impl Iterator<Item = OutputId> + '_ {
        let ports = self.outputs.iter().flatten();
        ports.map(|port| OutputId { component: self.key.clone(), port: port.clone() })
    }
}

/// The key under which components of a kind stand.
pub(super) fn section(kind: ComponentKind) -> &'static str {
    match kind {
        ComponentKind::Source => "sources",
        ComponentKind::Transform => "transforms",
        ComponentKind::Sink => "sinks",
    }
}

/// `Source`, `Transform`, `Sink`.
fn title(kind: ComponentKind) -> &'static str {
    match kind {
        ComponentKind::Source => "Source",
        ComponentKind::Transform => "Transform",
        ComponentKind::Sink => "Sink",
    }
}

/// Resolved inputs of transforms and sinks, by kind and id.
pub(super) type Inputs = HashMap<(ComponentKind, ComponentKey), Vec<OutputId>>;

/// Resolves the inputs of all nodes and checks what they make.
pub(super) fn wire(nodes: &[Node], relaxed: bool, report: &mut Report) -> Inputs {
    check_names(nodes, report);
    let mut by_name: IndexMap<String, Vec<OutputId>> = IndexMap::new();
    for output in nodes.iter().flat_map(Node::outputs) {
        by_name.entry(output.to_string()).or_default().push(output);
    }
    let graph = Graph { nodes, by_name, relaxed };
    let mut inputs = Inputs::new();
    for node in nodes.iter().filter(|node| node.kind != ComponentKind::Source) {
        if let Some(resolved) = graph.resolve(node, report) {
            inputs.insert((node.kind, node.key.clone()), resolved);
        }
    }
    check_cycles(nodes, &inputs, report);
    if report.errors.is_empty() {
        warn_of_loose_ends(nodes, &inputs, report);
    }
    inputs
}

fn check_names(nodes: &[Node], report: &mut Report) {
    let mut kinds: BTreeMap<&ComponentKey, Vec<&Node>> = BTreeMap::new();
    for node in nodes {
        if node.key.id().is_empty() {
            report.error(node.trail(), format!("{} has an empty name", title(node.kind)));
        } else if node.key.id().contains('.') {
            let message = format!("Component name \"{}\" should not contain a \".\"", node.key);
            report.error(node.trail(), message);
        }
        kinds.entry(&node.key).or_default().push(node);
    }
    for (key, same) in kinds {
        if let [_, .., last] = same.as_slice() {
            let kinds: Vec<_> = same.iter().map(|node| node.kind.as_str()).collect();
            let message = format!("More than one component with name \"{key}\" ({}).", kinds.join(", "));
            report.error(last.trail(), message);
        }
    }
}

struct Graph<'a> {
    nodes: &'a [Node],
    by_name: IndexMap<String, Vec<OutputId>>,
    relaxed: bool,
}

impl Graph<'_> {
    /// The outputs that `node` reads; `None` if its inputs could not be read.
    fn resolve(&self, node: &Node, report: &mut Report) -> Option<Vec<OutputId>> {
        let entries = node.inputs.as_ref()?;
        let trail = node.trail().key("inputs");
        let (kind, key) = (node.kind, &node.key);
        if entries.is_empty() {
            report.error(trail, format!("{} \"{key}\" has no inputs", title(kind)));
            return Some(Vec::new());
        }
        let mut counts: IndexMap<&str, usize> = IndexMap::new();
        for entry in entries {
            *counts.entry(entry).or_default() += 1;
        }
        let mut resolved: Vec<OutputId> = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let Some(count) = counts.shift_remove(entry.as_str()) else { continue };
            let trail = trail.index(index);
            let shown = node.masks.apply(entry);
            if count > 1 {
                let message =
                    format!("{} \"{key}\" has input \"{shown}\" duplicated {count} times", title(kind));
                report.error(trail.clone(), message);
            }
            match self.find(node, entry) {
                Found::Outputs(outputs) => {
                    for output in outputs {
                        if !resolved.contains(&output) {
                            resolved.push(output);
                        }
                    }
                }
                Found::Unquestioned => {}
                Found::Ambiguous => {
                    report.error(trail, format!("Input specifier {shown} is ambiguous"));
                }
                Found::Nothing => {
                    let message = format!(
                        "Input \"{shown}\" for {} \"{key}\" doesn't match any components.",
                        kind.as_str()
                    );
                    let hint = node.masks.apply(&self.instead_of(node, entry).unwrap_or_default());
                    let hint = (!hint.is_empty()).then_some(hint);
                    report.errors.push(Finding::new(trail, message).hint(hint));
                }
            }
        }
        Some(resolved)
    }

    fn find(&self, node: &Node, entry: &str) -> Found {
        let exact = self.by_name.get(entry).map(Vec::as_slice).unwrap_or_default();
        match exact {
            [one] => return Found::Outputs(vec![one.clone()]),
            [_, ..] => return Found::Ambiguous,
            [] => {}
        }
        let component = entry.split_once('.').map_or(entry, |(component, _)| component);
        let unknown = |other: &&Node| other.outputs.is_none() && other.kind != ComponentKind::Sink;
        let mut opaque = self.nodes.iter().filter(unknown);
        if opaque.any(|other| other.key.id() == component || other.key.id() == entry) {
            return Found::Unquestioned;
        }
        if !entry.contains(['*', '?', '[']) {
            return Found::Nothing;
        }
        let Ok(pattern) = glob::Pattern::new(entry) else { return Found::Nothing };
        let matching: Vec<_> = self
            .by_name
            .iter()
            .filter(|(name, _)| pattern.matches(name))
            .flat_map(|(_, outputs)| outputs)
            .filter(|output| output.component != node.key)
            .cloned()
            .collect();
        let opaque = self.nodes.iter().filter(unknown).any(|other| other.key != node.key);
        if matching.is_empty() && !self.relaxed && !opaque {
            Found::Nothing
        } else {
            Found::Outputs(matching)
        }
    }

    /// What may have been meant by an input that matches nothing.
    fn instead_of(&self, node: &Node, entry: &str) -> Option<String> {
        let component = entry.split_once('.').map_or(entry, |(component, _)| component);
        if let Some(same) =
            self.nodes.iter().find(|other| other.key.id() == component && other.key != node.key)
        {
            if same.kind == ComponentKind::Sink {
                return Some(format!("`{component}` is a sink; only sources and transforms have outputs"));
            }
            let outputs: Vec<_> = same.outputs().map(|output| format!("`{output}`")).collect();
            return Some(match outputs.as_slice() {
                [] => format!("`{component}` has no outputs"),
                _ => format!("the outputs of `{component}` are {}", outputs.join(", ")),
            });
        }
        let names =
            self.by_name.iter().filter(|(_, outputs)| outputs.iter().any(|out| out.component != node.key));
        let names: Vec<_> = names.map(|(name, _)| name.as_str()).collect();
        match nearest(entry, names.iter().copied()) {
            Some(near) => Some(format!("did you mean `{near}`?")),
            None if names.is_empty() || names.len() > 12 => None,
            None => Some(format!("there are: {}", names.join(", "))),
        }
    }
}

enum Found {
    Outputs(Vec<OutputId>),
    /// A component of that name exists but could not be loaded.
    Unquestioned,
    Ambiguous,
    Nothing,
}

/// One error for each ring of transforms.
fn check_cycles(nodes: &[Node], inputs: &Inputs, report: &mut Report) {
    let upstream: HashMap<&ComponentKey, Vec<&ComponentKey>> = inputs
        .iter()
        .filter(|((kind, _), _)| *kind == ComponentKind::Transform)
        .map(|((_, key), outputs)| (key, outputs.iter().map(|output| &output.component).collect()))
        .collect();
    let transforms: HashMap<&ComponentKey, &Node> = nodes
        .iter()
        .filter(|node| node.kind == ComponentKind::Transform)
        .map(|node| (&node.key, node))
        .collect();
    // From the sinks up, so that a ring is told from where it is left.
    let sinks = nodes.iter().filter(|node| node.kind == ComponentKind::Sink);
    let starts = sinks
        .filter_map(|node| inputs.get(&(node.kind, node.key.clone())))
        .flatten()
        .map(|output| &output.component)
        .chain(nodes.iter().filter(|node| node.kind == ComponentKind::Transform).map(|node| &node.key));
    let mut done: HashSet<&ComponentKey> = HashSet::new();
    for start in starts {
        // The way from `start` to here, with what is left to look at from each step.
        let mut way: Vec<(&ComponentKey, std::slice::Iter<'_, &ComponentKey>)> = Vec::new();
        let mut on_way: HashSet<&ComponentKey> = HashSet::new();
        let mut enter = Some(start);
        loop {
            if let Some(key) = enter.take()
                && !done.contains(key)
                && let Some(next) = upstream.get(key)
            {
                on_way.insert(key);
                way.push((key, next.iter()));
            }
            let Some((key, rest)) = way.last_mut() else { break };
            let key = *key;
            match rest.next() {
                Some(next) if on_way.contains(*next) => {
                    let from = way.iter().position(|(step, _)| step == next).unwrap_or_default();
                    let ring: Vec<_> = way[from..].iter().map(|(step, _)| *step).collect();
                    tell_ring(&ring, &transforms, report);
                    // The rest of this ring would only be told once more.
                    done.extend(on_way.drain());
                    way.clear();
                }
                Some(next) => enter = Some(next),
                None => {
                    on_way.remove(key);
                    done.insert(key);
                    way.pop();
                }
            }
        }
    }
}

/// `ring` is against the flow; it is told with the flow.
fn tell_ring(ring: &[&ComponentKey], transforms: &HashMap<&ComponentKey, &Node>, report: &mut Report) {
    let Some(first) = ring.first() else { return };
    let chain: Vec<_> = std::iter::once(first).chain(ring.iter().rev()).map(ToString::to_string).collect();
    let trail = transforms.get(first).map(|node| node.trail().key("inputs")).unwrap_or_default();
    report.error(trail, format!("Cyclic dependency detected in the chain [ {} ]", chain.join(" -> ")));
}

fn warn_of_loose_ends(nodes: &[Node], inputs: &Inputs, report: &mut Report) {
    let used: HashSet<&OutputId> = inputs.values().flatten().collect();
    for node in nodes {
        for output in node.outputs().filter(|output| !used.contains(output)) {
            report.warn(node.trail(), format!("{} \"{output}\" has no consumers", title(node.kind)));
        }
    }
}

/// Checks that nothing is owned twice. Two addresses clash if one of them is all addresses.
pub(super) fn check_resources(owners: &[(ComponentKey, Trail, Resource)], report: &mut Report) {
    let mut told: BTreeSet<usize> = BTreeSet::new();
    for (index, (_, _, resource)) in owners.iter().enumerate() {
        if told.contains(&index) {
            continue;
        }
        let others = (index + 1..owners.len()).filter(|other| clash(resource, &owners[*other].2));
        let group: Vec<usize> = std::iter::once(index).chain(others).collect();
        let keys: BTreeSet<_> = group.iter().map(|at| format!("{:?}", owners[*at].0.id())).collect();
        if group.len() < 2 {
            continue;
        }
        let keys: Vec<_> = keys.into_iter().collect();
        let message =
            format!("Resource `{resource}` is claimed by multiple components: {{{}}}", keys.join(", "));
        let last = group.last().map(|at| &owners[*at]);
        let differs = last.map(|(_, _, other)| other).filter(|other| *other != resource);
        let hint = clash_hint(resource, differs);
        let trail = last.map(|(_, trail, _)| trail.clone()).unwrap_or_default();
        report.errors.push(Finding::new(trail, message).hint(hint));
        told.extend(group);
    }
}

/// What to say about `resource`, which is claimed again or clashes with one that differs.
fn clash_hint(resource: &Resource, differs: Option<&Resource>) -> Option<String> {
    match (resource, differs) {
        (Resource::RotatedFile(one), Some(Resource::RotatedFile(other))) => {
            let (new, old) = if rotates_into(one, other) { (one, other) } else { (other, one) };
            let (new, old) = (new.display(), old.display());
            Some(format!("`{new}` is renamed to `{old}` when it is full: give each a file of its own"))
        }
        (Resource::RotatedFile(_), _) => Some("give each a file of its own".to_owned()),
        (_, Some(other)) => Some(format!("`{other}` is part of it, or the other way round")),
        _ => None,
    }
}

fn clash(one: &Resource, other: &Resource) -> bool {
    match (one, other) {
        (Resource::Port(a, protocol), Resource::Port(b, other_protocol)) => {
            // An address of all families' hosts listens for IPv4 too, on most systems.
            let covers =
                |all: IpAddr, some: IpAddr| all.is_unspecified() && (all.is_ipv6() || some.is_ipv4());
            protocol == other_protocol
                && a.port() == b.port()
                && a.port() != 0
                && (a.ip() == b.ip() || covers(a.ip(), b.ip()) || covers(b.ip(), a.ip()))
        }
        (Resource::RotatedFile(a), Resource::RotatedFile(b)) => {
            a == b || rotates_into(a, b) || rotates_into(b, a)
        }
        _ => one == other,
    }
}

fn rotates_into(new: &Path, old: &Path) -> bool {
    let name = old.as_os_str().as_encoded_bytes();
    name.strip_suffix(b".1").is_some_and(|name| name == new.as_os_str().as_encoded_bytes())
}

#[cfg(test)]
#[path = "graph/tests.rs"]
mod tests;
