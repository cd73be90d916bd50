//! What flows: order, copies, acknowledgements, back pressure, building.

use std::time::Duration;

use super::toys::{Board, Does, Form, Pipeline, Says, ToySink, ToySource, ToyTransform};
use crate::component::ExtraContext;
use crate::config::{BufferConfig, Format, WhenFull};
use crate::event::BatchStatus;
use crate::topology::{Outcome, RunError, RunOptions, Topology, run_text};

fn arrays(arrays: &[usize]) -> ToySource {
    ToySource { arrays: arrays.to_vec(), ..ToySource::default() }
}

fn says(says: Says) -> ToySink {
    ToySink { says, ..ToySink::default() }
}

#[tokio::test(start_paused = true)]
async fn events_arrive_in_order_and_the_source_hears_of_each_batch() {
    let pipeline = Pipeline::default()
        .source("in", arrays(&[3, 2]))
        .transform("same", &["in"], ToyTransform::default())
        .sink("out", &["same"], says(Says::Delivered));
    assert_eq!(pipeline.run().await, Outcome::Finished);
    assert_eq!(pipeline.board.taken("out"), ["in-1", "in-2", "in-3", "in-4", "in-5"]);
    assert_eq!(pipeline.board.heard("in"), [BatchStatus::Delivered; 2]);
    assert_eq!(pipeline.balance().delivered, 5);
}

