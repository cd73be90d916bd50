//! Render: the output of one event (specification, section 4), written once, in order.
//! In: a settled event and the plan.  Out: compact JSON in a `Writer`.
//! Never: decides whether to export; touches a value's bytes other than to move them.

use super::copy::Copied;
use super::event::{Event, Membership, NOT_MAPPED, Status};
use super::plan::{Plan, ROOT};
use super::text::Text;
use super::write::Writer;

/// Scratch of the rendering, kept between records.
#[derive(Debug, Default)]
pub(crate) struct Render {
    pub(crate) out: Writer,
    /// Per node: the first attribute in configuration order that exists in its subtree, or `NONE`.
    first: Vec<u32>,
    /// Children still to be written, of the nodes that are open.
    order: Vec<u32>,
    /// Open nodes: where their children start in `order`, and which is next.
    open: Vec<(u32, u32)>,
}

const NONE: u32 = u32::MAX;

/// The bytes of an exported value.
#[inline(always)]
pub(crate) fn copied<'a>(value: Copied, event: &'a Event, record: &'a [u8]) -> &'a [u8] {
    match value {
        Copied::InRecord { start, end } => &record[start..end],
        Copied::InBuffer { start, end } => &event.copier.out[start..end],
    }
}

impl Render {
    /// Finds out which attributes exist. Tells whether any does.
    #[inline]
    pub(crate) fn look(&mut self, event: &Event, plan: &Plan) -> bool {
        self.first.clear();
        self.first.resize(plan.nodes.len(), NONE);
        for (i, node) in plan.nodes.iter().enumerate().rev() {
            let mut first = NONE;
            if event.slots[i].value.is_some() {
                first = node.attribute.unwrap_or(NONE);
            }
            for child in &node.children {
                first = first.min(self.first[*child as usize]);
            }
            self.first[i] = first;
        }
        self.first[ROOT as usize] != NONE
    }

    /// Writes the event. `look` must have been called.
    #[inline]
    pub(crate) fn write(&mut self, event: &Event, plan: &Plan, record: &[u8]) {
        self.out.clear();
        self.out.reserve(record.len());
        self.out.fixed(b"{");
        if self.first[ROOT as usize] != NONE {
            self.attributes(event, plan, record);
        }
        self.out.fixed(b"\"segmentMembership\":{");
        self.memberships(event, plan, record);
        self.out.fixed(b"},\"identityMap\":{");
        self.identities(event, plan, record);
        self.out.fixed(b"}}");
    }

    /// Writes the attributes, each with a comma after it.
    fn attributes(&mut self, event: &Event, plan: &Plan, record: &[u8]) {
        self.order.clear();
        self.open.clear();
        self.enter(plan, ROOT);
        while let Some((start, next)) = self.open.last_mut() {
            let Some(child) = self.order.get(*next as usize).copied() else {
                // All children are written, each followed by a comma; the node's own comma follows.
                self.order.truncate(*start as usize);
                self.open.pop();
                if !self.open.is_empty() {
                    self.out.unput();
                    self.out.fixed(b"},");
                }
                continue;
            };
            *next += 1;
            let node = &plan.nodes[child as usize];
            self.out.part(&node.key, 0, node.key.len());
            match event.slots[child as usize].value {
                Some(Copied::InRecord { start, end }) => self.out.part(record, start, end - start),
                Some(value) => self.out.put(copied(value, event, record)),
                None => {
                    self.out.fixed(b"{");
                    self.enter(plan, child);
                    continue;
                }
            }
            self.out.fixed(b",");
        }
    }

    fn enter(&mut self, plan: &Plan, node: u32) {
        let start = self.order.len();
        let first = &self.first;
        let children = plan.nodes[node as usize].children.iter().copied();
        self.order.extend(children.filter(|child| first[*child as usize] != NONE));
        if plan.interleaved {
            self.order[start..].sort_unstable_by_key(|child| first[*child as usize]);
        }
        self.open.push((start as u32, start as u32));
    }

    fn text(&mut self, text: Text, event: &Event, record: &[u8]) {
        if text.is_in_arena() {
            self.out.escaped(text.of(record, &event.arena));
        } else {
            self.out.part(record, text.start(), text.len());
        }
    }

    fn memberships(&mut self, event: &Event, plan: &Plan, record: &[u8]) {
        let mut first_namespace = true;
        for namespace in &event.memberships.namespaces {
            let mut first = true;
            for membership in &event.memberships.items[namespace.start as usize..namespace.end as usize] {
                if membership.ignored.is_some() || plan.scope_mapped && membership.mapped == NOT_MAPPED {
                    continue;
                }
                if first {
                    if !first_namespace {
                        self.out.fixed(b",");
                    }
                    self.out.fixed(b"\"");
                    self.text(namespace.name, event, record);
                    self.out.fixed(b"\":{\"");
                } else {
                    self.out.fixed(b",\"");
                }
                first = false;
                self.membership(membership, event, plan, record);
            }
            if !first {
                self.out.fixed(b"}");
                first_namespace = false;
            }
        }
    }

    /// Writes a membership after the opening quote of its id.
    #[inline(always)]
    fn membership(&mut self, membership: &Membership, event: &Event, plan: &Plan, record: &[u8]) {
        self.text(membership.id, event, record);
        if membership.time.is_none() {
            self.out.fixed(b"\":{\"status\":\"");
        } else {
            self.out.fixed(b"\":{\"lastQualificationTime\":\"");
            self.text(membership.time, event, record);
            self.out.fixed(b"\",\"status\":\"");
        }
        match membership.status {
            Status::Existing if !plan.existing_as_realized => self.out.fixed(b"existing\""),
            Status::Realized | Status::Existing => self.out.fixed(b"realized\""),
            Status::Exited => self.out.fixed(b"exited\""),
            Status::Other(word) => {
                self.text(word, event, record);
                self.out.fixed(b"\"");
            }
        }
        match plan.mapped.get(membership.mapped as usize) {
            Some(tail) => self.out.put(tail),
            None => self.out.fixed(b"}"),
        }
    }

    fn identities(&mut self, event: &Event, plan: &Plan, record: &[u8]) {
        // Each namespace stands alone, unless some were joined.
        let namespaces = &event.identities.namespaces;
        let count = if event.joined.is_empty() { namespaces.len() } else { event.joined.len() };
        let mut open: Option<u32> = None;
        for place in 0..count {
            let (leader, member) = match event.joined.get(place) {
                Some(pair) => *pair,
                None => (place as u32, place as u32),
            };
            let namespace = &namespaces[member as usize];
            for identity in &event.identities.items[namespace.start as usize..namespace.end as usize] {
                if identity.repeated {
                    continue;
                }
                if open == Some(leader) {
                    self.out.fixed(b",{\"id\":\"");
                } else {
                    if open.is_some() {
                        self.out.fixed(b"],");
                    }
                    open = Some(leader);
                    self.out.fixed(b"\"");
                    let name = self.out.len();
                    self.text(namespaces[leader as usize].name, event, record);
                    if plan.lower_namespaces {
                        self.out.lower_since(name);
                    }
                    self.out.fixed(b"\":[{\"id\":\"");
                }
                self.text(identity.id, event, record);
                self.out.fixed(b"\"}");
            }
        }
        if open.is_some() {
            self.out.fixed(b"]");
        }
    }
}
