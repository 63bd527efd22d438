//! The fence: a small file beside the engine that remembers how far the log once was on disk.
//!
//! The engine can lose the end of its journal without a word. A replica that forgets its last records would mint their dots
//! again, for other contents, and no merge repairs that. The fence makes the loss a named event: a fence above the log.
//!
//! It never exceeds the log: a position is written only after it is durable, by a thread of its own, at most once in
//! [`INTERVAL`], so that a busy store does not sync twice for each group. Its two slots are written in turn, each with its own
//! hash, so that a torn write leaves the other. The same file reserves revisions ahead: what lies above the log and below
//! the reservation may have been seen by clients, and is never given out again by whoever follows this identity.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use tombolo_crdt::Chain;
use xxhash_rust::xxh3::xxh3_64;

use crate::{Papers, Revision, head::Head, log::Log};

/// The least time between two syncs of the fence. What the machine loses together with its power within this time, and the
/// engine then loses of its journal without noticing, is the window in which a lost suffix is not seen.
const INTERVAL: Duration = Duration::from_millis(20);

/// Revisions reserved at a time: a minute of the fastest writing.
const RESERVE: i64 = 1 << 21;

const MAGIC: &[u8; 8] = b"TBFENCE1";
/// A slot fills a sector of its own, which disks write whole.
const SLOT_BYTES: u64 = 4096;
const CONTENT_LEN: usize = 105;

/// How far the log is durable, and how the folder was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fence {
    /// The folder was closed; nothing was lost with whatever came after.
    pub(crate) is_clean: bool,
    /// Commits were acknowledged before they were on disk.
    pub(crate) is_weak: bool,
    /// A sync or write failed.
    pub(crate) has_failed: bool,
    pub(crate) commit: u64,
    pub(crate) revision: i64,
    /// No revision above this was given out.
    pub(crate) reserved: i64,
    pub(crate) mesh: Position,
    pub(crate) private: Position,
}

/// Where one layer's own stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) seq: u64,
    pub(crate) chain: Chain,
}

impl Fence {
    /// The fence of a folder without commits.
    pub(crate) fn new(revision: Revision) -> Self {
        let position = Position { seq: 0, chain: Chain::BEGINNING };
        Self {
            is_clean: true,
            is_weak: false,
            has_failed: false,
            commit: 0,
            revision: revision.get(),
            reserved: revision.get(),
            mesh: position,
            private: position,
        }
    }

    /// The fence of a folder that is opened at `head`, with enough reserved to begin with.
    pub(crate) fn opened(self, head: &Head) -> Self {
        let fence = self.at(head, head.own_chains());
        Self { reserved: fence.reserved.max(fence.revision + RESERVE), ..fence }
    }

    /// Takes the chains up to which the log is durable.
    pub(crate) fn bind(&mut self, [mesh, private]: [Chain; 2]) {
        (self.mesh.chain, self.private.chain) = (mesh, private);
    }

    fn at(self, head: &Head, [mesh, private]: [Chain; 2]) -> Self {
        let position = |log: &Log, chain| Position { seq: log.frontier().seq(log.own()), chain };
        Self {
            commit: head.commit,
            revision: head.revision.get(),
            mesh: position(&head.mesh, mesh),
            private: position(&head.private, private),
            ..self
        }
    }

    fn encode(&self, generation: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(CONTENT_LEN + 8);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&generation.to_be_bytes());
        out.push(u8::from(self.is_clean) | u8::from(self.is_weak) << 1 | u8::from(self.has_failed) << 2);
        out.extend_from_slice(&self.commit.to_be_bytes());
        out.extend_from_slice(&self.revision.to_be_bytes());
        out.extend_from_slice(&self.reserved.to_be_bytes());
        for position in [&self.mesh, &self.private] {
            out.extend_from_slice(&position.seq.to_be_bytes());
            out.extend_from_slice(position.chain.as_bytes());
        }
        out.resize(CONTENT_LEN, 0);
        let hash = xxh3_64(&out);
        out.extend_from_slice(&hash.to_be_bytes());
        out
    }

    fn decode(slot: &[u8]) -> Option<(u64, Self)> {
        let (content, rest) = slot.split_at_checked(CONTENT_LEN)?;
        if rest.get(..8)? != xxh3_64(content).to_be_bytes() || !content.starts_with(MAGIC) {
            return None;
        }
        let u64_at = |at: usize| Some(u64::from_be_bytes(content.get(at..at + 8)?.try_into().ok()?));
        let position = |at: usize| {
            let chain = Chain::from_bytes(content.get(at + 8..at + 24)?.try_into().ok()?);
            Some(Position { seq: u64_at(at)?, chain })
        };
        let flags = *content.get(16)?;
        let fence = Self {
            is_clean: flags & 1 != 0,
            is_weak: flags & 2 != 0,
            has_failed: flags & 4 != 0,
            commit: u64_at(17)?,
            revision: u64_at(25)?.cast_signed(),
            reserved: u64_at(33)?.cast_signed(),
            mesh: position(41)?,
            private: position(65)?,
        };
        Some((u64_at(8)?, fence))
    }
}

