//! Trial: which record of a refused request is guilty?
//! In: the records of a request that the service refused for its content, and how each test went. Out: the next test, or the guilty one.
//! Holds: the suspects; half of them are tested at a time, so one guilty record among 500 costs at most ten requests.
//! Never: convicts on a message alone: a record is guilty when it was refused alone.

use super::record::RecordId;

/// A test: `test` is sent by itself while `rest` waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// What is sent.
    pub test: Vec<RecordId>,
    /// The other suspects.
    pub rest: Vec<RecordId>,
    /// A record to test alone after this test, because a message pointed at it.
    hint: Option<RecordId>,
}

/// What follows from a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Refused alone.
    pub guilty: Option<RecordId>,
    /// No longer suspected.
    pub freed: Vec<RecordId>,
    /// The next test.
    pub next: Option<Trial>,
}

impl Trial {
    /// The first test of `suspects`, which were refused together. `index` is what the message named; it may count
    /// from 0 or from 1, so both readings are tested alone before halving.
    #[must_use]
    pub fn open(mut suspects: Vec<RecordId>, index: Option<usize>) -> Self {
        let from_one = index.and_then(|index| index.checked_sub(1)).filter(|at| *at < suspects.len());
        let from_zero = index.filter(|at| *at < suspects.len()).map(|at| suspects[at]);
        match (from_one, from_zero) {
            (Some(at), hint) => {
                let first = suspects.remove(at);
                Self { test: vec![first], rest: suspects, hint }
            }
            (None, Some(first)) => {
                suspects.retain(|id| *id != first);
                Self { test: vec![first], rest: suspects, hint: None }
            }
            (None, None) => Self::halve(suspects),
        }
    }

    fn halve(mut suspects: Vec<RecordId>) -> Self {
        let rest = suspects.split_off(suspects.len().div_ceil(2));
        Self { test: suspects, rest, hint: None }
    }

    /// The test was refused for its content.
    #[must_use]
    pub fn refused(self) -> Finding {
        match self.test.as_slice() {
            [one] => Finding { guilty: Some(*one), freed: self.rest, next: None },
            _ => Finding { guilty: None, freed: self.rest, next: Some(Self::halve(self.test)) },
        }
    }

    /// The test was taken: the guilty one is among the rest.
    #[must_use]
    pub fn taken(self) -> Finding {
        let mut rest = self.rest;
        let next = match self.hint.and_then(|hint| rest.iter().position(|id| *id == hint)) {
            Some(at) => {
                let hinted = rest.remove(at);
                Some(Self { test: vec![hinted], rest, hint: None })
            }
            None => (!rest.is_empty()).then(|| Self::halve(rest)),
        };
        Finding { guilty: None, freed: Vec::new(), next }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn find(count: u32, guilty: u32, index: Option<usize>) -> (Option<RecordId>, usize, Vec<RecordId>) {
        let (mut trial, mut tests) = (Some(Trial::open((0..count).collect(), index)), 0);
        let (mut free, mut found) = (Vec::new(), None);
        while let Some(now) = trial {
            tests += 1;
            assert!(!now.test.is_empty());
            let finding = if now.test.contains(&guilty) {
                now.refused()
            } else {
                free.extend(now.test.iter().copied());
                now.taken()
            };
            free.extend(finding.freed);
            found = found.or(finding.guilty);
            trial = finding.next;
        }
        (found, tests, free)
    }

    proptest! {
        #[test]
        fn the_guilty_record_is_found_in_ten_requests_and_all_others_go_free(count in 2..=500u32, pick in 0..500u32) {
            let guilty = pick % count;
            let (found, tests, mut free) = find(count, guilty, None);
            prop_assert_eq!(found, Some(guilty));
            prop_assert!(tests <= 10, "{} tests", tests);
            free.sort_unstable();
            prop_assert_eq!(free, (0..count).filter(|id| *id != guilty).collect::<Vec<_>>());
        }

        #[test]
        fn an_index_that_counts_from_one_or_from_zero_is_found_at_once(count in 2..=500u32, pick in 0..500u32) {
            let guilty = pick % count;
            for index in [guilty as usize, guilty as usize + 1] {
                let (found, tests, free) = find(count, guilty, Some(index));
                prop_assert_eq!(found, Some(guilty));
                prop_assert!(tests <= 2, "{} tests", tests);
                prop_assert_eq!(free.len(), count as usize - 1);
            }
        }
    }
}
