//! Registry: which components are linked in, with the schema of their options.
//! In: one `inventory::submit!` a component. Out: lists for messages, `validate`'s hints and the JSON Schema.

use schemars::{Schema, SchemaGenerator};

/// Source, transform or sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ComponentKind {
    /// Brings events in.
    Source,
    /// Changes events.
    Transform,
    /// Takes events out.
    Sink,
}

impl ComponentKind {
    /// As in configuration keys without the plural: `source`, `transform`, `sink`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Transform => "transform",
            Self::Sink => "sink",
        }
    }
}

/// What the host knows of a component before it is configured. Submit one with `inventory::submit!`.
pub struct ComponentDescription {
    /// Source, transform or sink.
    pub kind: ComponentKind,
    /// The name, as in `type: …`.
    pub name: &'static str,
    /// One line for lists.
    pub summary: &'static str,
    /// The JSON Schema of its options; unknown keys are told by comparing with it.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
}

inventory::collect!(ComponentDescription);

/// All components that are linked in, by kind and name.
#[must_use]
pub fn component_descriptions() -> Vec<&'static ComponentDescription> {
    let mut all: Vec<_> = inventory::iter::<ComponentDescription>.into_iter().collect();
    all.sort_by_key(|description| (description.kind, description.name));
    all
}
