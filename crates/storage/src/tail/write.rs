//! Writes a tail, and finds the records that belong in one among the rows of a log.

use std::io::Write;

use tombolo_crdt::{ReplicaId, codec::put_varint};

use super::{TAIL_MAGIC, TailError, TailStream, VERSION, removes_ranges};
use crate::{
    MeshId, ReadError,
    engine::Snapshot,
    row::{
        commit::{CommitRow, Layer, Part},
        put_vector,
    },
    rows::NumberedRows,
};

/// A tail that is being written.
pub(crate) struct TailWriter<'a> {
    out: &'a mut dyn Write,
    hasher: blake3::Hasher,
}

impl<'a> TailWriter<'a> {
    pub(crate) fn begin(out: &'a mut dyn Write, mesh: MeshId) -> Result<Self, TailError> {
        let mut writer = Self { out, hasher: blake3::Hasher::new() };
        let mut head = TAIL_MAGIC.to_vec();
        head.push(VERSION);
        head.extend_from_slice(&mesh.0.to_be_bytes());
        writer.put(&head)?;
        Ok(writer)
    }

    /// Writes the records of one author that a log holds, from the first one asked for on. All of them must be there.
    pub(crate) fn stream(
        &mut self,
        snapshot: &dyn Snapshot,
        commits: (u64, u64),
        asked: TailStream,
    ) -> Result<TailStream, TailError> {
        let TailStream { author, first, apart, .. } = asked;
        let mut head = author.get().to_be_bytes().to_vec();
        head.extend_from_slice(&first.to_be_bytes());
        head.extend_from_slice(&apart.unwrap_or(0).to_be_bytes());
        self.put(&head)?;
        let mut written = TailStream { last: first - 1, ..asked };
        each_record(snapshot, commits, &[author], |commit, part| {
            let dot = part.dot();
            match dot.seq {
                seq if seq < first || seq > asked.last => return Ok(()),
                seq if seq != written.last + 1 => return Err(ReadError::Rot { commit }.into()),
                seq => written.last = seq,
            }
            self.frame(&part.bytes)?;
            if removes_ranges(&part.record) {
                let mut context = Vec::new();
                put_vector(&mut context, part.context.as_ref().ok_or(ReadError::Rot { commit })?);
                self.frame(&context)?;
            }
            Ok(())
        })?;
        self.put(&[0])?;
        Ok(written)
    }

    pub(crate) fn finish(mut self) -> Result<(), TailError> {
        self.put(&[0; 8])?;
        self.out.write_all(self.hasher.finalize().as_bytes())?;
        Ok(self.out.flush()?)
    }

    fn frame(&mut self, bytes: &[u8]) -> Result<(), TailError> {
        let mut length = Vec::with_capacity(4);
        put_varint(&mut length, bytes.len() as u64);
        self.put(&length)?;
        self.put(bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), TailError> {
        self.hasher.update(bytes);
        Ok(self.out.write_all(bytes)?)
    }
}

/// Shows the records of these authors that a log holds as they were written, in its order.
pub(crate) fn each_record(
    snapshot: &dyn Snapshot,
    (first, last): (u64, u64),
    authors: &[ReplicaId],
    mut show: impl FnMut(u64, &Part) -> Result<(), TailError>,
) -> Result<(), TailError> {
    for row in NumberedRows::commits(snapshot, first, last).readable() {
        let (number, row) = row?;
        let row = CommitRow::decode(&row, number)?;
        let whole = row.parts.iter().filter(|part| part.layer == Layer::Mesh && part.indices.is_none());
        for part in whole.filter(|part| authors.contains(&part.dot().replica)) {
            show(number, part)?;
        }
    }
    Ok(())
}
