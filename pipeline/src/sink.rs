//! Sinks at run time: where events leave the pipeline.
//! In: a stream of arrays. Out: finalizers, settled.
//! Never: settles an event before its destination has it.

use std::pin::Pin;

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, Stream, StreamExt};
use futures::{Sink, SinkExt};

use crate::Result;
use crate::event::EventArray;

/// Whether a sink's destination is reachable and usable; run once at start.
pub type Healthcheck = BoxFuture<'static, Result<()>>;

/// A sink that is handed the whole stream and runs until it ends.
#[async_trait]
pub trait StreamSink<T>: Send {
    /// Runs until `input` ends and everything taken is settled. What a sink holds when it fails, it should mark
    /// `Errored`: an event dropped without a word counts as delivered.
    ///
    /// # Errors
    /// When the sink cannot go on; the host then stops with exit code 1.
    async fn run(self: Box<Self>, input: BoxStream<'_, T>) -> std::result::Result<(), ()>;
}

/// A sink, in one of two forms.
pub enum VectorSink {
    /// A `futures` sink.
    Sink(Box<dyn Sink<EventArray, Error = ()> + Send + Unpin>),
    /// A sink that runs over the stream.
    Stream(Box<dyn StreamSink<EventArray> + Send>),
}

impl VectorSink {
    /// A sink that runs over the stream.
    pub fn from_event_streamsink(sink: impl StreamSink<EventArray> + 'static) -> Self {
        Self::Stream(Box::new(sink))
    }

    /// Runs the sink until `input` ends.
    ///
    /// # Errors
    /// When the sink cannot go on.
    pub async fn run(self, input: impl Stream<Item = EventArray> + Send) -> std::result::Result<(), ()> {
        match self {
            Self::Sink(sink) => {
                let mut input: Pin<Box<_>> = Box::pin(input.map(Ok));
                let mut sink = sink;
                sink.send_all(&mut input).await?;
                sink.close().await
            }
            Self::Stream(sink) => sink.run(Box::pin(input)).await,
        }
    }
}
