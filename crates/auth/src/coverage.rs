//! The keys that somebody's permissions cover together.
//!
//! Permissions that touch or overlap cover what lies in them jointly, as in etcd: a range may span several. Built once for each user when a
//! policy is read; asked for every request, in O(log permissions).

use bytes::Bytes;

use crate::Span;

/// A set of keys, as intervals that neither touch nor overlap, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Coverage {
    merged: Vec<Interval>,
    /// As given: an empty range is judged by single permissions.
    given: Vec<Interval>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Interval {
    from: Bytes,
    /// `None` is no end.
    until: Option<Bytes>,
}

impl Interval {
    fn reaches(&self, key: &[u8]) -> bool {
        self.until.as_ref().is_none_or(|until| until.as_ref() >= key)
    }

    fn is_beyond(&self, key: &[u8]) -> bool {
        self.until.as_ref().is_none_or(|until| until.as_ref() > key)
    }
}

impl Coverage {
    /// Everything that lies in one of the spans.
    pub(crate) fn of(spans: impl IntoIterator<Item = Span>) -> Self {
        let spans = spans.into_iter().filter(|span| !span.is_empty());
        let mut given: Vec<_> = spans.map(|span| Interval { from: span.from().clone(), until: span.until() }).collect();
        given.sort_by(|a, b| a.from.cmp(&b.from));
        let mut merged: Vec<Interval> = Vec::new();
        for next in &given {
            match merged.last_mut() {
                Some(last) if last.reaches(&next.from) => {
                    if let Some(until) = &last.until
                        && next.is_beyond(until)
                    {
                        last.until.clone_from(&next.until);
                    }
                }
                _ => merged.push(next.clone()),
            }
        }
        Self { merged, given }
    }

    /// Whether every key of the span is covered. A span without keys is covered by a single permission that goes beyond both of its ends, as etcd has it.
    pub(crate) fn covers(&self, span: &Span) -> bool {
        if span.is_empty() {
            let Some(until) = span.until() else { return false };
            return self.given.iter().any(|one| one.from < until && one.is_beyond(span.from()));
        }
        let after = self.merged.partition_point(|one| one.from <= *span.from());
        let Some(last) = after.checked_sub(1).and_then(|place| self.merged.get(place)) else { return false };
        match (span.only(), &last.until) {
            (Some(key), _) => last.is_beyond(key),
            (None, None) => true,
            (None, Some(end)) => span.until().is_some_and(|until| until <= *end),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(0_u8..3, 1..4).prop_map(Bytes::from)
    }

    fn spans() -> impl Strategy<Value = Span> {
        let ends = prop_oneof![Just(Bytes::new()), Just(Bytes::from_static(b"\0")), keys()];
        (keys(), ends).prop_map(|(key, end)| Span::of(key, end))
    }

    /// All keys of up to four of three letters, by which the strategies' spans can be told apart.
    fn universe() -> Vec<Bytes> {
        let mut all = vec![vec![]];
        let mut last = all.clone();
        for _ in 0..4 {
            last = last.iter().flat_map(|key: &Vec<u8>| (0..3).map(|letter| [&key[..], &[letter]].concat())).collect();
            all.extend(last.clone());
        }
        all.into_iter().map(Bytes::from).collect()
    }

    fn holds(span: &Span, key: &Bytes) -> bool {
        span.only()
            .map_or_else(|| span.from() <= key && span.until().is_none_or(|until| *key < until), |only| only == key)
    }

    proptest! {
        #[test]
        fn a_span_is_covered_exactly_when_each_of_its_keys_is(given in prop::collection::vec(spans(), 0..6), asked in spans()) {
            prop_assume!(!asked.is_empty());
            let coverage = Coverage::of(given.clone());
            let keys: Vec<_> = universe().into_iter().filter(|key| holds(&asked, key)).collect();
            let each = keys.iter().all(|key| given.iter().any(|span| holds(span, key)));
            // An open end lies beyond all keys that are tried.
            let end = asked.only().is_some() || asked.until().is_some() || given.iter().any(|span| span.only().is_none() && span.until().is_none());
            prop_assert_eq!(coverage.covers(&asked), each && end);
        }

        #[test]
        fn nothing_covers_what_no_permission_speaks_of(asked in spans()) {
            prop_assert!(!Coverage::default().covers(&asked));
        }
    }

    #[test]
    fn neighbours_cover_jointly_and_a_gap_does_not() {
        let joint = Coverage::of([Span::of("a", "c"), Span::of("c", "e"), Span::key("x")]);
        assert!(joint.covers(&Span::of("a", "e")));
        assert!(!joint.covers(&Span::of("a", "f")));
        assert!(!joint.covers(&Span::of("x", "y")), "a single key is no range");
        assert!(joint.covers(&Span::of("x", "x\0")), "but it is the range of that key alone");
    }

    #[test]
    fn one_key_does_not_open_what_comes_after_it() {
        let one = Coverage::of([Span::key("a")]);
        assert!(one.covers(&Span::key("a")));
        assert!(!one.covers(&Span::of("a", "\0")));
        assert!(!one.covers(&Span::key("a\0")));
    }

    #[test]
    fn a_range_without_keys_is_judged_as_etcd_judges_it() {
        let coverage = Coverage::of([Span::of("a", "c"), Span::of("c", "e")]);
        assert!(coverage.covers(&Span::of("bb", "b")));
        assert!(!coverage.covers(&Span::of("d", "b")), "two permissions do not do jointly");
        assert!(!coverage.covers(&Span::of("x", "f")));
    }
}
