//! Afluente: customer-profile events into Amazon Kinesis, in order, accounted for, bounded.
//! This façade holds nothing of its own: it hands out the four crates and sees to it that their components are linked.
//! For the command line see `main.rs`; for the way of an event start at [`pipeline`].

#![forbid(unsafe_code)]

pub use afluente_pipeline as pipeline;
pub use afluente_sink as sink;
pub use afluente_sources as sources;
pub use afluente_transforms as transforms;

/// Makes sure that the components of all crates are linked into a program that names none of them. Components
/// register themselves, and a linker may leave out what nobody refers to. Call it once, anywhere.
pub fn link() {
    std::hint::black_box((
        std::any::TypeId::of::<sources::StdinConfig>(),
        std::any::TypeId::of::<transforms::profile_export::ProfileExportConfig>(),
        std::any::TypeId::of::<sink::kinesis::KinesisSinkConfig>(),
    ));
}
