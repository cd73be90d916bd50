//! Plot: the run over time as an SVG that stands by itself.
//! In: points. Out: three panels, one below the other, on one axis of time: rate, latency, memory.
//! Never: a font, a script or a style from elsewhere.

use std::fmt::Write;
use std::time::Duration;

use super::series::Point;

const WIDTH: f64 = 860.0;
/// What a panel takes, with its title above.
const PANEL_HEIGHT: f64 = 190.0;
const CHART_HEIGHT: f64 = 140.0;
/// Room for numbers at the left, and for the title on top.
const LEFT: f64 = 80.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 40.0;
/// Lines across a panel, about.
const TICKS: f64 = 4.0;
const COLOURS: [&str; 2] = ["#1f6f8b", "#d1495b"];

/// A line of a panel: what it is called, and its height over time; a gap where there is nothing.
struct Line {
    name: &'static str,
    values: Vec<Option<f64>>,
}

/// The chart of `points`, called `title`.
pub(super) fn svg(title: &str, points: &[Point]) -> String {
    let millis = |latency: Duration| latency.as_secs_f64() * 1000.0;
    let line = |name, value: &dyn Fn(&Point) -> Option<f64>| Line {
        name,
        values: points.iter().map(value).collect(),
    };
    let panels = [
        ("Delivered, events/s", vec![line("rate", &|point| Some(point.events_per_second))]),
        (
            "Latency from source to settled, ms",
            vec![line("p50", &|point| point.p50.map(millis)), line("p99", &|point| point.p99.map(millis))],
        ),
        (
            "Memory, MB",
            vec![
                line("held by sinks", &|point| Some(point.held_bytes as f64 / 1e6)),
                line("resident", &|point| Some(point.rss_bytes as f64 / 1e6)),
            ],
        ),
    ];
    let seconds: Vec<_> = points.iter().map(|point| point.at.as_secs_f64()).collect();
    let height = TOP + PANEL_HEIGHT * panels.len() as f64 + 20.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"11\" fill=\"#333\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"14\">{}</text>\n",
        escaped(title)
    );
    for (index, (name, lines)) in panels.iter().enumerate() {
        panel(&mut svg, TOP + PANEL_HEIGHT * index as f64, name, &seconds, lines);
    }
    svg.push_str("</svg>\n");
    svg
}

fn panel(svg: &mut String, top: f64, name: &str, seconds: &[f64], lines: &[Line]) {
    let (top, bottom) = (top + 20.0, top + 20.0 + CHART_HEIGHT);
    let highest = lines.iter().flat_map(|line| line.values.iter().flatten()).copied().fold(0.0, f64::max);
    let (step, end) = (nice_step(highest), seconds.last().copied().unwrap_or(0.0).max(0.001));
    let scale = (highest / step).ceil().max(1.0) * step;
    let x = |second: f64| LEFT + second / end * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| bottom - value / scale * CHART_HEIGHT;
    // Writing to a string cannot fail.
    let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">{name}</text>", top - 7.0);
    for tick in 0..=(scale / step).round() as u32 {
        let value = f64::from(tick) * step;
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {0:.1}H{1}\" stroke=\"#ddd\"/><text x=\"{2}\" y=\"{3:.1}\" text-anchor=\"end\">{4}</text>",
            y(value),
            WIDTH - RIGHT,
            LEFT - 6.0,
            y(value) + 4.0,
            short(value)
        );
    }
    let step = nice_step(end);
    for tick in 0..=(end / step) as u32 {
        let second = f64::from(tick) * step;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{} s</text>",
            x(second),
            bottom + 14.0,
            short(second)
        );
    }
    for (index, line) in lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"{colour}\">{}</text>\
             <path d=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>",
            WIDTH - RIGHT - 100.0 * (lines.len() - 1 - index) as f64,
            top - 7.0,
            line.name,
            path(seconds.iter().map(|second| x(*second)).zip(line.values.iter().map(|value| value.map(y))))
        );
    }
}

/// A path through all places that there are.
fn path(places: impl Iterator<Item = (f64, Option<f64>)>) -> String {
    let (mut path, mut pen) = (String::new(), 'M');
    for (x, y) in places {
        match y {
            Some(y) => {
                // Writing to a string cannot fail.
                let _ = write!(path, "{pen}{x:.1} {y:.1}");
                pen = 'L';
            }
            None => pen = 'M',
        }
    }
    path
}

/// 1, 2 or 5 times a power of ten, so that about [`TICKS`] of it reach `highest`.
fn nice_step(highest: f64) -> f64 {
    let rough = (highest / TICKS).max(1e-6);
    let power = 10_f64.powf(rough.log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0].into_iter().find(|times| times * power >= rough);
    times.unwrap_or(10.0) * power
}

/// `350k`, `1.5M`, `0.25`.
fn short(value: f64) -> String {
    let (value, unit) = match value {
        value if value >= 1e6 => (value / 1e6, "M"),
        value if value >= 1e4 => (value / 1e3, "k"),
        value => (value, ""),
    };
    // Steps are round numbers; what is beyond their digits is noise of floating point.
    format!("{}{unit}", (value * 1e6).round() / 1e6)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_a_place_for_each_point_and_stays_inside_the_picture() {
        let point = |n: u32| Point {
            at: Duration::from_millis(100) * n,
            events_per_second: f64::from(n) * 1000.0,
            p50: (n != 3).then(|| Duration::from_millis(u64::from(n))),
            p99: Some(Duration::from_millis(9)),
            held_bytes: 5_000_000,
            rss_bytes: 60_000_000,
            in_flight: 1,
        };
        let svg = svg("a <b> & c", &(1..=5).map(point).collect::<Vec<_>>());
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("a &lt;b&gt; &amp; c"));
        let lines: Vec<_> = svg.split("fill=\"none\"").map(|part| part.rsplit("d=\"").next()).collect();
        let places = |index: usize| lines[index].map_or(0, |path| path.matches(['M', 'L']).count());
        assert_eq!([places(0), places(1), places(2), places(4)], [5, 4, 5, 5]);
        assert_eq!(lines[1].map(|path| path.matches('M').count()), Some(2), "nothing was delivered once");
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn a_run_without_points_is_an_empty_chart() {
        let svg = svg("nothing", &[]);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn steps_are_round_and_numbers_short() {
        assert_eq!([7.0, 350_000.0, 0.9, 40.0].map(nice_step), [2.0, 100_000.0, 0.5, 10.0]);
        assert_eq!(
            [350_000.0, 1_500_000.0, 0.30000000000000004, 9000.0].map(short),
            ["350k", "1.5M", "0.3", "9000"]
        );
    }
}
