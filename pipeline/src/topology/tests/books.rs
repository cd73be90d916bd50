//! The books: `received + copies = delivered + rejected + … + held`, exactly, whatever the pipeline looks like.

use proptest::prelude::*;

use super::toys::{
    Does, Form, Pipeline, Says, ToySink, ToySource, ToyTransform, assert_adds_up, watched_event,
};
use crate::accounting::Ledger;
use crate::buffers::{QueueLimits, queue};
use crate::config::{BufferConfig, WhenFull};
use crate::event::BatchStatus;
use crate::source_sender::SourceSender;
use crate::topology::{Fanout, Outcome, Stop};

/// One component's draw: what it does, and which of the outputs before it it reads.
#[derive(Clone, Debug)]
struct Draw {
    does: Does,
    form: Form,
    says: Says,
    counts: bool,
    small: bool,
    drops_newest: bool,
    slow: bool,
    inputs: Vec<usize>,
}

fn draw() -> impl Strategy<Value = Draw> {
    let does = prop_oneof![
        Just(Does::Passes),
        Just(Does::Drops),
        Just(Does::Doubles),
        Just(Does::Splits),
        Just(Does::Copies),
        Just(Does::Skips),
        Just(Does::DropsAndDoubles)
    ];
    let form =
        prop_oneof![Just(Form::Synchronous), Just(Form::SideBySide), Just(Form::Function), Just(Form::Task)];
    let says = prop_oneof![
        3 => Just(Says::Delivered),
        1 => Just(Says::Errored),
        1 => Just(Says::Rejected)
    ];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (does, form, says, flags, prop::collection::vec(0..64usize, 1..4)).prop_map(
        |(does, form, says, flags, inputs)| {
            let (counts, small, drops_newest, slow) = flags;
            Draw { does, form, says, counts, small, drops_newest, slow, inputs }
        },
    )
}