#[tokio::test(start_paused = true)]
async fn fanned_out_copies_are_answered_with_the_worst_fate() {
    for (one, other, answer) in [
        (Says::Errored, Says::Delivered, BatchStatus::Errored),
        (Says::Delivered, Says::Rejected, BatchStatus::Rejected),
        (Says::Rejected, Says::Errored, BatchStatus::Rejected),
        (Says::Delivered, Says::Drops, BatchStatus::Delivered),
    ] {
        for counts in [false, true] {
            let pipeline = Pipeline::default()
                .source("in", arrays(&[4]))
                .sink("one", &["in"], ToySink { counts, ..says(one) })
                .sink("other", &["in"], says(other));
            assert_eq!(pipeline.run().await, Outcome::Finished, "{one:?} {other:?}");
            assert_eq!(pipeline.board.heard("in"), [answer], "{one:?} {other:?}");
            assert_eq!(pipeline.balance().copies, 4);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_slowest_sink_sets_the_pace() {
    let small = BufferConfig { max_events: 1, ..BufferConfig::default() };
    let pipeline = Pipeline::default()
        .source("in", ToySource { endless: true, ..arrays(&[1]) })
        .sink("fast", &["in"], says(Says::Delivered))
        .sink_behind(small, "slow", &["in"], ToySink { millis_per_array: 1000, ..says(Says::Delivered) });
    let started = pipeline.start(None).await;
    tokio::time::sleep(Duration::from_millis(10_500)).await;
    assert_eq!(pipeline.board.taken("slow").len(), 10);
    // One is at work in the slow sink, one waits in its queue, one waits to enter.
    assert_eq!(pipeline.board.taken("fast").len(), 13);
    started.outcome.abort();
}

#[tokio::test(start_paused = true)]
async fn a_full_pipeline_stops_its_source() {
    let small = BufferConfig { max_events: 10, ..BufferConfig::default() };
    let pipeline = Pipeline::default()
        .source("in", ToySource { endless: true, ..arrays(&[10]) })
        .transform("same", &["in"], ToyTransform::default())
        .sink_behind(small, "out", &["same"], says(Says::Nothing));
    let started = pipeline.start(None).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    // In the sink 10, before it 10, at the transform's door 10, in the transform's queue 1000, at the source's door 10.
    assert_eq!(pipeline.balance().held, 1040);
    started.outcome.abort();
}

#[tokio::test(start_paused = true)]
async fn drop_newest_never_slows_its_neighbours_and_is_counted() {
    let buffer = BufferConfig { max_events: 5, when_full: WhenFull::DropNewest, ..BufferConfig::default() };
    let pipeline = Pipeline::default()
        .source("in", arrays(&[1; 100]))
        .sink("all", &["in"], says(Says::Delivered))
        .sink_behind(buffer, "some", &["in"], ToySink { millis_per_array: 1000, ..says(Says::Delivered) });
    assert_eq!(pipeline.run().await, Outcome::Finished);
    let balance = pipeline.balance();
    assert_eq!(pipeline.board.taken("all").len(), 100);
    let some = pipeline.board.taken("some").len() as u64;
    assert_eq!((balance.delivered, balance.discarded), (100 + some, 100 - some));
    assert!(balance.discarded > 0, "{balance}");
    assert_eq!(pipeline.board.heard("in"), [BatchStatus::Delivered; 100]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn side_by_side_work_keeps_the_order() {
    let sizes: Vec<_> = (0..300).map(|array| 1 + (array * 37) % 200).collect();
    let total: usize = sizes.iter().sum();
    let side_by_side = ToyTransform { form: Form::SideBySide, ..ToyTransform::default() };
    let pipeline = Pipeline::default()
        .source("in", arrays(&sizes))
        .transform("same", &["in"], side_by_side)
        .sink("out", &["same"], says(Says::Delivered));
    assert_eq!(pipeline.run().await, Outcome::Finished);
    let expected: Vec<_> = (1..=total).map(|number| format!("in-{number}")).collect();
    assert_eq!(pipeline.board.taken("out"), expected);
}

#[tokio::test(start_paused = true)]
async fn named_ports_reach_their_own_consumers() {
    let splits = ToyTransform { does: Does::Splits, ..ToyTransform::default() };
    let pipeline = Pipeline::default()
        .source("in", arrays(&[4]))
        .transform("split", &["in"], splits)
        .sink("even", &["split"], says(Says::Delivered))
        .sink("odd", &["split.odd"], says(Says::Delivered));
    assert_eq!(pipeline.run().await, Outcome::Finished);
    assert_eq!(pipeline.board.taken("even"), ["in-2", "in-4"]);
    assert_eq!(pipeline.board.taken("odd"), ["in-1", "in-3"]);
    assert_eq!((pipeline.balance().dropped, pipeline.balance().delivered), (0, 4));
}

#[tokio::test(start_paused = true)]
async fn a_source_is_asked_to_wait_only_by_sinks_that_acknowledge() {
    for (asked, heard) in [(None, 1), (Some(true), 1), (Some(false), 0)] {
        let acknowledgements = asked.map(Into::into).unwrap_or_default();
        let pipeline = Pipeline::default()
            .source("in", arrays(&[1]))
            .source("mute", ToySource { no_acks: true, ..arrays(&[1]) })
            .sink("out", &["in", "mute"], ToySink { acknowledgements, ..ToySink::default() });
        assert_eq!(pipeline.run().await, Outcome::Finished);
        assert_eq!(pipeline.board.heard("in").len(), heard, "{asked:?}");
        assert_eq!(pipeline.board.heard("mute").len(), 0);
    }
}

#[tokio::test]
async fn all_components_that_cannot_be_built_are_told_at_once() {
    let pipeline = Pipeline::default()
        .source("in", ToySource { no_build: true, ..ToySource::default() })
        .transform("t", &["in"], ToyTransform { no_build: true, ..ToyTransform::default() })
        .sink("out", &["t"], ToySink { no_build: true, ..ToySink::default() });
    let errors = pipeline.build().await.err().unwrap();
    assert_eq!(
        errors,
        [
            "Sink \"out\": the toy is broken",
            "Transform \"t\": the toy is broken",
            "Source \"in\": the toy is broken"
        ]
    );
}

#[tokio::test]
async fn an_input_that_nothing_gives_is_refused() {
    let pipeline =
        Pipeline::default().source("in", arrays(&[1])).sink("out", &["in", "in.odd"], says(Says::Drops));
    let errors = Topology::build(&pipeline.config, ExtraContext::default(), pipeline.ledger.clone()).await;
    assert_eq!(errors.err().unwrap(), ["Input \"in.odd\" for \"out\" doesn't match any components."]);
}

#[tokio::test(start_paused = true)]
async fn a_sick_sink_keeps_the_pipeline_from_starting_only_if_health_is_required() {
    let sick = ToySink { sick: Some("stream `s` does not exist".to_owned()), ..ToySink::default() };
    let mut pipeline = Pipeline::default().source("in", arrays(&[1])).sink("out", &["in"], sick);
    assert_eq!(pipeline.run().await, Outcome::Finished);
    pipeline.config.healthchecks.require_healthy = true;
    let refused = pipeline.build().await.unwrap().start().await.err().unwrap();
    let text = refused.to_string();
    assert!(text.starts_with("Sink \"out\": stream `s` does not exist"), "{text}");
    pipeline.config.sinks.values_mut().for_each(|sink| sink.healthcheck.enabled = false);
    assert_eq!(pipeline.run().await, Outcome::Finished);
}

#[tokio::test(start_paused = true)]
async fn a_configuration_text_runs_with_components_that_the_host_does_not_know() {
    let text = r#"
        sources: {in: {type: toy_source, arrays: [4]}}
        transforms: {split: {type: toy_transform, inputs: [in], does: Splits}}
        sinks:
            even: {type: toy_sink, inputs: [split]}
            odd: {type: toy_sink, inputs: [split.odd]}
    "#;
    let board = Board::default();
    let options =
        || RunOptions { extra: ExtraContext::default().with(board.clone()), ..RunOptions::default() };
    let outcome = run_text(text, Format::Yaml, options(), futures::stream::pending()).await;
    assert_eq!(outcome.unwrap(), Outcome::Finished);
    assert_eq!(board.taken("odd"), ["in-1", "in-3"]);
    let text = text.replace("split.odd", "split.even");
    let refused = run_text(&text, Format::Yaml, options(), futures::stream::pending()).await;
    let Err(RunError::Config(errors)) = refused else { panic!("{refused:?}") };
    assert!(errors[0].contains("split.even"), "{errors:?}");
}
