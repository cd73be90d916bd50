//! Render: the output of one event (specification, section 4), written once, in order.
//! In: a settled event and the plan.  Out: compact JSON.
//! Never: decides whether to export; touches a value's bytes other than to move them.

use super::copy::Copied;
use super::event::{Event, Membership, NOT_MAPPED, Status};
use super::plan::{Node, Plan, ROOT, Step};
use super::text::Text;
use super::write::{LONG_BYTES, SHORT_BYTES, Writer};

/// The output, and scratch that is kept between records.
#[derive(Debug, Default)]
pub(crate) struct Render {
    /// Bytes past `len` are garbage.
    buffer: Vec<u8>,
    len: usize,
    /// Nodes whose objects have been entered.
    entered: Vec<u32>,
    /// A name in lower case.
    lower: Vec<u8>,
    /// Only for plans without steps: the steps for this event, and what they are made from.
    steps: Vec<Step>,
    first: Vec<u32>,
    order: Vec<u32>,
}

/// The bytes of an exported value.
#[inline(always)]
pub(crate) fn copied<'a>(value: Copied, event: &'a Event, record: &'a [u8]) -> &'a [u8] {
    match value {
        Copied::InRecord { start, end } => &record[start..end],
        Copied::InBuffer { start, end } => &event.copier.out[start..end],
    }
}

impl Render {
    pub(crate) fn written(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    /// Gives memory back that a giant record left behind.
    pub(crate) fn shrink(&mut self, most: usize) {
        if self.buffer.len() > most {
            self.buffer.truncate(most);
            self.buffer.shrink_to_fit();
            self.len = 0;
        }
    }

    /// Writes the event.
    pub(crate) fn write(&mut self, event: &Event, plan: &Plan, record: &[u8]) {
        if plan.steps.is_none() {
            self.order_attributes(event, plan);
        }
        // Mostly the output is shorter than the record; names of mapped segments can make it longer.
        let mut room = record.len() + 256;
        loop {
            if self.buffer.len() < room {
                self.buffer.resize(room.next_power_of_two(), 0);
            }
            let steps = plan.steps.as_ref().unwrap_or(&self.steps);
            let whole = self.buffer.len();
            let pen = Pen { event, plan, record, lower: &mut self.lower, out: Writer::new(&mut self.buffer) };
            if let Some(left) = pen.write(steps, &mut self.entered) {
                self.len = whole - left;
                return;
            }
            room = whole * 2;
        }
    }

    /// Makes the steps for an event in which an attribute's place depends on which others exist: an object stands where
    /// the first of its attributes was placed.
    fn order_attributes(&mut self, event: &Event, plan: &Plan) {
        const NONE: u32 = u32::MAX;
        self.first.clear();
        self.first.resize(plan.nodes.len(), NONE);
        for (i, node) in plan.nodes.iter().enumerate().rev() {
            let own = event.slots[i].value.and(node.attribute).unwrap_or(NONE);
            let below = node.children.iter().map(|child| self.first[*child as usize]);
            self.first[i] = below.fold(own, u32::min);
        }
        self.steps.clear();
        self.order.clear();
        self.entered.clear();
        // `order` holds the children still to come of all nodes that are open; `entered` where each one's start.
        let mut node = ROOT;
        loop {
            let start = self.order.len();
            let children = plan.nodes[node as usize].children.iter();
            self.order.extend(children.filter(|child| self.first[**child as usize] != NONE));
            // The next one is taken from the end.
            self.order[start..].sort_unstable_by_key(|child| std::cmp::Reverse(self.first[*child as usize]));
            self.entered.push(start as u32);
            node = loop {
                let Some(start) = self.entered.last() else { return };
                if self.order.len() == *start as usize {
                    self.entered.pop();
                    if !self.entered.is_empty() {
                        self.steps.push(Step::Leave);
                    }
                    continue;
                }
                let Some(next) = self.order.pop() else { return };
                if event.slots[next as usize].value.is_none() {
                    self.steps.push(Step::Enter { node: next, end: 0 });
                    break next;
                }
                self.steps.push(Step::Value { node: next });
            };
        }
    }
}

/// What writes one event.
struct Pen<'a> {
    event: &'a Event,
    plan: &'a Plan,
    record: &'a [u8],
    lower: &'a mut Vec<u8>,
    out: Writer<'a>,
}

