//! Fingerprints of sets of elements, and ranges of the order in which elements are listed.

use std::iter::Sum;

use tombolo_crdt::{
    DecodeError, Dot, Element,
    codec::{Reader, put_varint},
};

/// How many elements there are, and the sum of their shares of the digest. Additive: that of a whole is the sum of its parts'.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint {
    /// Elements.
    pub count: u64,
    /// The sum of their shares modulo 2^128.
    pub sum: u128,
}

impl Fingerprint {
    /// One more element.
    pub fn add(&mut self, share: u128) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(share);
    }

    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        put_varint(out, self.count);
        out.extend_from_slice(&self.sum.to_be_bytes());
    }

    pub(crate) fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let what = "fingerprint";
        Ok(Self { count: reader.varint(what)?, sum: u128::from_be_bytes(reader.array(what)?) })
    }
}

impl Sum<u128> for Fingerprint {
    fn sum<I: Iterator<Item = u128>>(shares: I) -> Self {
        let mut all = Self::default();
        shares.for_each(|share| all.add(share));
        all
    }
}

/// Elements from one on and up to another one, in the order of `(replica, seq, index)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ElementRange {
    /// The first; `None`: from the beginning.
    pub from: Option<Element>,
    /// The first beyond; `None`: to the end.
    pub to: Option<Element>,
}

impl ElementRange {
    /// Every element.
    pub const ALL: Self = Self { from: None, to: None };

    /// Whether it holds an element.
    pub fn contains(&self, element: Element) -> bool {
        self.from.is_none_or(|from| from <= element) && self.to.is_none_or(|to| element < to)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        for bound in [self.from, self.to] {
            out.push(u8::from(bound.is_some()));
            if let Some(element) = bound {
                put_element(out, element);
            }
        }
    }

    pub(crate) fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let mut bound = || match reader.u8("range")? {
            0 => Ok(None),
            1 => read_element(reader).map(Some),
            _ => Err(DecodeError::NotCanonical { what: "range" }),
        };
        Ok(Self { from: bound()?, to: bound()? })
    }
}

pub(crate) fn put_element(out: &mut Vec<u8>, element: Element) {
    out.extend_from_slice(&element.dot.replica.get().to_be_bytes());
    put_varint(out, element.dot.seq);
    put_varint(out, element.index.into());
}

pub(crate) fn read_element(reader: &mut Reader) -> Result<Element, DecodeError> {
    let what = "element";
    let dot = Dot::new(reader.replica_id(what)?, reader.seq(what)?);
    let index = u32::try_from(reader.varint(what)?).map_err(|_| DecodeError::NotCanonical { what })?;
    Ok(dot.element(index))
}
