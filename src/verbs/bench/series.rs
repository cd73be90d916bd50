//! Series: the run over time.
//! In: samples. Out: points, for the chart and the progress line.
//! Holds: at most [`POINTS_MAX`] points; a longer run has coarser ones.

use std::time::Duration;

use afluente::pipeline::accounting::LatencyCounts;

use super::sample::Sample;

/// More than a chart can show.
const POINTS_MAX: usize = 2000;

/// The run between one moment and the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Point {
    /// Since the pipeline's start.
    pub(super) at: Duration,
    /// Events delivered a second.
    pub(super) events_per_second: f64,
    /// Of the events that were delivered meanwhile.
    pub(super) p50: Option<Duration>,
    pub(super) p99: Option<Duration>,
    /// At its end.
    pub(super) held_bytes: u64,
    pub(super) rss_bytes: u64,
    pub(super) in_flight: u64,
}

/// All points.
#[derive(Debug, Default)]
pub(super) struct Series {
    points: Vec<Point>,
    /// Points closer than this to their predecessor are left out.
    spacing: Duration,
    delivered: u64,
    latencies: LatencyCounts,
}

impl Series {
    /// The process was like `sample` at `at`.
    pub(super) fn add(&mut self, at: Duration, sample: &Sample) {
        let before = self.points.last().map_or(Duration::ZERO, |point| point.at);
        let passed = at.saturating_sub(before);
        if passed < self.spacing && !sample.ended {
            return;
        }
        let latencies = sample.latencies.since(&self.latencies);
        self.points.push(Point {
            at,
            events_per_second: sample.delivered.saturating_sub(self.delivered) as f64
                / passed.as_secs_f64().max(0.001),
            p50: latencies.quantile(0.5),
            p99: latencies.quantile(0.99),
            held_bytes: sample.held_bytes,
            rss_bytes: sample.process.map_or(0, |process| process.rss_bytes),
            in_flight: sample.in_flight,
        });
        self.delivered = sample.delivered;
        self.latencies = sample.latencies.clone();
        if self.points.len() > POINTS_MAX {
            self.thin_out();
        }
    }

    fn thin_out(&mut self) {
        let span = self.points.last().map_or(Duration::ZERO, |point| point.at);
        self.spacing = span * 2 / self.points.len() as u32;
        let mut odd = false;
        self.points.retain(|_| {
            odd = !odd;
            odd
        });
    }

    pub(super) fn points(&self) -> &[Point] {
        &self.points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_tells_what_has_changed_since_the_one_before() {
        let mut series = Series::default();
        let sample = |delivered| Sample { delivered, held_bytes: delivered, ..Sample::default() };
        series.add(Duration::from_millis(100), &sample(50));
        series.add(Duration::from_millis(300), &sample(250));
        let rates: Vec<_> = series.points().iter().map(|point| point.events_per_second).collect();
        assert_eq!(rates, [500.0, 1000.0]);
        assert_eq!(series.points()[1].held_bytes, 250);
    }

    #[test]
    fn a_long_run_has_coarser_points_and_no_more_of_them() {
        let mut series = Series::default();
        for tenth in 1..=100_000_u32 {
            let sample = Sample { delivered: u64::from(tenth), ended: tenth == 100_000, ..Sample::default() };
            series.add(Duration::from_millis(100) * tenth, &sample);
        }
        let points = series.points();
        assert!(points.len() <= POINTS_MAX && points.len() > POINTS_MAX / 4, "{}", points.len());
        assert!(points.windows(2).all(|pair| pair[0].at < pair[1].at));
        assert!(points.iter().all(|point| (point.events_per_second - 10.0).abs() < 0.1));
        assert_eq!(points.last().map(|point| point.at), Some(Duration::from_secs(10_000)));
    }
}
