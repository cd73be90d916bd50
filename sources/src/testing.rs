//! What tests of sources share: a context whose events arrive at the test.
//! In: nothing. Out: a context, its shutdown trigger, the arrays that the source sends; their texts.
#![allow(clippy::unwrap_used)]

use afluente_pipeline::SourceSender;
use afluente_pipeline::accounting::Ledger;
use afluente_pipeline::buffers::BufferReceiver;
use afluente_pipeline::component::{ComponentKey, SourceContext};
use afluente_pipeline::config::{GlobalOptions, ProxyConfig};
use afluente_pipeline::event::{EventArray, Raw};
use afluente_pipeline::shutdown::{ShutdownSignal, ShutdownTrigger};

/// A context and the host's side of it.
pub(crate) struct TestContext {
    pub(crate) inner: SourceContext,
    pub(crate) shutdown: ShutdownTrigger,
    pub(crate) ledger: Ledger,
}

/// A context with acknowledgements, and what the source sends.
pub(crate) fn context() -> (TestContext, BufferReceiver) {
    let (out, arrays) = SourceSender::new_test();
    let (trigger, shutdown) = ShutdownSignal::new_wired();
    let ledger = out.ledger().clone();
    let inner = SourceContext {
        key: ComponentKey::from("in"),
        globals: GlobalOptions::default(),
        shutdown,
        out,
        proxy: ProxyConfig::default(),
        acknowledgements: true,
        extra_context: Default::default(),
    };
    (TestContext { inner, shutdown: trigger, ledger }, arrays)
}

/// The raw text of each event.
pub(crate) fn messages<'a>(arrays: impl IntoIterator<Item = &'a EventArray>) -> Vec<String> {
    let text = |raw: &Raw| match raw {
        Raw::Json(bytes) | Raw::Message(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
    };
    let logs = arrays.into_iter().flat_map(EventArray::as_logs);
    logs.map(|log| text(log.raw().unwrap())).collect()
}