impl Pen<'_> {
    #[inline(never)]
    fn write(self, steps: &[Step], entered: &mut Vec<u32>) -> Option<usize> {
        // A variable of this function, or the writer would be kept in memory instead of in registers.
        let mut pen = self;
        pen.out.fixed(b"{");
        pen.attributes(steps, entered);
        pen.out.fixed(b"\"segmentMembership\":{");
        pen.memberships();
        pen.out.fixed(b"},\"identityMap\":{");
        pen.identities();
        pen.out.fixed(b"}}");
        pen.out.finish()
    }

    /// Writes the attributes, with a comma at the end if there are any. An object's key is written with the first value
    /// inside.
    #[inline(always)]
    fn attributes(&mut self, steps: &[Step], entered: &mut Vec<u32>) {
        entered.clear();
        let mut written = 0;
        // Keys start with a comma; the first of each object goes without.
        let mut skip = 1;
        let mut next = 0;
        while let Some(step) = steps.get(next) {
            next += 1;
            match *step {
                Step::Enter { node, end } => {
                    if end > 0 && !self.event.slots[node as usize].is_seen() {
                        next = end as usize;
                        continue;
                    }
                    entered.push(node);
                }
                Step::Value { node } => {
                    let Some(value) = self.event.slots[node as usize].value else { continue };
                    for node in &entered[written..] {
                        let key = &self.plan.nodes[*node as usize].key;
                        self.out.part::<SHORT_BYTES>(key, skip, key.len() - Node::PADDING);
                        skip = 1;
                    }
                    written = entered.len();
                    let key = &self.plan.nodes[node as usize].key;
                    // Without the bracket.
                    self.out.part::<SHORT_BYTES>(key, skip, key.len() - Node::PADDING - 1);
                    match value {
                        Copied::InRecord { start, end } => {
                            self.out.part::<SHORT_BYTES>(self.record, start, end)
                        }
                        Copied::InBuffer { .. } => self.out.put(copied(value, self.event, self.record)),
                    }
                    skip = 0;
                }
                Step::Leave => {
                    if written == entered.len() {
                        self.out.fixed(b"}");
                        written -= 1;
                        skip = 0;
                    }
                    entered.pop();
                }
            }
        }
        if skip == 0 {
            self.out.fixed(b",");
        }
    }

    #[inline(always)]
    fn text(&mut self, text: Text) {
        if text.is_in_arena() {
            self.out.escaped(text.of(self.record, &self.event.arena));
        } else {
            self.out.part::<SHORT_BYTES>(self.record, text.start(), text.end());
        }
    }

    #[inline(always)]
    fn memberships(&mut self) {
        let mut first_namespace = true;
        for namespace in &self.event.memberships.namespaces {
            let mut first = true;
            for membership in &self.event.memberships.items[namespace.start as usize..namespace.end as usize]
            {
                let left_out = self.plan.scope_mapped && membership.mapped == NOT_MAPPED;
                if membership.ignored.is_some() || left_out {
                    continue;
                }
                if first {
                    if !first_namespace {
                        self.out.fixed(b",");
                    }
                    self.out.fixed(b"\"");
                    self.text(namespace.name);
                    self.out.fixed(b"\":{\"");
                } else {
                    self.out.fixed(b",\"");
                }
                first = false;
                self.membership(membership);
            }
            if !first {
                self.out.fixed(b"}");
                first_namespace = false;
            }
        }
    }

    /// Writes a membership after the opening quote of its id.
    #[inline(always)]
    fn membership(&mut self, membership: &Membership) {
        const STATUS: &[u8; 12] = b"\",\"status\":\"";
        if membership.in_order {
            let (start, end) = (membership.id.start(), membership.time.end() + STATUS.len());
            self.out.part::<LONG_BYTES>(self.record, start, end);
        } else {
            self.text(membership.id);
            if membership.time.is_none() {
                self.out.fixed(b"\":{\"status\":\"");
            } else {
                self.out.fixed(b"\":{\"lastQualificationTime\":\"");
                self.text(membership.time);
                self.out.fixed(STATUS);
            }
        }
        match membership.status {
            Status::Existing if !self.plan.existing_as_realized => self.out.fixed(b"existing\""),
            Status::Realized | Status::Existing => self.out.fixed(b"realized\""),
            Status::Exited => self.out.fixed(b"exited\""),
            Status::Other => {
                self.text(membership.word);
                self.out.fixed(b"\"");
            }
        }
        match self.plan.mapped.get(membership.mapped as usize) {
            Some(tail) if !tail.is_empty() => self.out.put(tail),
            _ => {}
        }
        self.out.fixed(b"}");
    }

    #[inline(always)]
    fn identities(&mut self) {
        // Each namespace stands alone, unless some were joined.
        let joined = &self.event.joined;
        let namespaces = &self.event.identities.namespaces;
        let count = if joined.is_empty() { namespaces.len() } else { joined.len() };
        let mut open: Option<u32> = None;
        for place in 0..count {
            let (leader, member) = match joined.get(place) {
                Some(pair) => *pair,
                None => (place as u32, place as u32),
            };
            let namespace = &namespaces[member as usize];
            for identity in &self.event.identities.items[namespace.start as usize..namespace.end as usize] {
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
                    self.identity_namespace(namespaces[leader as usize].name);
                    self.out.fixed(b"\":[{\"id\":\"");
                }
                self.text(identity.id);
                self.out.fixed(b"\"}");
            }
        }
        if open.is_some() {
            self.out.fixed(b"]");
        }
    }

    #[inline(always)]
    fn identity_namespace(&mut self, name: Text) {
        if !self.plan.lower_namespaces {
            return self.text(name);
        }
        self.lower.clear();
        self.lower.extend_from_slice(name.of(self.record, &self.event.arena));
        self.lower.make_ascii_lowercase();
        self.out.escaped(self.lower);
    }
}