/// The file of a fence, or what stands for it.
pub(crate) struct FenceFile {
    medium: Medium,
    generation: u64,
}

enum Medium {
    File(File),
    Papers(Papers),
}

impl FenceFile {
    /// Creates the file with both slots.
    pub(crate) fn create(path: &Path, fence: &Fence) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        // Written in full, so that marking a failure later needs no new space on a full disk.
        file.write_all_at(&vec![0; 2 * SLOT_BYTES as usize], 0)?;
        let mut fence_file = Self { medium: Medium::File(file), generation: 0 };
        fence_file.write(fence)?;
        fence_file.write(fence)?;
        Ok(fence_file)
    }

    /// Opens the file and reads the newer slot; `None` when neither carries its hash.
    pub(crate) fn open(path: &Path) -> io::Result<Option<(Self, Fence)>> {
        let file = File::options().read(true).write(true).open(path)?;
        let slots = [0, SLOT_BYTES].map(|at| {
            let mut slot = [0; CONTENT_LEN + 8];
            file.read_exact_at(&mut slot, at).ok().and_then(|()| Fence::decode(&slot))
        });
        let newest = slots.into_iter().flatten().max_by_key(|(generation, _)| *generation);
        Ok(newest.map(|(generation, fence)| (Self { medium: Medium::File(file), generation }, fence)))
    }

    /// The fence of papers, whose last writing had this number.
    pub(crate) fn of(papers: Papers, generation: u64) -> Self {
        Self { medium: Medium::Papers(papers), generation }
    }

    /// The number of the last writing.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn write(&mut self, fence: &Fence) -> io::Result<()> {
        self.generation += 1;
        let at = (self.generation % 2) * SLOT_BYTES;
        match &self.medium {
            Medium::Papers(papers) => {
                papers.set_fence(fence, self.generation);
                Ok(())
            }
            Medium::File(file) => {
                file.write_all_at(&fence.encode(self.generation), at)?;
                file.sync_data()
            }
        }
    }
}

/// Keeps a fence up to date beside the committer.
pub(crate) struct FenceKeeper {
    fence: Fence,
    mailbox: Arc<Mailbox>,
    thread: Option<JoinHandle<FenceFile>>,
    /// What is written at once: it costs nothing.
    papers: Option<Mutex<FenceFile>>,
}

#[derive(Default)]
struct Mailbox {
    letter: Mutex<Letter>,
    changed: Condvar,
}

#[derive(Default)]
struct Letter {
    /// The newest fence that is not on disk yet.
    fence: Option<Fence>,
    /// A reservation the committer waits for: not to be delayed.
    is_urgent: bool,
    /// The reservation that is on disk.
    reserved: i64,
    failure: Option<String>,
    stop: bool,
    /// The keeper sleeps until it is woken. Otherwise it will look by itself.
    is_idle: bool,
}

impl FenceKeeper {
    /// Starts to keep `fence` in `file`.
    pub(crate) fn start(fence: Fence, file: FenceFile) -> io::Result<Self> {
        let mailbox = Arc::new(Mailbox::default());
        mailbox.letter.lock().reserved = fence.reserved;
        if matches!(file.medium, Medium::Papers(_)) {
            return Ok(Self { fence, mailbox, thread: None, papers: Some(Mutex::new(file)) });
        }
        let shared = Arc::clone(&mailbox);
        let thread = thread::Builder::new().name("fence".to_owned()).spawn(move || keep(&shared, file))?;
        Ok(Self { fence, mailbox, thread: Some(thread), papers: None })
    }

