//! How a pipeline ends: by itself, on request, at the limit, at once, and when a component fails.

use std::time::Duration;

use super::toys::{Does, Form, Pipeline, Says, ToySink, ToySource, ToyTransform, assert_adds_up};
use crate::component::ComponentKind;
use crate::config::BufferConfig;
use crate::event::BatchStatus;
use crate::topology::{Failure, Outcome, Stop};

const LIMIT: Option<Duration> = Some(Duration::from_secs(60));

fn endless() -> ToySource {
    ToySource { arrays: vec![10], endless: true, ..ToySource::default() }
}

fn small() -> BufferConfig {
    BufferConfig { max_events: 20, ..BufferConfig::default() }
}

fn failed(component: &str, kind: ComponentKind, failure: Failure, outcome: &Outcome) -> u64 {
    match outcome {
        Outcome::ComponentFailed { component: id, kind: found, failure: why, not_delivered } => {
            assert_eq!((id.id(), *found, *why), (component, kind, failure));
            *not_delivered
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_drains_everything_that_was_taken() {
    let slow = ToySink { millis_per_array: 100, ..ToySink::default() };
    let pipeline = Pipeline::default()
        .source("in", endless())
        .transform("same", &["in"], ToyTransform::default())
        .sink_behind(small(), "out", &["same"], slow);
    let started = pipeline.start(LIMIT).await;
    pipeline.until(|pipeline| pipeline.balance().delivered > 100).await;
    started.stops.send(Stop::Graceful).unwrap();
    assert_eq!(started.outcome.await.unwrap(), Outcome::Stopped);
    let balance = pipeline.balance();
    assert_eq!(balance.delivered, pipeline.board.sent("in") as u64);
    assert_eq!((balance.received, balance.held), (balance.delivered, 0));
    // What was waiting to enter was given back to the source, which hears so.
    let heard = pipeline.board.heard("in");
    assert_eq!(
        heard.iter().filter(|status| **status == BatchStatus::Delivered).count() as u64 * 10,
        balance.delivered
    );
    assert!(heard.iter().filter(|status| **status == BatchStatus::Errored).count() <= 1);
}

#[tokio::test(start_paused = true)]
async fn sources_that_end_by_themselves_start_no_limit() {
    let slow = ToySink { millis_per_array: 60_000, ..ToySink::default() };
    let pipeline = Pipeline::default()
        .source("in", ToySource { arrays: vec![1; 10], ..ToySource::default() })
        .sink("out", &["in"], slow);
    let began = tokio::time::Instant::now();
    assert_eq!(pipeline.run_with(futures::stream::pending(), LIMIT).await, Outcome::Finished);
    assert_eq!(began.elapsed(), Duration::from_secs(600));
    assert_eq!(pipeline.balance().delivered, 10);
}

#[tokio::test(start_paused = true)]
async fn at_the_limit_what_is_left_is_killed_and_counted_and_no_source_takes_it_for_delivered() {
    for says in [Says::Nothing, Says::Delivered] {
        for counts in [true, false] {
            let sink = ToySink { says, counts, millis_per_array: 30_000, ..ToySink::default() };
            let pipeline = Pipeline::default()
                .source("in", endless())
                .transform("same", &["in"], ToyTransform::default())
                .sink_behind(small(), "out", &["same"], sink);
            let started = pipeline.start(LIMIT).await;
            tokio::time::sleep(Duration::from_secs(5)).await;
            started.stops.send(Stop::Graceful).unwrap();
            let stopped_at = tokio::time::Instant::now();
            let outcome = started.outcome.await.unwrap();
            assert_eq!(stopped_at.elapsed(), Duration::from_secs(60));
            let balance = pipeline.balance();
            let Outcome::TimedOut { not_delivered, remaining_components } = outcome else {
                panic!("{outcome:?}")
            };
            assert_eq!(remaining_components, ["in".into(), "out".into(), "same".into()]);
            assert_eq!(not_delivered, balance.held);
            assert_eq!(balance.held, balance.received - balance.delivered);
            assert_adds_up(balance);
            let delivered =
                pipeline.board.heard("in").iter().filter(|heard| **heard == BatchStatus::Delivered).count();
            assert_eq!(delivered as u64 * 10, balance.delivered, "{says:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_request_ends_at_once() {
    for second in [Stop::Graceful, Stop::Now] {
        let pipeline = Pipeline::default().source("in", endless()).sink_behind(
            small(),
            "out",
            &["in"],
            ToySink { says: Says::Nothing, ..ToySink::default() },
        );
        let started = pipeline.start(None).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        started.stops.send(Stop::Graceful).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let asked_at = tokio::time::Instant::now();
        started.stops.send(second).unwrap();
        let outcome = started.outcome.await.unwrap();
        assert!(asked_at.elapsed() < Duration::from_millis(10));
        let Outcome::Aborted { not_delivered, remaining_components } = outcome else { panic!("{outcome:?}") };
        assert_eq!(remaining_components, ["in".into(), "out".into()]);
        assert_eq!(not_delivered, 30, "in the sink, and two in its queue; the third was given back");
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_does_not_listen_is_killed_at_the_limit() {
    let pipeline = Pipeline::default()
        .source("in", ToySource { arrays: vec![1], deaf: true, ..ToySource::default() })
        .sink("out", &["in"], ToySink::default());
    let started = pipeline.start(LIMIT).await;
    started.stops.send(Stop::Graceful).unwrap();
    let outcome = started.outcome.await.unwrap();
    let remaining_components = vec!["in".into(), "out".into()];
    assert_eq!(outcome, Outcome::TimedOut { not_delivered: 0, remaining_components });
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_transform_is_a_failure_whose_events_are_not_taken_for_delivered() {
    for form in [Form::Synchronous, Form::SideBySide, Form::Function, Form::Task] {
        let panics = ToyTransform { does: Does::Panics, form, ..ToyTransform::default() };
        let pipeline = Pipeline::default()
            .source("in", ToySource { arrays: vec![5, 5, 50], stays: true, ..ToySource::default() })
            .transform("bad", &["in"], panics)
            .sink("out", &["bad"], ToySink::default())
            .sink("copy", &["in"], ToySink::default());
        let outcome = pipeline.run_with(futures::stream::pending(), LIMIT).await;
        let not_delivered = failed("bad", ComponentKind::Transform, Failure::Panicked, &outcome);
        let balance = pipeline.balance();
        assert_eq!(not_delivered, balance.held, "{form:?}");
        assert_eq!(pipeline.board.taken("out").len(), 5);
        assert_eq!(balance.delivered, 5 + pipeline.board.taken("copy").len() as u64);
        assert_adds_up(balance);
        let heard = pipeline.board.heard("in");
        assert_eq!(
            heard.iter().filter(|status| **status == BatchStatus::Delivered).count(),
            1,
            "{form:?} {heard:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_sink_stops_the_pipeline_and_the_others_drain() {
    let bad = ToySink { fails_after: Some(3), ..ToySink::default() };
    let slow = ToySink { millis_per_array: 1000, ..ToySink::default() };
    let pipeline = Pipeline::default()
        .source("in", endless())
        .transform("same", &["in"], ToyTransform::default())
        .sink("bad", &["same"], bad)
        .sink_behind(small(), "good", &["same"], slow);
    let outcome = pipeline.run_with(futures::stream::pending(), Some(Duration::from_secs(600))).await;
    let not_delivered = failed("bad", ComponentKind::Sink, Failure::Error, &outcome);
    let balance = pipeline.balance();
    assert_eq!(pipeline.board.taken("bad").len(), 30);
    assert_eq!(pipeline.board.taken("good").len(), pipeline.board.sent("in"));
    assert_eq!(balance.received, pipeline.board.sent("in") as u64);
    assert_eq!(not_delivered + balance.rejected, balance.received - 30);
    assert_adds_up(balance);
    let heard = pipeline.board.heard("in");
    assert_eq!(heard.iter().filter(|status| **status == BatchStatus::Delivered).count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_failed_source_is_a_failure_and_what_it_gave_is_delivered() {
    let pipeline = Pipeline::default()
        .source("bad", ToySource { arrays: vec![5], fails: true, ..ToySource::default() })
        .source("good", endless())
        .sink("out", &["bad", "good"], ToySink::default());
    let outcome = pipeline.run_with(futures::stream::pending(), LIMIT).await;
    assert_eq!(failed("bad", ComponentKind::Source, Failure::Error, &outcome), 0);
    assert_eq!(pipeline.balance().received, pipeline.balance().delivered);
}

#[tokio::test(start_paused = true)]
async fn a_component_that_ends_before_its_input_has_failed() {
    let pipeline = Pipeline::default()
        .source("in", ToySource { arrays: vec![1; 10], ..ToySource::default() })
        .sink("out", &["in"], ToySink { ends_after: Some(2), ..ToySink::default() });
    let outcome = pipeline.run().await;
    failed("out", ComponentKind::Sink, Failure::EndedEarly, &outcome);
    let early = ToyTransform { form: Form::EarlyTask, ..ToyTransform::default() };
    let pipeline = Pipeline::default()
        .source("in", ToySource { arrays: vec![1; 10], ..ToySource::default() })
        .transform("early", &["in"], early)
        .sink("out", &["early"], ToySink::default());
    let outcome = pipeline.run().await;
    failed("early", ComponentKind::Transform, Failure::EndedEarly, &outcome);
    assert_adds_up(pipeline.balance());
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_still_a_failure_when_the_rest_does_not_drain_in_time() {
    let pipeline = Pipeline::default()
        .source("in", endless())
        .sink("bad", &["in"], ToySink { fails_after: Some(0), ..ToySink::default() })
        .sink("stuck", &["in"], ToySink { says: Says::Nothing, ..ToySink::default() });
    let began = tokio::time::Instant::now();
    let outcome = pipeline.run_with(futures::stream::pending(), LIMIT).await;
    assert!(failed("bad", ComponentKind::Sink, Failure::Error, &outcome) > 0);
    assert_eq!(began.elapsed(), Duration::from_secs(60));
}

#[test]
fn an_outcome_reads_as_a_sentence() {
    let outcome =
        Outcome::TimedOut { not_delivered: 7, remaining_components: vec!["in".into(), "out".into()] };
    assert_eq!(
        outcome.to_string(),
        "the stop took longer than its limit: 7 events were not delivered; killed components: in, out"
    );
    assert!(!outcome.is_success());
}
