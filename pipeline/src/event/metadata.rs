//! Metadata: what travels beside an event's fields.
//! In: what the source knows of an array (once), what a transform learns of an event.
//! Out: finalizers for the sink to settle, the partition key, where the event came from.
//! Holds: one `Arc` for what neighbours share; only finalizers and key are the event's own.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use vrl::value::ObjectMap;

use super::finalization::{AddBatchNotifier, BatchNotifier, EventFinalizer, EventFinalizers};
use crate::component::{ComponentKey, OutputId};

/// What all events of one array have in common; made once by the source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceMetadata {
    /// The source's id in the configuration.
    pub source_id: Option<Arc<ComponentKey>>,
    /// The source's type, e.g. `stdin`.
    pub source_type: Option<&'static str>,
    /// The output that the event came from last.
    pub upstream_id: Option<Arc<OutputId>>,
    /// When the source took the bytes in.
    pub ingest_timestamp: Option<DateTime<Utc>>,
    /// Fields that the source adds to an event made of plain bytes (`host`, `path`, …).
    pub fields: ObjectMap,
    /// Free metadata (`%` paths).
    pub value: ObjectMap,
}

/// Everything about an event that is not a field of it.
#[derive(Clone, Debug, Default)]
pub struct EventMetadata {
    finalizers: EventFinalizers,
    partition_key: Option<Bytes>,
    shared: Option<Arc<SourceMetadata>>,
}

impl EventMetadata {
    /// Metadata of an event of a source; `shared` is made once an array.
    #[must_use]
    pub fn from_source(shared: Arc<SourceMetadata>) -> Self {
        Self { shared: Some(shared), ..Self::default() }
    }

    /// With these finalizers.
    #[must_use]
    pub fn with_finalizers(mut self, finalizers: EventFinalizers) -> Self {
        self.finalizers = finalizers;
        self
    }

    /// The finalizers.
    #[must_use]
    pub fn finalizers(&self) -> &EventFinalizers {
        &self.finalizers
    }

    /// Takes the finalizers out.
    pub fn take_finalizers(&mut self) -> EventFinalizers {
        std::mem::take(&mut self.finalizers)
    }

    /// Adds finalizers.
    pub fn merge_finalizers(&mut self, finalizers: EventFinalizers) {
        self.finalizers.merge(finalizers);
    }

    /// Adds a finalizer.
    pub fn add_finalizer(&mut self, finalizer: EventFinalizer) {
        self.finalizers.add(finalizer);
    }

    /// The partition key that a transform found for this event (1 to 256 characters if it is to be used as it is).
    #[must_use]
    pub fn partition_key(&self) -> Option<&Bytes> {
        self.partition_key.as_ref()
    }

    /// Sets the partition key.
    pub fn set_partition_key(&mut self, key: Bytes) {
        self.partition_key = Some(key);
    }

    /// Takes the partition key out.
    pub fn take_partition_key(&mut self) -> Option<Bytes> {
        self.partition_key.take()
    }

    /// What the event shares with its neighbours.
    #[must_use]
    pub fn shared(&self) -> Option<&Arc<SourceMetadata>> {
        self.shared.as_ref()
    }

    fn shared_mut(&mut self) -> &mut SourceMetadata {
        Arc::make_mut(self.shared.get_or_insert_with(Arc::default))
    }

    /// The id of the source that the event came from.
    #[must_use]
    pub fn source_id(&self) -> Option<&Arc<ComponentKey>> {
        self.shared.as_ref()?.source_id.as_ref()
    }

    /// The type of the source that the event came from.
    #[must_use]
    pub fn source_type(&self) -> Option<&'static str> {
        self.shared.as_ref()?.source_type
    }

    /// Sets the source's id.
    pub fn set_source_id(&mut self, id: Arc<ComponentKey>) {
        self.shared_mut().source_id = Some(id);
    }

    /// Sets the source's type.
    pub fn set_source_type(&mut self, source_type: &'static str) {
        self.shared_mut().source_type = Some(source_type);
    }

    /// Sets the output that the event came from last.
    pub fn set_upstream_id(&mut self, id: Arc<OutputId>) {
        self.shared_mut().upstream_id = Some(id);
    }

    /// When the source took the event in.
    #[must_use]
    pub fn ingest_timestamp(&self) -> Option<DateTime<Utc>> {
        self.shared.as_ref()?.ingest_timestamp
    }

    /// Free metadata (`%` paths).
    #[must_use]
    pub fn value(&self) -> Option<&ObjectMap> {
        self.shared.as_ref().map(|shared| &shared.value)
    }

    /// Free metadata, to change it. Costs a copy of what the event shares with its neighbours.
    pub fn value_mut(&mut self) -> &mut ObjectMap {
        &mut self.shared_mut().value
    }
}

impl AddBatchNotifier for EventMetadata {
    fn add_batch_notifier(&mut self, notifier: BatchNotifier) {
        self.finalizers.add(EventFinalizer::new(notifier));
    }
}
