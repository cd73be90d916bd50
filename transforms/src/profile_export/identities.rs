//! Identities: what the profile is called (specification, 5.3), and which of its names is its key (8.3).
//! In: the identities of an event.  Out: joined namespaces, the key.
//! Never: sorts or copies identities; one look at each is enough.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::event::{Event, Identity, IdentityNamespace};
use super::plan::Plan;

/// How many identities are usable, and how many items and namespaces are not.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usable {
    pub(crate) usable: usize,
    pub(crate) ignored: u64,
}

/// Counts the identities, and joins namespaces that are the same in lower case if the plan says so.
pub(crate) fn settle(event: &mut Event, plan: &Plan, record: &[u8]) -> Usable {
    let mut count = Usable::default();
    for namespace in &event.identities.namespaces {
        count.usable += (namespace.end - namespace.start) as usize;
        count.ignored += u64::from(namespace.unusable) + u64::from(namespace.malformed);
    }
    if plan.lower_namespaces && event.identities.namespaces.len() > 1 {
        join(event, record);
    }
    count
}

fn join(event: &mut Event, record: &[u8]) {
    let Event { identities, arena, names, joined, .. } = event;
    if !find_equal(&identities.namespaces, record, arena, joined) {
        joined.clear();
        return;
    }
    // Equal ids of joined namespaces are one identity: the first stays.
    joined.sort_unstable();
    let mut first_of: Vec<u32> = Vec::new();
    let mut frame = names.enter();
    let mut leader = u32::MAX;
    for (group, member) in joined.iter() {
        if *group != leader {
            names.leave(frame);
            frame = names.enter();
            first_of.clear();
            leader = *group;
        }
        let namespace = identities.namespaces[*member as usize];
        for i in namespace.start..namespace.end {
            let Identity { id, primary, .. } = identities.items[i as usize];
            let (place, new) = names.note(frame, id, record, arena);
            if new {
                first_of.push(i);
            } else {
                identities.items[i as usize].repeated = true;
                identities.items[first_of[place] as usize].primary |= primary;
            }
        }
    }
    names.leave(frame);
}

/// Fills `joined` and tells whether any two namespaces are equal in lower case.
fn find_equal(
    namespaces: &[IdentityNamespace],
    record: &[u8],
    arena: &[u8],
    joined: &mut Vec<(u32, u32)>,
) -> bool {
    const FEW: usize = 16;
    joined.clear();
    let usable = || (0_u32..).zip(namespaces).filter(|(_, namespace)| !namespace.malformed);
    let mut equal = false;
    if namespaces.len() <= FEW {
        for (i, namespace) in usable() {
            let name = namespace.name.of(record, arena);
            let older = joined
                .iter()
                .map(|(_, older)| *older)
                .find(|older| namespaces[*older as usize].name.of(record, arena).eq_ignore_ascii_case(name));
            equal |= older.is_some();
            joined.push((older.unwrap_or(i), i));
        }
    } else {
        let mut seen: HashMap<Vec<u8>, u32> = HashMap::new();
        for (i, namespace) in usable() {
            let leader = *seen.entry(namespace.name.of(record, arena).to_ascii_lowercase()).or_insert(i);
            equal |= leader != i;
            joined.push((leader, i));
        }
    }
    equal
}

/// An identity with its namespace.
type Candidate<'e> = (&'e IdentityNamespace, &'e Identity);

/// The identity that names the profile: namespace and identity. `None` if no identity may.
pub(crate) fn key<'e>(event: &'e Event, plan: &Plan, record: &[u8]) -> Option<(IdentityNamespace, Identity)> {
    let arena = &event.arena;
    let name = |namespace: &IdentityNamespace| namespace.name.of(record, arena);
    let listed = |namespace: &IdentityNamespace| {
        plan.key_namespaces.iter().position(|listed| name(namespace).eq_ignore_ascii_case(listed))
    };
    let filled = event.identities.namespaces.iter().filter(|namespace| namespace.end > namespace.start);
    let identities_of = |namespace: &'e IdentityNamespace| {
        let IdentityNamespace { start, end, .. } = *namespace;
        let identities = &event.identities.items[start as usize..end as usize];
        identities.iter().map(move |identity| (namespace, identity))
    };
    let best =
        if plan.key_namespaces.is_empty() { None } else { Some(filled.clone().filter_map(listed).min()?) };

    let candidates = || {
        filled.clone().filter(|namespace| best.is_none() || listed(namespace) == best).flat_map(identities_of)
    };
    // Mostly one identity is marked, and nothing needs to be compared.
    let mut marked = candidates().filter(|(_, identity)| identity.primary);
    if let Some(first) = marked.next() {
        let same = |(namespace, identity): Candidate<'_>| {
            identity.id.of(record, arena) == first.1.id.of(record, arena)
                && name(namespace).eq_ignore_ascii_case(name(first.0))
        };
        if marked.all(same) {
            return Some((*first.0, *first.1));
        }
    }
    let order = |a: &Candidate<'_>, b: &Candidate<'_>| {
        let namespaces =
            if a.0.start == b.0.start { Ordering::Equal } else { in_lower_case(name(a.0), name(b.0)) };
        namespaces.then_with(|| a.1.id.of(record, arena).cmp(b.1.id.of(record, arena)))
    };
    candidates().min_by(order).map(|(namespace, identity)| (*namespace, *identity))
}

fn in_lower_case(a: &[u8], b: &[u8]) -> Ordering {
    a.iter().map(u8::to_ascii_lowercase).cmp(b.iter().map(u8::to_ascii_lowercase))
}
