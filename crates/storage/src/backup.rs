//! A copy of everything a store holds, of one moment: all rows of both layers and of the system's data, as a stream of bytes. Signatures are no part
//! of it: they were given for the mesh that whoever restores it leaves. What is rotten among them is in nobody's way.
//!
//! ```text
//! backup := "tombolo snapshot\n" ‖ version (1) ‖ head ‖ { key length ‖ key ‖ row length ‖ row } ‖ 0 ‖ checksum (32)
//! head   := mesh (16) ‖ replica (8) ‖ private (8) ‖ revision (8) ‖ commit (8) ‖ saved, ms (8) ‖ next slot (2) ‖ expected bytes (8)
//!           ‖ count ‖ { forebear (8) ‖ its last revision (8) [ ‖ its first (8) ] } [ ‖ the replica's first (8) ] ‖ count ‖ { replica whose leases are counted there (8) }
//! ```
//!
//! The version is 1, or 2 with what stands in brackets: first revisions are written down when one of them is not the beginning of its slot.
//!
//! Numbers are big-endian, counts and lengths varints. The checksum is BLAKE3 of all before it; every row carries its own hash besides. The rows are
//! those of the data folder, kept for ever as they are: the newest base, if there is one, and the commits. How a backup becomes a store again is in [`restore`](mod@crate::restore).

use bytes::{BufMut, Bytes};
use tombolo_crdt::{ReplicaId, codec::put_varint};

use crate::{
    OpenError, ReadError, Slot, Store, WallTime, bases,
    engine::Snapshot,
    folder::Owner,
    lineage::Forebear,
    row::{self, Kind, Tally, commit},
    store::{Floor, Published},
};

/// How a backup begins.
pub const BACKUP_MAGIC: &[u8; 17] = b"tombolo snapshot\n";
pub(crate) const VERSION: u8 = 1;
pub(crate) const VERSION_WITH_GAPS: u8 = 2;

/// A backup under way: it holds on to one moment of the store, and yields it piece by piece.
pub struct Backup {
    snapshot: Box<dyn Snapshot>,
    owner: Owner,
    published: Published,
    /// The last commit whose row belongs to it.
    last: u64,
    expected_bytes: u64,
    replicas: Vec<ReplicaId>,
    saved: WallTime,
    next_slot: Slot,
    phase: Phase,
    seen: Seen,
    hasher: blake3::Hasher,
}

/// What of the commit rows has been seen, and must be: a row that is lost leaves no mark but that.
#[derive(Default)]
struct Seen {
    /// The next commit that has to come: below the floor some may be missing.
    next: u64,
    floor: Floor,
    /// The sum of the rows up to the base's commit.
    hashes: u128,
    /// That commit, and what the sum has to be.
    base: Option<(u64, u128)>,
}

impl Seen {
    fn commit(&mut self, number: u64, row: &[u8]) -> Result<(), ReadError> {
        if number > self.expected() {
            return Err(ReadError::Rot { commit: self.expected() });
        }
        self.next = number + 1;
        if self.base.is_some_and(|(commit, _)| number <= commit) {
            self.hashes = self.hashes.wrapping_add(Tally::of(row).hashes);
        }
        Ok(())
    }

    /// The first commit that may not be missing.
    fn expected(&self) -> u64 {
        self.floor.gaps.past(self.next.max(self.floor.commit + 1))
    }

    fn end(&self, last: u64) -> Result<(), ReadError> {
        if self.expected() <= last {
            return Err(ReadError::Rot { commit: self.expected() });
        }
        match self.base {
            Some((commit, sum)) if sum != self.hashes => Err(ReadError::Rot { commit }),
            _ => Ok(()),
        }
    }
}

enum Phase {
    Head,
    /// Rows of commits from this key on.
    Commits(Bytes),
    Checksum,
    Done,
}

impl Store {
    /// Begins a backup of this moment. `next_slot` is one above all slots that were ever handed out: a store made from the backup counts
    /// there or above. Rows that are compacted meanwhile stay on disk until it is dropped.
    pub fn backup(&self, saved: WallTime, next_slot: Slot) -> Backup {
        let state = self.shared().state.read();
        let replicas = state.frontier.iter().map(|dot| dot.replica).collect();
        Backup {
            // Under the lock: nothing is published between the one and the other.
            snapshot: self.shared().engine.snapshot(),
            owner: self.shared().owner.clone(),
            published: state.published,
            last: state.published.commit,
            expected_bytes: state.row_bytes,
            replicas,
            saved,
            next_slot,
            phase: Phase::Head,
            seen: Seen::default(),
            hasher: blake3::Hasher::new(),
        }
    }
}