    /// A keeper for a store that has no folder: it keeps nothing.
    pub(crate) fn none(revision: Revision) -> Self {
        Self { fence: Fence::new(revision), mailbox: Arc::default(), thread: None, papers: None }
    }

    /// The fence at the head, for when the log is durable up to there. Its chains are [told](Fence::bind) then: they are not computed yet.
    pub(crate) fn at(&self, head: &Head) -> Fence {
        self.fence.at(head, [Chain::BEGINNING; 2])
    }

    /// Takes note that the log is durable up to where `fence` stands.
    pub(crate) fn advance(&mut self, fence: Fence) {
        // A reservation or a failure may have come since that fence was made.
        self.fence = Fence { reserved: self.fence.reserved, has_failed: self.fence.has_failed, ..fence };
        self.send(false);
    }

    /// Makes sure that a reservation covers `revision` by the time a group with it is written.
    pub(crate) fn reserve(&mut self, revision: Revision) {
        if revision.get() + RESERVE / 2 > self.fence.reserved {
            self.fence.reserved = revision.get() + RESERVE;
            let on_disk = self.mailbox.letter.lock().reserved;
            self.send(revision.get() + RESERVE / 4 > on_disk);
        }
    }

    /// Waits until the revisions given out so far are reserved on disk, which they nearly always are.
    pub(crate) fn wait_for_reserve(&self, revision: Revision) -> Result<(), String> {
        if self.thread.is_none() {
            return Ok(());
        }
        let mut letter = self.mailbox.letter.lock();
        while letter.failure.is_none() && letter.reserved < revision.get() {
            letter.is_urgent = true;
            self.mailbox.changed.notify_all();
            self.mailbox.changed.wait(&mut letter);
        }
        letter.failure.clone().map_or(Ok(()), Err)
    }

    /// Marks the folder: nobody may go on writing under its identity.
    pub(crate) fn mark_failed(&mut self) {
        self.fence.has_failed = true;
        self.send(true);
    }

    /// Writes the last fence of a clean stop.
    pub(crate) fn close(&mut self, head: &Head) -> io::Result<()> {
        self.fence = Fence { is_clean: true, ..self.fence.at(head, head.own_chains()) };
        if self.papers.is_some() {
            self.send(true);
        }
        match self.stop() {
            Some(mut file) => file.write(&self.fence),
            None => Ok(()),
        }
    }

    /// A busy store sends for every group: the keeper is woken only when it would not look soon enough.
    fn send(&self, is_urgent: bool) {
        if let Some(papers) = &self.papers {
            // Papers take everything.
            drop(papers.lock().write(&self.fence));
            return;
        }
        let mut letter = self.mailbox.letter.lock();
        letter.fence = Some(self.fence);
        letter.is_urgent |= is_urgent;
        let must_wake = is_urgent || letter.is_idle;
        drop(letter);
        if must_wake {
            self.mailbox.changed.notify_all();
        }
    }

    fn stop(&mut self) -> Option<FenceFile> {
        self.mailbox.letter.lock().stop = true;
        self.mailbox.changed.notify_all();
        // A panicked keeper has nothing to give back; the fence on disk is merely old.
        self.thread.take().and_then(|thread| thread.join().ok())
    }
}

