//! A permission as etcd knows it: a kind of access to a key or range.

use bytes::Bytes;

use crate::Span;

/// The name of the user and of the role that may do everything.
pub const ROOT: &str = "root";

/// A kind of access, with etcd's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reading.
    Read,
    /// Writing and removing.
    Write,
    /// Both.
    ReadWrite,
    /// A number that means nothing yet: it is kept and permits nothing.
    Unknown(i32),
}

impl Access {
    /// The access of this number.
    pub fn of(number: i32) -> Self {
        match number {
            0 => Self::Read,
            1 => Self::Write,
            2 => Self::ReadWrite,
            unknown => Self::Unknown(unknown),
        }
    }

    /// Its number.
    pub fn number(self) -> i32 {
        match self {
            Self::Read => 0,
            Self::Write => 1,
            Self::ReadWrite => 2,
            Self::Unknown(number) => number,
        }
    }

    /// Whether it permits reading.
    pub fn reads(self) -> bool {
        matches!(self, Self::Read | Self::ReadWrite)
    }

    /// Whether it permits writing.
    pub fn writes(self) -> bool {
        matches!(self, Self::Write | Self::ReadWrite)
    }
}

/// A kind of access to a key or a range, as etcd's clients write it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Permission {
    /// What may be done.
    pub access: Access,
    /// The first key.
    pub key: Bytes,
    /// etcd's end of the range: empty for the key alone, a zero byte for no end.
    pub range_end: Bytes,
}

impl Permission {
    /// The keys it speaks of.
    pub fn span(&self) -> Span {
        Span::of(self.key.clone(), self.range_end.clone())
    }

    /// Whether etcd would take it: it has a key, and does not end before it begins.
    pub fn is_sound(&self) -> bool {
        !self.key.is_empty() && !self.span().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_contract() {
        for number in -1..5 {
            assert_eq!(Access::of(number).number(), number);
        }
        let permits = |number| (Access::of(number).reads(), Access::of(number).writes());
        assert_eq!([0, 1, 2, 3].map(permits), [(true, false), (false, true), (true, true), (false, false)]);
    }

    #[test]
    fn a_permission_needs_a_key_and_a_range_in_order() {
        for (key, range_end, sound) in [
            ("a", "", true),
            ("a", "b", true),
            ("b", "\0", true),
            ("", "", false),
            ("", "\0", false),
            ("b", "a", false),
            ("a", "a", false),
        ] {
            let permission = Permission { access: Access::Read, key: key.into(), range_end: range_end.into() };
            assert_eq!(permission.is_sound(), sound, "{key:?} {range_end:?}");
        }
    }
}
