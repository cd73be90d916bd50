//! Trial: which record of a refused request is guilty?
//! In: the records of a request that the service refused for its content, and how each test went. Out: the next test, or the guilty one.
//! Holds: the suspects; at most half of them are tested at a time, so one guilty event among n costs at most log2(n), rounded up, + 1 refusals,
//! the first one counted.
//! A suspect may lead others (aggregation); `company` says how many events it stands for, itself too.
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
    pub hint: Option<RecordId>,
}

/// What follows from a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Refused alone.
    pub guilty: Option<RecordId>,
    /// No longer suspected.
    pub freed: Vec<RecordId>,
    /// The next test. If it is a single suspect's, someone in its company is guilty.
    pub next: Option<Trial>,
}

impl Trial {
    /// All of these are sent together.
    #[must_use]
    pub fn of(suspects: Vec<RecordId>) -> Self {
        Self { test: suspects, rest: Vec::new(), hint: None }
    }

    /// The first test of `suspects`, which were refused together. `index` is what the message named; it may count
    /// from 0 or from 1, so both readings are tested alone before halving, unless such a test would be of more than half.
    fn open(mut suspects: Vec<RecordId>, index: Option<usize>, company: impl Fn(RecordId) -> usize) -> Self {
        let half = half_of(&suspects, &company);
        let fits = |at: &usize| suspects.get(*at).is_some_and(|id| company(*id) <= half);
        let from_one = index.and_then(|index| index.checked_sub(1)).filter(fits);
        let from_zero = index.filter(fits).map(|at| suspects[at]);
        match (from_one, from_zero) {
            (Some(at), hint) => {
                let first = suspects.remove(at);
                Self { test: vec![first], rest: suspects, hint }
            }
            (None, Some(first)) => {
                suspects.retain(|id| *id != first);
                Self { test: vec![first], rest: suspects, hint: None }
            }
            (None, None) => Self::halve(suspects, company),
        }
    }

    /// Tests as many as have no more than half of the company, but one at least.
    fn halve(mut suspects: Vec<RecordId>, company: impl Fn(RecordId) -> usize) -> Self {
        suspects.sort_by_key(|id| company(*id));
        let mut left = half_of(&suspects, &company);
        let fits = |id: &&RecordId| left.checked_sub(company(**id)).map(|less| left = less).is_some();
        let count = suspects.iter().take_while(fits).count();
        let rest = suspects.split_off(count.clamp(1, suspects.len()));
        Self { test: suspects, rest, hint: None }
    }

    /// The test was refused for its content. `is_alone`: it was a single record, with nobody in its company. `index`
    /// is the one that the message named.
    #[must_use]
    pub fn refused(
        self,
        is_alone: bool,
        index: Option<usize>,
        company: impl Fn(RecordId) -> usize,
    ) -> Finding {
        let (guilty, next) = match self.test.as_slice() {
            [one] if is_alone => (Some(*one), None),
            _ => (None, Some(Self::open(self.test, index, company))),
        };
        Finding { guilty, freed: self.rest, next }
    }

    /// The test was taken: the guilty one is among the rest.
    #[must_use]
    pub fn taken(self, company: impl Fn(RecordId) -> usize) -> Finding {
        let mut rest = self.rest;
        let next = match self.hint.and_then(|hint| rest.iter().position(|id| *id == hint)) {
            Some(at) => {
                let hinted = rest.remove(at);
                Some(Self { test: vec![hinted], rest, hint: None })
            }
            None => (!rest.is_empty()).then(|| Self::halve(rest, company)),
        };
        Finding { guilty: None, freed: Vec::new(), next }
    }
}

fn half_of(suspects: &[RecordId], company: impl Fn(RecordId) -> usize) -> usize {
    suspects.iter().map(|id| company(*id)).sum::<usize>().div_ceil(2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn find(count: u32, guilty: u32, index: Option<usize>) -> (Option<RecordId>, usize, Vec<RecordId>) {
        let (mut trial, mut tests) = (Some(Trial::open((0..count).collect(), index, |_| 1)), 0);
        let (mut free, mut found) = (Vec::new(), None);
        while let Some(now) = trial {
            tests += 1;
            assert!(!now.test.is_empty());
            let finding = if now.test.contains(&guilty) {
                let is_alone = now.test.len() == 1;
                now.refused(is_alone, None, |_| 1)
            } else {
                free.extend(now.test.iter().copied());
                now.taken(|_| 1)
            };
            free.extend(finding.freed);
            found = found.or(finding.guilty);
            trial = finding.next;
        }
        (found, tests, free)
    }

    #[test]
    fn no_more_than_half_of_the_company_is_tested_however_it_is_spread() {
        let company = |id| [300, 1, 90, 9, 100][id as usize];
        let trial = Trial::of((0..5).collect()).refused(false, None, company).next.unwrap();
        assert_eq!((&trial.test[..], &trial.rest[..]), (&[1, 3, 2, 4][..], &[0][..]));
        let named = Trial::of((0..5).collect()).refused(false, Some(1), company).next.unwrap();
        assert_eq!(
            (&named.test[..], named.hint),
            (&[1][..], None),
            "a message may name one of the small ones"
        );
        let next = trial.clone().taken(company).next.unwrap();
        assert_eq!(next, Trial::of(vec![0]));
        let finding = next.refused(false, None, company);
        assert_eq!((finding.guilty, finding.next), (None, Some(Trial::of(vec![0]))), "its company is halved");
        let finding = trial.refused(false, None, company);
        assert_eq!((finding.freed, finding.next.unwrap().test), (vec![0], vec![1, 3, 2]));
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