impl Drop for FenceKeeper {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Writes letters as they come, until told to stop.
fn keep(mailbox: &Mailbox, mut file: FenceFile) -> FenceFile {
    let mut letter = mailbox.letter.lock();
    loop {
        match letter.fence.take() {
            None if letter.stop => return file,
            None => {
                letter.is_idle = true;
                mailbox.changed.wait(&mut letter);
                letter.is_idle = false;
            }
            Some(fence) => {
                letter.is_urgent = false;
                drop(letter);
                let written = file.write(&fence);
                letter = mailbox.letter.lock();
                match written {
                    Ok(()) => letter.reserved = fence.reserved,
                    Err(error) => letter.failure = Some(format!("failed to sync the fence: {error}")),
                }
                mailbox.changed.notify_all();
                pause(mailbox, &mut letter);
            }
        }
    }
}

/// Lets time pass, unless someone waits.
fn pause(mailbox: &Mailbox, letter: &mut parking_lot::MutexGuard<'_, Letter>) {
    #[expect(clippy::disallowed_methods, reason = "how long the thread pauses changes nothing that is stored")]
    let until = std::time::Instant::now() + INTERVAL;
    while !letter.is_urgent && !letter.stop {
        if mailbox.changed.wait_until(letter, until).timed_out() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fence(commit: u64) -> Fence {
        Fence { commit, ..Fence::new(Revision::new(1).unwrap()) }
    }

    #[test]
    fn a_torn_slot_leaves_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("FENCE");
        let mut file = FenceFile::create(&path, &fence(1)).unwrap();
        file.write(&fence(2)).unwrap();
        let newest = (file.generation % 2) * SLOT_BYTES;
        let Medium::File(slots) = &file.medium else { panic!("it is a file") };
        let (_, read) = FenceFile::open(&path).unwrap().unwrap();
        assert_eq!(read.commit, 2);
        slots.write_all_at(b"torn", newest + 20).unwrap();
        let (_, read) = FenceFile::open(&path).unwrap().unwrap();
        assert_eq!(read.commit, 1);
    }

    #[test]
    fn a_fence_of_the_first_version_reads() {
        let fence = Fence {
            is_clean: true,
            is_weak: true,
            has_failed: false,
            commit: 3,
            revision: 4,
            reserved: 1 << 40,
            mesh: Position { seq: 6, chain: Chain::from_bytes([7; 16]) },
            private: Position { seq: 8, chain: Chain::from_bytes([9; 16]) },
        };
        // Read for ever: magic, generation, flags, commit, revision, reservation, two positions, padding, hash.
        let v1 = [
            "544246454e434531 000000000000000b 03 0000000000000003 0000000000000004 0000010000000000",
            "0000000000000006 07070707070707070707070707070707",
            "0000000000000008 09090909090909090909090909090909",
            "00000000000000000000000000000000 f87ba0e9ccc19375",
        ];
        let hex: Vec<u8> = v1.concat().bytes().filter(|byte| *byte != b' ').collect();
        let digits = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        let bytes: Vec<u8> = hex.chunks(2).map(digits).collect();
        assert_eq!(fence.encode(11), bytes);
        assert_eq!(Fence::decode(&bytes), Some((11, fence)));
    }

    #[test]
    fn a_failure_is_marked_before_anyone_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("FENCE");
        let mut keeper = FenceKeeper::start(fence(1), FenceFile::create(&path, &fence(1)).unwrap()).unwrap();
        keeper.mark_failed();
        keeper.advance(fence(2));
        drop(keeper);
        let (_, on_disk) = FenceFile::open(&path).unwrap().unwrap();
        assert!(on_disk.has_failed, "what comes later does not hide it");
    }

    #[test]
    fn a_reservation_is_renewed_before_it_runs_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("FENCE");
        let first = Fence { reserved: RESERVE, ..fence(0) };
        let mut keeper = FenceKeeper::start(first, FenceFile::create(&path, &first).unwrap()).unwrap();
        for revision in [1, RESERVE / 2 + 1, RESERVE - 1, 3 * RESERVE] {
            let revision = Revision::new(revision).unwrap();
            keeper.reserve(revision);
            keeper.wait_for_reserve(revision).unwrap();
            let (_, on_disk) = FenceFile::open(&path).unwrap().unwrap();
            assert!(on_disk.reserved >= revision.get(), "{revision} is not reserved by {on_disk:?}");
        }
    }

    #[test]
    fn a_fence_without_a_sound_slot_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("FENCE");
        std::fs::write(&path, vec![0; 9000]).unwrap();
        assert!(FenceFile::open(&path).unwrap().is_none());
    }

    #[test]
    fn every_field_reads_back() {
        let fence = Fence {
            is_clean: false,
            is_weak: true,
            has_failed: true,
            commit: 3,
            revision: 4,
            reserved: 5,
            mesh: Position { seq: 6, chain: Chain::from_bytes([7; 16]) },
            private: Position { seq: 8, chain: Chain::from_bytes([9; 16]) },
        };
        assert_eq!(Fence::decode(&fence.encode(11)), Some((11, fence)));
    }
}
