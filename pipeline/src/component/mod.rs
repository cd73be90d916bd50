//! Components: what a source, a transform or a sink is to the host, in Vector's shapes.
//! In: a configuration read from a file. Out: a running part, its ports, what it needs.
//! Components register themselves when they are linked (`typetag`); nothing here names one.

mod context;
mod key;
mod registry;
mod traits;

pub use context::{ExtraContext, SinkContext, SourceContext, TransformContext};
pub use key::{ComponentKey, DataType, Input, OutputId, Protocol, Resource, SourceOutput, TransformOutput};
pub use registry::{ComponentDescription, ComponentKind, component_descriptions};
pub use traits::{NamedComponent, SinkConfig, Source, SourceConfig, TransformConfig};
