//! Books: what the program says came in and what became of it, read from its last line or from its metrics.
//! In: a log or `/metrics`. Out: numbers that must add up.

use std::collections::BTreeMap;

/// The equation of promise 1.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) received: u64,
    copies: u64,
    /// What became of the events, by name; `not delivered` and `held` are what is still on its way.
    fates: BTreeMap<String, u64>,
}

impl Books {
    /// From the last line of a run: `received 3 = delivered 2 + … + skipped 1 (adds up)`.
    #[track_caller]
    pub(crate) fn of_line(words: &str) -> Self {
        let line = words.lines().rev().find_map(|line| line.split_once("Accounting: "));
        let (_, line) = line.unwrap_or_else(|| panic!("no books: {words}"));
        let (sums, verdict) = line.split_once(" (").unwrap();
        assert_eq!(verdict, "adds up)", "{line}");
        let (taken, fates) = sums.split_once(" = ").unwrap();
        let named = |part: &str| {
            let (name, number) = part.rsplit_once(' ').unwrap();
            (name.to_owned(), number.parse().unwrap())
        };
        let taken: BTreeMap<String, u64> = taken.split(" + ").map(named).collect();
        Self {
            received: taken["received"],
            copies: taken.get("copies").copied().unwrap_or(0),
            fates: fates.split(" + ").map(named).collect(),
        }
    }

    /// From `/metrics`.
    pub(crate) fn of_metrics(metrics: &Metrics) -> Self {
        let mut fates = metrics.by_label("pipeline_events_total", "fate");
        let (received, copies) = (fates.remove("received").unwrap(), fates.remove("copies").unwrap());
        fates.insert("held".to_owned(), metrics.sum("pipeline_held_events"));
        Self { received, copies, fates }
    }

    /// What became of events, without what did not happen.
    pub(crate) fn fates(&self) -> Vec<(&str, u64)> {
        self.fates
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(name, count)| (name.as_str(), *count))
            .collect()
    }

    #[track_caller]
    pub(crate) fn assert_add_up(&self) {
        assert_eq!(self.received + self.copies, self.fates.values().sum::<u64>(), "{self:?}");
    }
}

/// The text of `/metrics`.
pub(crate) struct Metrics(pub(crate) String);

impl Metrics {
    fn lines(&self, name: &str) -> impl Iterator<Item = (&str, u64)> {
        self.0.lines().filter_map(move |line| {
            let (labels, value) = line.strip_prefix(name)?.rsplit_once(' ')?;
            let is_it = labels.is_empty() || labels.starts_with('{');
            is_it.then(|| (labels, value.parse::<f64>().unwrap() as u64))
        })
    }

    /// The sum over all labels; 0 where there is none.
    pub(crate) fn sum(&self, name: &str) -> u64 {
        self.lines(name).map(|(_, value)| value).sum()
    }

    /// The values by one label.
    pub(crate) fn by_label(&self, name: &str, label: &str) -> BTreeMap<String, u64> {
        let mut values = BTreeMap::new();
        for (labels, value) in self.lines(name) {
            let text = labels.split_once(&format!("{label}=\"")).and_then(|(_, rest)| rest.split_once('"'));
            *values.entry(text.unwrap().0.to_owned()).or_default() += value;
        }
        values
    }
}
