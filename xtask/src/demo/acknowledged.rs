//! A write that a site has acknowledged: from then on it may be superseded, and never lost.

/// What was written, where, and the revision in the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    /// The site that answered, by its number.
    pub(crate) site: usize,
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) revision: i64,
}