impl Backup {
    /// About how many bytes are still to come, for whoever shows progress; what was compacted may make it fewer.
    pub fn expected_bytes(&self) -> u64 {
        self.expected_bytes
    }

    /// The next piece, of about `target` bytes; `None` after the last. May read the disk.
    ///
    /// # Errors
    ///
    /// A damaged row, or one that is missing, by its commit: what is rotten is not handed on, and nothing is left out. There is no further piece.
    pub fn next_piece(&mut self, target: usize) -> Result<Option<Bytes>, ReadError> {
        let piece = match std::mem::replace(&mut self.phase, Phase::Done) {
            Phase::Head => {
                let head = self.head()?;
                self.phase = Phase::Commits(commit::key(0));
                head
            }
            Phase::Commits(from) => self.commits(&from, target)?,
            Phase::Checksum => return Ok(Some(Bytes::copy_from_slice(self.hasher.finalize().as_bytes()))),
            Phase::Done => return Ok(None),
        };
        self.hasher.update(&piece);
        Ok(Some(piece))
    }

    /// All that comes before the commits: what the backup says of itself, and the base.
    fn head(&mut self) -> Result<Bytes, ReadError> {
        // A compaction may have been written whose group is not yet published: its base speaks of the commits up to there.
        let newest = bases::newest(&*self.snapshot, &self.owner).map_err(|why| match why {
            OpenError::Engine(why) => why.into(),
            _ => ReadError::Rot { commit: 0 },
        })?;
        if let Some((_, base)) = &newest {
            self.last = self.last.max(base.commit);
            self.seen = Seen { floor: base.floor(), base: Some((base.commit, base.rows)), ..Seen::default() };
        }
        let Owner { identity, private, numbers, .. } = &self.owner;
        let mut out = Vec::new();
        out.put_slice(BACKUP_MAGIC);
        let has_gaps = numbers.has_gaps();
        out.put_u8(if has_gaps { VERSION_WITH_GAPS } else { VERSION });
        out.put_u128(identity.mesh.0);
        out.put_u64(identity.replica.get());
        out.put_u64(private.get());
        out.put_i64(self.published.revision.get());
        out.put_u64(self.last);
        out.put_u64(self.saved.0);
        out.put_u16(self.next_slot.number());
        out.put_u64(self.expected_bytes);
        put_varint(&mut out, numbers.lineage.forebears().len() as u64);
        for Forebear { replica, first, last } in numbers.lineage.forebears() {
            out.put_u64(replica.get());
            out.put_i64(last.get());
            if has_gaps {
                out.put_i64(first.get());
            }
        }
        if has_gaps {
            out.put_i64(numbers.begins.get());
        }
        put_varint(&mut out, self.replicas.len() as u64);
        for replica in &self.replicas {
            out.put_u64(replica.get());
        }
        // Either of its two places is enough, and older ones count for nothing.
        if let Some((ordinal, base)) = newest {
            put_row(&mut out, &Kind::Base.key(ordinal), &base.encode(ordinal));
        }
        Ok(out.into())
    }

    fn commits(&mut self, from: &[u8], target: usize) -> Result<Bytes, ReadError> {
        let mut out = Vec::with_capacity(target + target / 4);
        for row in self.snapshot.scan(from, &commit::key(self.last + 1)) {
            let (key, row) = row.map_err(|why| ReadError::at(self.seen.expected().min(self.last), why))?;
            if out.len() >= target {
                self.phase = Phase::Commits(key);
                return Ok(out.into());
            }
            let number = Kind::Commit.number(&key).ok_or(ReadError::Rot { commit: self.seen.expected() })?;
            row::unseal(&row, number).ok_or(ReadError::Rot { commit: number })?;
            self.seen.commit(number, &row)?;
            put_row(&mut out, &key, &row);
        }
        self.seen.end(self.last)?;
        put_varint(&mut out, 0);
        self.phase = Phase::Checksum;
        Ok(out.into())
    }
}

fn put_row(out: &mut Vec<u8>, key: &[u8], row: &[u8]) {
    for part in [key, row] {
        put_varint(out, part.len() as u64);
        out.extend_from_slice(part);
    }
}
