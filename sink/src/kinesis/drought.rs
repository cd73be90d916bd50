//! Drought: does the stream refuse every record for its rate?
//! In: the sums of refused and stored records, every few seconds. Out: a word when that has lasted, and when it is over.
//! Never: counts a refusal of a whole request, which is weather.

use std::time::Duration;

use super::record::Moment;

/// How long records are refused and none is stored before it is worth a word. Chosen, not measured.
const WORTH_A_WORD: Duration = Duration::from_secs(10);

/// What to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// For this long records have been refused for rate and none was stored. Told once.
    Lasts(Duration),
    /// A record was stored again; so long it took.
    Over(Duration),
}

/// What is known of the present drought.
#[derive(Debug, Default)]
pub struct Drought {
    throttled: u64,
    stored: u64,
    since: Option<Moment>,
    told: bool,
}

impl Drought {
    /// The sums since the start, as they are now.
    pub fn look(&mut self, now: Moment, throttled: u64, stored: u64) -> Option<Word> {
        let (refused, landed) = (throttled > self.throttled, stored > self.stored);
        (self.throttled, self.stored) = (throttled, stored);
        if landed {
            let lasted = self.since.take().map(|since| now.saturating_sub(since));
            return lasted.filter(|_| std::mem::take(&mut self.told)).map(Word::Over);
        }
        if !refused {
            return None;
        }
        let lasted = now.saturating_sub(*self.since.get_or_insert(now));
        if lasted < WORTH_A_WORD || self.told {
            return None;
        }
        self.told = true;
        Some(Word::Lasts(lasted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_stream_that_refuses_everything_is_told_once_and_so_is_its_end() {
        let mut drought = Drought::default();
        let words: Vec<_> =
            (1..=24).filter_map(|n: u64| drought.look(at(2 * n), 100 * n, n.saturating_sub(20))).collect();
        assert_eq!(words, [Word::Lasts(at(10)), Word::Over(at(40))]);
    }

    #[test]
    fn a_stream_that_takes_something_and_one_that_is_asked_nothing_are_no_drought() {
        for (refusals, stored) in [(100, 1), (0, 0), (0, 100)] {
            let mut drought = Drought::default();
            let words: Vec<_> =
                (1..=20).filter_map(|n| drought.look(at(2 * n), refusals * n, stored * n)).collect();
            assert_eq!(words, []);
        }
    }
}
