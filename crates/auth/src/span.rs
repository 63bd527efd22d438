//! One interval type for everything that names keys: requests, permissions, watches.
//!
//! etcd writes an interval as a key and a `range_end` with three meanings. They are told apart once, in [`Span::of`]; nothing else in a server
//! should look at a `range_end` again before it asks for permission.

use bytes::Bytes;

/// Neighbouring keys: one key alone, or all from one on, up to a key that is outside or without end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Span(Kind);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Key(Bytes),
    Range { from: Bytes, until: Option<Bytes> },
}

impl Span {
    /// One key.
    pub fn key(key: impl Into<Bytes>) -> Self {
        Self(Kind::Key(key.into()))
    }

    /// From a key on, up to another that is outside; `None` is no end.
    pub fn range(from: impl Into<Bytes>, until: Option<Bytes>) -> Self {
        Self(Kind::Range { from: from.into(), until })
    }

    /// What etcd means by a key and a `range_end`: none is the key alone, a single zero byte is no end.
    pub fn of(key: impl Into<Bytes>, range_end: impl Into<Bytes>) -> Self {
        let range_end = range_end.into();
        match range_end.as_ref() {
            [] => Self::key(key),
            [0] => Self::range(key, None),
            _ => Self::range(key, Some(range_end)),
        }
    }

    /// Every key.
    pub fn all() -> Self {
        Self::range(Bytes::new(), None)
    }

    /// Whether no key lies in it, since it ends before it begins.
    pub fn is_empty(&self) -> bool {
        matches!(&self.0, Kind::Range { from, until: Some(until) } if until <= from)
    }

    /// The first key.
    pub(crate) fn from(&self) -> &Bytes {
        match &self.0 {
            Kind::Key(key) => key,
            Kind::Range { from, .. } => from,
        }
    }

    /// The one key it stands for, if it is no range.
    pub(crate) fn only(&self) -> Option<&Bytes> {
        match &self.0 {
            Kind::Key(key) => Some(key),
            Kind::Range { .. } => None,
        }
    }

    /// The first key outside; `None` is no end.
    pub(crate) fn until(&self) -> Option<Bytes> {
        match &self.0 {
            Kind::Key(key) => Some([key, &[0][..]].concat().into()),
            Kind::Range { until, .. } => until.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_end_has_three_meanings() {
        assert_eq!(Span::of("a", ""), Span::key("a"));
        assert_eq!(Span::of("a", "\0"), Span::range("a", None));
        assert_eq!(Span::of("a", "b"), Span::range("a", Some("b".into())));
        assert_eq!(Span::of("", "\0"), Span::all());
    }

    #[test]
    fn what_ends_before_it_begins_is_empty() {
        for (span, empty) in [
            (Span::of("b", "a"), true),
            (Span::of("a", "a"), true),
            (Span::of("a", "\0"), false),
            (Span::key(""), false),
        ] {
            assert_eq!(span.is_empty(), empty, "{span:?}");
        }
    }
}
