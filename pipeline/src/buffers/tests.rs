//! Tests of the queues: bounds, order, closing, and what a full queue does.
#![allow(clippy::unwrap_used)]

use futures::FutureExt;
use futures::future::join_all;

use super::*;
use crate::event::{BatchNotifier, BatchStatus, EventFinalizers, EventMetadata, LogEvent};

fn array(events: usize) -> EventArray {
    EventArray::Logs((0..events).map(|_| LogEvent::from_str_legacy("x")).collect())
}

fn limits(max_events: usize) -> QueueLimits {
    QueueLimits { max_events, ..QueueLimits::default() }
}

fn watched() -> (EventArray, crate::event::BatchStatusReceiver) {
    let (notifier, receiver) = BatchNotifier::new_with_receiver();
    let metadata = EventMetadata::default().with_finalizers(EventFinalizers::from_notifier(notifier));
    (LogEvent::from_message_bytes("x".into(), metadata).into(), receiver)
}

#[tokio::test]
async fn a_full_queue_makes_its_sender_wait_until_there_is_room() {
    let (sender, mut receiver) = queue(limits(10), Ledger::default());
    sender.send(array(6)).await.unwrap();
    let mut waiting = Box::pin(sender.send(array(5)));
    assert_eq!(waiting.as_mut().now_or_never(), None);
    assert_eq!(sender.level().events(), 6);
    assert_eq!(receiver.recv().await.unwrap().len(), 6);
    assert_eq!(waiting.await, Ok(()));
    assert_eq!(receiver.recv().await.unwrap().len(), 5);
    assert_eq!((sender.level().events(), sender.level().bytes()), (0, 0));
}

#[tokio::test]
async fn bytes_are_bounded_as_events_are() {
    let one = Weighed::from(array(1)).weight.bytes;
    let limits = QueueLimits { max_bytes: 2 * one, ..QueueLimits::default() };
    let (sender, mut receiver) = queue(limits, Ledger::default());
    sender.send(array(1)).await.unwrap();
    sender.send(array(1)).await.unwrap();
    assert_eq!(sender.send(array(1)).now_or_never(), None);
    receiver.recv().await.unwrap();
    assert_eq!(sender.send(array(1)).now_or_never(), Some(Ok(())));
}

#[tokio::test]
async fn arrays_larger_than_the_queue_enter_one_at_a_time_whoever_sends_them() {
    let (sender, mut receiver) = queue(limits(3), Ledger::default());
    let senders = (0..20).map(|size| {
        let sender = sender.clone();
        tokio::spawn(async move { sender.send(array(1 + size % 7)).await })
    });
    let senders: Vec<_> = senders.collect();
    let level = sender.level();
    drop(sender);
    let (mut arrays, mut events) = (0, 0);
    while let Some(array) = receiver.recv().await {
        // What is left in the queue fits, or is one array that does not.
        assert!(level.events() <= 3 || level.events() <= 7, "{}", level.events());
        arrays += 1;
        events += array.len();
    }
    assert!(join_all(senders).await.into_iter().all(|sent| sent.unwrap() == Ok(())));
    assert_eq!((arrays, events), (20, (0..20).map(|size| 1 + size % 7).sum()));
}

#[tokio::test]
async fn a_large_array_is_not_overtaken_for_ever_by_small_ones() {
    let (sender, mut receiver) = queue(limits(4), Ledger::default());
    sender.send(array(2)).await.unwrap();
    let mut large = Box::pin(sender.send(array(4)));
    assert_eq!(large.as_mut().now_or_never(), None);
    let mut small = Box::pin(sender.send(array(1)));
    assert_eq!(small.as_mut().now_or_never(), None, "it would fit, but stands behind the large one");
    assert_eq!(receiver.recv().await.unwrap().len(), 2);
    assert_eq!(large.await, Ok(()));
    assert_eq!(receiver.recv().await.unwrap().len(), 4);
    assert_eq!(small.await, Ok(()));
}

#[tokio::test]
async fn every_waiting_sender_hears_that_the_receiver_is_gone() {
    let (sender, receiver) = queue(limits(1), Ledger::default());
    sender.send(array(1)).await.unwrap();
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let sender = sender.clone();
            tokio::spawn(async move { sender.send(array(1)).await })
        })
        .collect();
    tokio::task::yield_now().await;
    drop(receiver);
    assert!(join_all(waiting).await.into_iter().all(|sent| sent.unwrap() == Err(Closed)));
    assert_eq!(sender.send(array(1)).await, Err(Closed));
}

#[tokio::test]
async fn what_a_closed_queue_held_or_refused_is_errored() {
    let (sender, receiver) = queue(limits(1), Ledger::default());
    let (inside, inside_status) = watched();
    let (waiting, waiting_status) = watched();
    let (late, late_status) = watched();
    sender.send(inside).await.unwrap();
    let waiting = tokio::spawn({
        let sender = sender.clone();
        async move { sender.send(waiting).await }
    });
    tokio::task::yield_now().await;
    drop(receiver);
    assert_eq!(waiting.await.unwrap(), Err(Closed));
    assert_eq!(sender.send(late).await, Err(Closed));
    for status in [inside_status, waiting_status, late_status] {
        assert_eq!(status.await, BatchStatus::Errored);
    }
}

#[tokio::test]
async fn a_cancelled_send_loses_its_array_and_frees_the_turn() {
    let (sender, mut receiver) = queue(limits(1), Ledger::default());
    sender.send(array(1)).await.unwrap();
    let (cancelled, status) = watched();
    assert_eq!(sender.send(cancelled).now_or_never(), None);
    assert_eq!(status.await, BatchStatus::Errored);
    receiver.recv().await.unwrap();
    assert_eq!(sender.send(array(1)).now_or_never(), Some(Ok(())));
}

#[tokio::test]
async fn drop_newest_lets_the_new_array_go_and_counts_it() {
    let ledger = Ledger::default();
    let limits = QueueLimits { max_events: 3, when_full: WhenFull::DropNewest, ..QueueLimits::default() };
    let (sender, mut receiver) = queue(limits, ledger.clone());
    sender.send(array(2)).await.unwrap();
    let (dropped, status) = watched();
    sender.send(array(2)).await.unwrap();
    sender.send(array(1)).await.unwrap();
    sender.send(dropped).await.unwrap();
    assert_eq!(ledger.balance().discarded, 3);
    assert_eq!(status.await, BatchStatus::Delivered, "as in Vector");
    assert_eq!(receiver.recv().await.unwrap().len(), 2);
    assert_eq!(receiver.recv().await.unwrap().len(), 1);
    drop(sender);
    assert!(receiver.recv().await.is_none());
}

#[tokio::test]
async fn an_empty_array_is_not_sent() {
    let (sender, mut receiver) = queue(QueueLimits::default(), Ledger::default());
    sender.send(array(0)).await.unwrap();
    drop(sender);
    assert!(receiver.recv().await.is_none());
}
