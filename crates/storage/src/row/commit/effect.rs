//! What a row says that has changed for etcd clients: how each effect is written.
//!
//! An effect of an operation in the same row takes its key from there, and revisions are written as their distance from the row's.

use bytes::Bytes;
use tombolo_crdt::{
    DecodeError, Operation,
    codec::{Reader, put_bytes, put_elements, put_varint},
};

use super::{CommitRow, Effect, Location, index};

const PUT_HERE: u64 = 0;
const REMOVED_HERE: u64 = 1;
const GONE: u64 = 2;
const UNCOVERED: u64 = 3;

impl CommitRow {
    pub(super) fn put_effect(&self, out: &mut Vec<u8>, number: u64, effect: &Effect) {
        let created = |revision: i64| (self.revision.get() - revision).cast_unsigned();
        match effect {
            Effect::Show { at, create_revision, version, .. } if at.commit == number => {
                put_varint(out, PUT_HERE);
                out.push(u8::from(self.parts.first().is_some_and(|part| part.dot() != at.element.dot)));
                put_varint(out, at.element.index.into());
                put_varint(out, created(*create_revision));
                put_varint(out, version.cast_unsigned());
            }
            Effect::Show { key, at, create_revision, version } => {
                put_varint(out, UNCOVERED);
                put_bytes(out, key);
                put_varint(out, at.commit);
                put_elements(out, &[at.element], self.author());
                put_varint(out, created(*create_revision));
                put_varint(out, version.cast_unsigned());
            }
            Effect::Gone { key } => match self.removal_of(key) {
                Some((part, operation)) => {
                    put_varint(out, REMOVED_HERE);
                    out.push(part as u8);
                    put_varint(out, operation as u64);
                }
                None => {
                    put_varint(out, GONE);
                    put_bytes(out, key);
                }
            },
        }
    }

    pub(super) fn read_effect(&self, reader: &mut Reader, number: u64) -> Result<Effect, DecodeError> {
        const WHAT: &str = "effect";
        let not_canonical = || DecodeError::NotCanonical { what: WHAT };
        let part_at = |reader: &mut Reader| {
            let at = reader.u8(WHAT)?;
            self.parts.get(usize::from(at)).ok_or_else(not_canonical)
        };
        match reader.varint(WHAT)? {
            PUT_HERE => {
                let element = part_at(reader)?.dot().element(index(reader)?);
                let Some(Operation::Put { key, .. }) = self.operation(element) else { return Err(not_canonical()) };
                let (create_revision, version) = self.read_counts(reader)?;
                Ok(Effect::Show {
                    key: key.clone(),
                    at: Location { commit: number, element },
                    create_revision,
                    version,
                })
            }
            REMOVED_HERE => {
                let part = part_at(reader)?;
                let at = usize::try_from(reader.varint(WHAT)?).map_err(|_| not_canonical())?;
                match part.record.operations.get(at) {
                    Some(Operation::Remove { key, .. }) => Ok(Effect::Gone { key: key.clone() }),
                    _ => Err(not_canonical()),
                }
            }
            GONE => Ok(Effect::Gone { key: reader.bytes(WHAT)? }),
            UNCOVERED => {
                let key = reader.bytes(WHAT)?;
                let commit = reader.varint(WHAT)?;
                let elements = reader.elements(self.author(), WHAT)?;
                let [element] = elements[..] else { return Err(not_canonical()) };
                let (create_revision, version) = self.read_counts(reader)?;
                Ok(Effect::Show { key, at: Location { commit, element }, create_revision, version })
            }
            _ => Err(not_canonical()),
        }
    }

    fn read_counts(&self, reader: &mut Reader) -> Result<(i64, i64), DecodeError> {
        let not_canonical = |_| DecodeError::NotCanonical { what: "counts" };
        let created = i64::try_from(reader.varint("create revision")?).map_err(not_canonical)?;
        let version = i64::try_from(reader.varint("version")?).map_err(not_canonical)?;
        Ok((self.revision.get().saturating_sub(created), version))
    }

    fn removal_of(&self, wanted: &Bytes) -> Option<(usize, usize)> {
        let is_removal = |op: &Operation| matches!(op, Operation::Remove { key, .. } if key == wanted);
        let mut parts = self.parts.iter().enumerate();
        parts.find_map(|(at, part)| Some((at, part.record.operations.iter().position(is_removal)?)))
    }
}
