//! Holds a tail against what is here, as it comes.
//!
//! Nothing is believed before the checksum has come: until then there is no [`Tail`].

use bytes::Bytes;
use tombolo_crdt::{Chain, Dot, Record, VersionVector};

use super::{Piece, TailError, TailOutcome, TailReader, TailStream};
use crate::{MeshId, Store};

/// A tail on its way in.
pub struct TailIntake {
    store: Store,
    reader: TailReader,
    mesh: Option<MeshId>,
    outcome: TailOutcome,
    streams: Vec<Taken>,
    records: u64,
    is_whole: bool,
}

/// A tail that has come whole, and goes on from what is here.
#[derive(Clone, Debug)]
pub struct Tail {
    /// The mesh it is of.
    pub mesh: MeshId,
    /// Whose records it holds: one replica's, under the names it had, the last one last.
    pub streams: Vec<TailStream>,
    /// Records in it that are not here.
    pub records: u64,
    /// What these come to.
    pub outcome: TailOutcome,
    /// The chain of the last record: no two tails that end at one name end with the same one.
    pub chain: Chain,
}

/// A stream as far as it has come.
struct Taken {
    stream: TailStream,
    /// The last record of the author that is here.
    here: u64,
    /// The chain of that one, and then of the last one taken.
    chain: Option<Chain>,
}

impl TailIntake {
    /// Begins to read.
    pub fn new(store: &Store) -> Self {
        let (mesh, streams, reader) = Default::default();
        Self {
            store: store.clone(),
            reader,
            mesh,
            outcome: TailOutcome::default(),
            streams,
            records: 0,
            is_whole: false,
        }
    }

    /// Whose tail it is, as far as that has come.
    pub fn streams(&self) -> impl Iterator<Item = TailStream> {
        self.streams.iter().map(|taken| taken.stream)
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    ///
    /// It is no tail, or damaged, or does not go on from what is here.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), TailError> {
        self.reader.put(bytes);
        while let Some(piece) = self.reader.next_piece()? {
            match piece {
                Piece::Mesh(mesh) if mesh != self.store.identity().mesh => {
                    return Err(TailError::OtherMesh { found: mesh.0 });
                }
                Piece::Mesh(mesh) => self.mesh = Some(mesh),
                Piece::Stream(stream) => self.begin(stream)?,
                Piece::Record { record, bytes, context } => self.record(record, &bytes, context)?,
                Piece::End => self.is_whole = true,
            }
        }
        Ok(())
    }

    /// The tail, when all of it has come.
    ///
    /// # Errors
    ///
    /// It ends early.
    pub fn finish(self) -> Result<Tail, TailError> {
        let (true, Some(mesh)) = (self.is_whole, self.mesh) else { return Err(self.reader.cut_short()) };
        let chain = self.streams.last().and_then(|taken| taken.chain).unwrap_or(Chain::BEGINNING);
        let streams = self.streams.iter().map(|taken| taken.stream).collect();
        Ok(Tail { mesh, streams, records: self.records, outcome: self.outcome, chain })
    }

    fn begin(&mut self, stream: TailStream) -> Result<(), TailError> {
        let TailStream { author, first, apart, .. } = stream;
        if self.streams.iter().any(|taken| taken.stream.author == author) {
            return Err(TailError::Damaged { what: "a name that comes twice" });
        }
        let (here, chain) = {
            let state = self.store.shared().state.read();
            (state.frontier.seq(author), state.streams.get(&author).map_or(Chain::BEGINNING, |stream| stream.chain))
        };
        if apart.is_none() && first > here + 1 {
            return Err(TailError::Gap { first, expected: here + 1 });
        }
        // Between the last record that the mesh is known to have and the first that it is known not to have, nothing is known.
        let common = apart.map_or(here, |_| first - 1);
        self.outcome.begin(author, common, apart.unwrap_or(here + 1));
        self.streams.push(Taken { stream, here, chain: apart.is_none().then_some(chain) });
        Ok(())
    }

    fn record(&mut self, record: Record, bytes: &Bytes, context: Option<VersionVector>) -> Result<(), TailError> {
        let Some(Taken { stream, here, chain }) = self.streams.last_mut() else { return Ok(()) };
        let dot = record.header.dot;
        stream.last = dot.seq;
        let is_new = match stream.apart {
            // Its records follow one another; that they do not follow what is here is known.
            Some(_) if chain.is_some_and(|chain| !Record::follows(bytes, &chain)) => {
                return Err(TailError::Unchained { dot });
            }
            Some(apart) => dot.seq >= apart,
            None => is_next(&record, bytes, *here, chain.unwrap_or(Chain::BEGINNING))?,
        };
        if is_new || stream.apart.is_some() {
            *chain = Some(record.header.chain);
        }
        if is_new {
            self.records += 1;
            self.outcome.take(record, context)?;
        }
        Ok(())
    }
}

/// Whether a record is not here yet, and follows what is. Those that are here already are not looked at, but for the last: it says
/// whether this is the same past.
fn is_next(record: &Record, bytes: &[u8], here: u64, chain: Chain) -> Result<bool, TailError> {
    let dot: Dot = record.header.dot;
    let is_new = dot.seq > here;
    let is_other_past = dot.seq == here && record.header.chain != chain;
    if is_other_past || is_new && !Record::follows(bytes, &chain) {
        return Err(TailError::Unchained { dot });
    }
    Ok(is_new)
}