/// A pipeline without cycles: each transform reads outputs of sources and earlier transforms.
fn pipeline(sources: &[Vec<usize>], transforms: &[Draw], sinks: &[Draw]) -> Pipeline {
    let mut pipeline = Pipeline::default();
    let mut outputs = Vec::new();
    for (number, arrays) in sources.iter().enumerate() {
        let id = format!("s{number}");
        pipeline = pipeline.source(&id, ToySource { arrays: arrays.clone(), ..ToySource::default() });
        outputs.push(id);
    }
    let pick = |inputs: &[usize], outputs: &[String]| {
        let mut picked: Vec<_> = inputs.iter().map(|input| outputs[input % outputs.len()].clone()).collect();
        picked.sort();
        picked.dedup();
        picked
    };
    for (number, draw) in transforms.iter().enumerate() {
        let id = format!("t{number}");
        let inputs = pick(&draw.inputs, &outputs);
        let inner = ToyTransform { does: draw.does, form: draw.form, ..ToyTransform::default() };
        if inner.has_odd_port() {
            outputs.push(format!("{id}.odd"));
        }
        pipeline = pipeline.transform(&id, &inputs.iter().map(String::as_str).collect::<Vec<_>>(), inner);
        outputs.push(id);
    }
    for (number, draw) in sinks.iter().enumerate() {
        let inputs = pick(&draw.inputs, &outputs);
        let buffer = BufferConfig {
            max_events: if draw.small { 3 } else { 500 },
            when_full: if draw.drops_newest { WhenFull::DropNewest } else { WhenFull::Block },
            ..BufferConfig::default()
        };
        let inner = ToySink {
            says: draw.says,
            counts: draw.counts,
            millis_per_array: if draw.slow { 10 } else { 0 },
            ..ToySink::default()
        };
        let inputs: Vec<_> = inputs.iter().map(String::as_str).collect();
        pipeline = pipeline.sink_behind(buffer, &format!("k{number}"), &inputs, inner);
    }
    pipeline
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_books_add_up_in_every_pipeline(
        sources in prop::collection::vec(prop::collection::vec(1..50usize, 0..8), 1..4),
        transforms in prop::collection::vec(draw(), 0..5),
        sinks in prop::collection::vec(draw(), 1..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let pipeline = pipeline(&sources, &transforms, &sinks);
        let outcome = runtime.block_on(pipeline.run());
        prop_assert_eq!(outcome, Outcome::Finished);
        let balance = pipeline.balance();
        prop_assert_eq!(balance.held, 0, "{}", balance);
        assert_adds_up(balance);
        prop_assert_eq!(balance.received, sources.iter().flatten().sum::<usize>() as u64);
        let taken = |wanted: fn(&Says) -> bool| {
            (0..sinks.len())
                .filter(|sink| wanted(&sinks[*sink].says))
                .map(|sink| pipeline.board.taken(&format!("k{sink}")).len() as u64)
                .sum::<u64>()
        };
        prop_assert_eq!(balance.delivered, taken(|says| matches!(says, Says::Delivered)));
        prop_assert_eq!(balance.rejected, taken(|says| !matches!(says, Says::Delivered)));
        if !sinks.iter().any(|sink| sink.drops_newest) {
            prop_assert_eq!(balance.discarded, 0);
        }
    }
}

/// Real threads, real time: sums that are off by a race would show here.
#[test]
fn the_books_add_up_when_threads_race_and_a_stop_comes_at_any_moment() {
    let draws = |seed: usize, count: usize| {
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let all = prop::collection::vec(draw(), seed + count..seed + count + 1);
        let drawn = proptest::strategy::ValueTree::current(&all.new_tree(&mut runner).unwrap());
        drawn[seed..].iter().map(|draw| Draw { slow: false, ..draw.clone() }).collect::<Vec<_>>()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap();
    for seed in 0..12 {
        let sizes = vec![1, 40, 7];
        let mut pipeline = pipeline(&[sizes.clone(), sizes], &draws(seed, 3), &draws(seed + 3, 2));
        let endless = ToySource { arrays: vec![1, 40, 7], endless: true, ..ToySource::default() };
        pipeline = pipeline.source("s0", endless.clone()).source("s1", endless);
        for stop in [Stop::Graceful, Stop::Now] {
            let pipeline = &pipeline;
            let before = pipeline.balance();
            let outcome = runtime.block_on(async {
                let started = pipeline.start(None).await;
                pipeline.until(|pipeline| pipeline.balance().received > before.received + 200).await;
                started.stops.send(stop).unwrap();
                started.outcome.await.unwrap()
            });
            let balance = pipeline.balance();
            assert_adds_up(balance);
            match outcome {
                Outcome::Stopped => assert_eq!(balance.held, 0, "{balance}"),
                Outcome::Aborted { not_delivered, .. } => assert_eq!(not_delivered, balance.held),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_term_of_the_books_counts_what_it_says() {
    let transform = |does| ToyTransform { does, ..ToyTransform::default() };
    let pipeline = Pipeline::default()
        .source("in", ToySource { arrays: vec![12], ..ToySource::default() })
        .transform("drops", &["in"], transform(Does::Drops))
        .transform("skips", &["in"], transform(Does::Skips))
        .transform("splits", &["in"], transform(Does::Splits))
        .sink("out", &["drops", "skips", "splits"], ToySink::default());
    assert_eq!(pipeline.run().await, Outcome::Finished);
    let balance = pipeline.balance();
    // Dropped: every third by `drops`, and those that `splits` gives to a port that nobody reads.
    assert_eq!((balance.received, balance.copies), (12, 24));
    assert_eq!((balance.dropped, balance.skipped, balance.delivered), (4 + 6, 6, 8 + 6 + 6));
    assert_eq!(
        balance.to_string(),
        "received 12 + copies 24 = delivered 20 + rejected 0 + dead-lettered 0 + dropped 10 + skipped 6"
    );
}

#[tokio::test]
async fn a_cancelled_hand_over_leaves_the_books_as_they_were_if_nobody_got_the_events() {
    let ledger = Ledger::default();
    let one = QueueLimits { max_events: 1, ..QueueLimits::default() };
    let (first, mut first_receiver) = queue(one, ledger.clone());
    let (second, mut second_receiver) = queue(one, ledger.clone());
    let fanout = Fanout::new(vec![("first".into(), first), ("second".into(), second)], ledger.clone());
    let mut out = SourceSender::new("toy", "in", [(None, fanout)].into(), ledger.clone());
    out.send_event(watched_event().0).await.unwrap();
    assert_eq!((ledger.balance().received, ledger.balance().copies), (1, 1));

    // Both are full: nobody gets it.
    let (event, status) = watched_event();
    assert_eq!(futures::FutureExt::now_or_never(out.send_event(event)), None);
    assert_eq!(status.await, BatchStatus::Errored, "the source still has it");
    assert_eq!((ledger.balance().received, ledger.balance().copies), (1, 1));

    // The first has room: it keeps its copy, the second one's is taken back.
    first_receiver.recv().await.unwrap();
    let (event, status) = watched_event();
    assert_eq!(futures::FutureExt::now_or_never(out.send_event(event)), None);
    assert_eq!((ledger.balance().received, ledger.balance().copies), (2, 1));
    first_receiver.recv().await.unwrap();
    assert_eq!(status.await, BatchStatus::Errored);
    second_receiver.recv().await.unwrap();
}
