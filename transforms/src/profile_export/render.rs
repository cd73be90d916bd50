//! Render: the output of one event (specification, section 4), written once, in order.
//! In: a settled event and the plan.  Out: compact JSON.
//! Never: decides whether to export; touches a value's bytes other than to move them.

use super::copy::Copied;
use super::event::{Event, Membership, NOT_MAPPED, Status};
use super::plan::{MEMBERSHIP_END, Node, Plan, ROOT, Step};
use super::text::Text;
use super::write::{LONG_BYTES, SHORT_BYTES, TINY_BYTES, escape_into, part};

/// Scratch that is kept between records.
#[derive(Debug, Default)]
pub(crate) struct Render {
    /// Nodes whose objects have been entered.
    entered: Vec<u32>,
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
    /// Appends the event's output.
    pub(crate) fn write(&mut self, event: &Event, plan: &Plan, record: &[u8], out: &mut Vec<u8>) {
        if plan.steps.is_none() {
            self.order_attributes(event, plan);
        }
        let steps = plan.steps.as_ref().unwrap_or(&self.steps);
        let pen = Pen { event, plan, record, out };
        pen.write(steps, &mut self.entered);
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

/// How statuses but `Other` are written, and how long that is: which one comes is not guessed by a jump.
const WORDS: [(&[u8; TINY_BYTES], usize); 3] =
    [(b"realized\"       ", 9), (b"existing\"       ", 9), (b"exited\"         ", 7)];

/// What writes one event.
struct Pen<'a> {
    event: &'a Event,
    plan: &'a Plan,
    record: &'a [u8],
    out: &'a mut Vec<u8>,
}

impl Pen<'_> {
    #[inline(never)]
    fn write(mut self, steps: &[Step], entered: &mut Vec<u32>) {
        self.put(b"{");
        self.attributes(steps, entered);
        self.put(b"\"segmentMembership\":{");
        self.memberships();
        self.put(b"},\"identityMap\":{");
        self.identities();
        self.put(b"}}");
    }

    #[inline(always)]
    fn put(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
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
                        part::<SHORT_BYTES>(key, skip, key.len() - Node::PADDING, self.out);
                        skip = 1;
                    }
                    written = entered.len();
                    let key = &self.plan.nodes[node as usize].key;
                    // Without the bracket.
                    part::<SHORT_BYTES>(key, skip, key.len() - Node::PADDING - 1, self.out);
                    match value {
                        Copied::InRecord { start, end } => {
                            part::<SHORT_BYTES>(self.record, start, end, self.out)
                        }
                        Copied::InBuffer { .. } => self.put(copied(value, self.event, self.record)),
                    }
                    skip = 0;
                }
                Step::Leave => {
                    if written == entered.len() {
                        self.put(b"}");
                        written -= 1;
                        skip = 0;
                    }
                    entered.pop();
                }
            }
        }
        if skip == 0 {
            self.put(b",");
        }
    }

    #[inline(always)]
    fn text(&mut self, text: Text) {
        if text.is_in_arena() {
            escape_into(text.of(self.record, &self.event.arena), self.out);
        } else {
            part::<SHORT_BYTES>(self.record, text.start(), text.end(), self.out);
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
                        self.put(b",");
                    }
                    self.put(b"\"");
                    self.text(namespace.name);
                    self.put(b"\":{\"");
                }
                first = false;
                self.membership(membership);
            }
            if !first {
                // Another membership does not follow.
                self.out.truncate(self.out.len() - b",\"".len());
                self.put(b"}");
                first_namespace = false;
            }
        }
    }

    /// Writes a membership after the opening quote of its id, up to that of another's.
    #[inline(always)]
    fn membership(&mut self, membership: &Membership) {
        const STATUS: &[u8; 12] = b"\",\"status\":\"";
        if membership.in_order {
            let (start, end) = (membership.id.start(), membership.time.end() + STATUS.len());
            part::<LONG_BYTES>(self.record, start, end, self.out);
        } else {
            self.text(membership.id);
            if membership.time.is_none() {
                self.put(b"\":{\"status\":\"");
            } else {
                self.put(b"\":{\"lastQualificationTime\":\"");
                self.text(membership.time);
                self.put(STATUS);
            }
        }
        let word = match membership.status {
            Status::Existing if self.plan.existing_as_realized => Status::Realized,
            status => status,
        };
        match WORDS.get(word as usize) {
            Some((word, length)) => part::<TINY_BYTES>(*word, 0, *length, self.out),
            None => {
                self.text(membership.word);
                self.put(b"\"");
            }
        }
        match self.plan.mapped.get(membership.mapped as usize) {
            Some(tail) => self.put(tail),
            None => self.put(MEMBERSHIP_END),
        }
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
                    self.put(b",{\"id\":\"");
                    self.text(identity.id);
                    self.put(b"\"}");
                    continue;
                }
                if open.is_some() {
                    self.put(b"],");
                }
                open = Some(leader);
                self.put(b"\"");
                self.first_identity(namespaces[leader as usize].name, identity.id);
                self.put(b"\"}");
            }
        }
        if open.is_some() {
            self.put(b"]");
        }
    }

    /// Writes a namespace's name, what comes between, and its first id.
    #[inline(always)]
    fn first_identity(&mut self, name: Text, id: Text) {
        const BETWEEN: &[u8; 10] = b"\":[{\"id\":\"";
        let in_record = !name.is_in_arena() && !id.is_in_arena();
        if self.plan.lower_namespaces {
            let start = self.out.len();
            escape_into(name.of(self.record, &self.event.arena), self.out);
            // JSON's escapes are in lower case already.
            self.out[start..].make_ascii_lowercase();
        } else if in_record && id.start() == name.end() + BETWEEN.len() {
            // No other text of this length can stand there.
            return part::<LONG_BYTES>(self.record, name.start(), id.end(), self.out);
        } else {
            self.text(name);
        }
        self.put(BETWEEN);
        self.text(id);
    }
}
