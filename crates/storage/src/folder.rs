//! The data folder: who it belongs to, whether it is the one it was created as, and what must exist in it.
//!
//! ```text
//! LOCK      held while the folder is open
//! MANIFEST  format, identity, and the birth of this very file
//! FENCE     how far the log was durable
//! engine/   the engine's own
//! ```
//!
//! The manifest is checked before the engine opens: an engine that cannot find its files may make new ones.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use tombolo_crdt::ReplicaId;

use crate::{
    Founding, Identity, IdentityLoss, MeshId, OnLoss, OpenError, OpenOptions, Papers, Revision, Slot,
    engine::{Engine, fjall::missing_file},
    fence::{Fence, FenceFile},
    lineage::Numbers,
    manifest::{self, Birth},
    salvage,
    succession::{
        aside::{Aside, remove_unnamed},
        dispute::Dispute,
    },
};

/// Who a folder belongs to, in both layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) identity: Identity,
    /// Who writes in the private layer.
    pub(crate) private: ReplicaId,
    /// Which revisions are ours.
    pub(crate) numbers: Numbers,
    /// The generation of the fence that a predecessor in this folder left: up to there it speaks of that one's log.
    pub(crate) inherited_fence: u64,
    /// The folder of the engine that holds its rows.
    pub(crate) engine: String,
    /// Rows of a predecessor that have not been gone through yet.
    pub(crate) aside: Option<Aside>,
    /// The mesh that what it holds comes from, when that is another one: it was restored from a backup, or a copy that went its own way.
    pub(crate) origin: Option<MeshId>,
}

impl Owner {
    /// The owner of a new folder: what its founding says, and the rest minted.
    pub(crate) fn found(options: &OpenOptions) -> Self {
        let entropy = &options.entropy;
        let word = |at: usize| entropy[at..at + 8].iter().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
        let identity = match options.founding {
            Founding::NewMesh => Identity {
                mesh: MeshId(u128::from(word(0)) << 64 | u128::from(word(8))),
                replica: mint_replica(word(16)),
                slot: Slot::FIRST,
            },
            Founding::Join { mesh, replica, slot } => Identity { mesh, replica, slot },
        };
        // However poor the draw, the layers never share a name: each has a seq 1 of its own.
        let private = Some(mint_replica(word(24))).filter(|private| *private != identity.replica);
        let private = private.unwrap_or_else(|| mint_replica(!word(24)));
        Self {
            identity,
            private,
            numbers: identity.slot.into(),
            inherited_fence: 0,
            engine: ENGINE.to_owned(),
            aside: None,
            origin: None,
        }
    }
}

/// 0 names nobody, and of all draws it is as good as any other to be replaced.
pub(crate) fn mint_replica(bits: u64) -> ReplicaId {
    const INSTEAD_OF_ZERO: ReplicaId = match ReplicaId::new(1) {
        Some(id) => id,
        None => unreachable!(),
    };
    ReplicaId::new(bits).unwrap_or(INSTEAD_OF_ZERO)
}

/// A locked, checked folder.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    /// There was no manifest: its engine must turn out to be empty.
    pub(crate) is_new: bool,
    /// Programs of its format may take what will be written for something else: see [`raise_format`](Self::raise_format).
    is_of_earlier_format: bool,
    pub(crate) lock: FolderLock,
    pub(crate) owner: Owner,
    pub(crate) fence: Fence,
    pub(crate) fence_file: FenceFile,
    /// Why its replica must not write any more, as far as that is known before the rows are read.
    pub(crate) loss: Option<IdentityLoss>,
    /// A peer's claim against its replica that was marked in the folder.
    pub(crate) dispute: Option<Dispute>,
    /// What stands for the files, where there is no folder.
    pub(crate) papers: Option<Papers>,
}

/// The right to write in a folder, until it is dropped.
pub(crate) struct FolderLock {
    _file: Option<File>,
}

impl FolderLock {
    /// The lock of a store that has no folder.
    pub(crate) fn none() -> Self {
        Self { _file: None }
    }
}

impl Folder {
    /// Opens the folder, or makes a new one in an empty or absent place.
    pub(crate) fn open(path: &Path, options: &OpenOptions) -> Result<Self, OpenError> {
        create_private_dir(path)?;
        let lock = lock(path)?;
        let manifest = path.join("MANIFEST");
        if manifest.exists() {
            return Self::check(path, lock, options.on_loss);
        }
        check_unowned(path)?;
        Self::create(path, lock, Owner::found(options))
    }

    /// Who a folder belongs to, as its manifest says; `None` when it is absent, or nothing was ever acknowledged in it.
    pub(crate) fn peek(path: &Path) -> Result<Option<Identity>, OpenError> {
        match fs::read_to_string(path.join("MANIFEST")) {
            Ok(text) => manifest::parse(&text).map(|(owner, _)| Some(owner.identity)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if path.exists() {
                    check_unowned(path)?;
                }
                Ok(None)
            }
            Err(error) => Err(io_error("read", path, "MANIFEST")(error)),
        }
    }

    /// Whether a folder has a manifest, and it is not the file that it was written as.
    pub(crate) fn is_copy(path: &Path) -> Result<bool, OpenError> {
        match File::open(path.join("MANIFEST")) {
            Ok(file) => Ok(!Self::read(path, &file)?.1),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(why) => Err(io_error("open", path, "MANIFEST")(why)),
        }
    }

    /// The mesh that a folder's contents come from, when it is another than its own.
    pub(crate) fn origin(path: &Path) -> Result<Option<MeshId>, OpenError> {
        match fs::read_to_string(path.join("MANIFEST")) {
            Ok(text) => manifest::parse(&text).map(|(owner, _)| owner.origin),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error("read", path, "MANIFEST")(error)),
        }
    }

    /// The owner that a manifest names, whether this is the file that it was written as, and whether its format is an earlier one.
    fn read(path: &Path, file: &File) -> Result<(Owner, bool, bool), OpenError> {
        let text = io::read_to_string(file).map_err(io_error("read", path, "MANIFEST"))?;
        let (owner, born, is_of_earlier_format) = manifest::parse_any(&text)?;
        let birth = Birth::of(file).map_err(io_error("inspect", path, "MANIFEST"))?;
        Ok((owner, born == birth, is_of_earlier_format))
    }

    /// Where the engine of a new folder lies.
    pub(crate) fn engine_path(path: &Path) -> PathBuf {
        path.join(ENGINE)
    }

    /// Where this folder's engine lies.
    pub(crate) fn engine(&self) -> PathBuf {
        self.path.join(&self.owner.engine)
    }

    /// Whether it has to be opened anew, with nothing in it: its own records are disputed.
    pub(crate) fn starts_over(&self) -> bool {
        self.loss.is_some() && self.dispute.as_ref().is_some_and(|dispute| dispute.is_fork)
    }

    /// Makes a folder for an owner that is known, in an empty or absent place.
    pub(crate) fn create_for(owner: Owner, path: &Path) -> Result<Self, OpenError> {
        create_private_dir(path)?;
        let lock = lock(path)?;
        if path.join("MANIFEST").exists() {
            return Err(damaged("there is a store already".to_owned()));
        }
        check_unowned(path)?;
        Self::create(path, lock, owner)
    }

    fn create(path: &Path, lock: FolderLock, owner: Owner) -> Result<Self, OpenError> {
        let fence = Fence::new(owner.identity.slot.beginning());
        let fence_path = path.join("FENCE");
        if fence_path.exists() {
            fs::remove_file(&fence_path).map_err(io_error("remove", path, "FENCE"))?;
        }
        let fence_file = FenceFile::create(&fence_path, &fence).map_err(io_error("create", path, "FENCE"))?;
        let (loss, dispute) = (None, None);
        Ok(Self {
            path: path.to_owned(),
            is_new: true,
            is_of_earlier_format: false,
            lock,
            owner,
            fence,
            fence_file,
            loss,
            dispute,
            papers: None,
        })
    }

    /// Papers in a folder's place.
    pub(crate) fn of(papers: &Papers, options: &OpenOptions) -> Result<Self, OpenError> {
        let found = papers.owner().zip(papers.fence());
        let is_new = found.is_none();
        let (owner, (generation, fence)) = found.unwrap_or_else(|| {
            let owner = Owner::found(options);
            let fence = Fence::new(owner.identity.slot.beginning());
            (owner, (0, fence))
        });
        let is_original = is_new || papers.is_original();
        let fence_file = FenceFile::of(papers.clone(), generation);
        let fence = own_fence(&owner, &fence_file, fence);
        let dispute = papers.dispute().filter(|dispute| is_original && dispute.replica == owner.identity.replica);
        let loss = loss(is_original, &fence, dispute.as_ref());
        if let Some(cause) = loss.clone().filter(|cause| is_refused(cause, options.on_loss)) {
            return Err(OpenError::NeedsNewIdentity { cause });
        }
        Ok(Self {
            path: PathBuf::new(),
            is_new,
            is_of_earlier_format: false,
            lock: FolderLock::none(),
            owner,
            fence,
            fence_file,
            loss,
            dispute,
            papers: Some(papers.clone()),
        })
    }

    /// Completes a new folder, once its engine has its files, and has turned out to be empty.
    pub(crate) fn seal_if_empty(&self, engine: &dyn Engine) -> Result<(), OpenError> {
        if !self.is_new {
            return Ok(());
        }
        if engine.snapshot().last(&[0], &[0xff])?.is_some() {
            return Err(damaged("there is no MANIFEST, but the engine holds rows".to_owned()));
        }
        self.seal()
    }

    /// Makes sure, before anything is written, that no program opens the folder that does not know what may be.
    pub(crate) fn raise_format(&self) -> Result<(), OpenError> {
        if self.is_of_earlier_format { self.seal() } else { Ok(()) }
    }

    /// Writes the manifest, in one step: from here on the rows are its owner's.
    pub(crate) fn seal(&self) -> Result<(), OpenError> {
        match &self.papers {
            Some(papers) => {
                papers.seal(&self.owner);
                Ok(())
            }
            None => write_manifest(&self.path, &self.owner).map_err(io_error("write", &self.path, "MANIFEST")),
        }
    }

    fn check(path: &Path, lock: FolderLock, on_loss: OnLoss) -> Result<Self, OpenError> {
        let file = File::open(path.join("MANIFEST")).map_err(io_error("open", path, "MANIFEST"))?;
        let (owner, is_original, is_of_earlier_format) = Self::read(path, &file)?;
        if !is_original && on_loss != OnLoss::Succeed {
            return Err(OpenError::NeedsNewIdentity { cause: IdentityLoss::Copied });
        }
        salvage::swap::complete(path, &owner.engine)?;
        if let Some(missing) = missing_file(&path.join(&owner.engine)) {
            return Err(damaged(format!("{}/{missing} is missing", owner.engine)));
        }
        let fence = FenceFile::open(&path.join("FENCE")).map_err(io_error("open", path, "FENCE"))?;
        let (fence_file, fence) = fence.ok_or_else(|| damaged("neither slot of FENCE is sound".to_owned()))?;
        let fence = own_fence(&owner, &fence_file, fence);
        // What is said of the original does not concern who goes on with a copy of it.
        let dispute = Dispute::load(path)?.filter(|dispute| is_original && dispute.replica == owner.identity.replica);
        remove_unnamed(path, &owner).map_err(io_error("tidy", path, ""))?;
        let loss = loss(is_original, &fence, dispute.as_ref());
        match loss {
            Some(cause) if on_loss == OnLoss::Refuse => Err(OpenError::NeedsNewIdentity { cause }),
            loss => Ok(Self {
                path: path.to_owned(),
                is_new: false,
                is_of_earlier_format,
                lock,
                owner,
                fence,
                fence_file,
                loss,
                dispute,
                papers: None,
            }),
        }
    }
}

/// The fence as it speaks of this owner's log: all that a predecessor's said is in the manifest.
fn own_fence(owner: &Owner, file: &FenceFile, fence: Fence) -> Fence {
    let is_inherited = file.generation() <= owner.inherited_fence;
    if is_inherited { Fence::new(owner.numbers.begins) } else { fence }
}

/// Why a replica must not write any more, as far as that is known before the rows are read.
fn loss(is_original: bool, fence: &Fence, dispute: Option<&Dispute>) -> Option<IdentityLoss> {
    match (fence, dispute) {
        _ if !is_original => Some(IdentityLoss::Copied),
        (Fence { has_failed: true, .. }, _) => Some(IdentityLoss::FailedSync),
        (Fence { is_weak: true, is_clean: false, .. }, _) => Some(IdentityLoss::UncleanWeakDurability),
        (_, Some(dispute)) => Some(dispute.loss()),
        _ => None,
    }
}

/// Whether a folder with this loss is left as it is.
fn is_refused(cause: &IdentityLoss, on_loss: OnLoss) -> bool {
    match on_loss {
        OnLoss::Refuse => true,
        OnLoss::SucceedAmongOthers => *cause == IdentityLoss::Copied,
        OnLoss::Succeed => false,
    }
}

/// Writes the manifest of a folder, in one step.
pub(crate) fn write_manifest(path: &Path, owner: &Owner) -> io::Result<()> {
    let draft = path.join("MANIFEST.new");
    let mut file = File::create(&draft)?;
    let text = manifest::render(owner, Birth::of(&file)?);
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path.join("MANIFEST"))?;
    File::open(path)?.sync_all()
}

/// The name of the engine's folder, as long as its replica has not started over.
const ENGINE: &str = "engine";

fn create_private_dir(path: &Path) -> Result<(), OpenError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| OpenError::Io { action: "create", path: path.to_owned(), source })
}

fn lock(path: &Path) -> Result<FolderLock, OpenError> {
    let file = File::options().create(true).truncate(false).write(true).open(path.join("LOCK"));
    let file = file.map_err(io_error("open", path, "LOCK"))?;
    match file.try_lock() {
        Ok(()) => Ok(FolderLock { _file: Some(file) }),
        Err(fs::TryLockError::WouldBlock) => Err(OpenError::Locked { path: path.to_owned() }),
        Err(fs::TryLockError::Error(source)) => Err(io_error("lock", path, "LOCK")(source)),
    }
}

/// What may lie in a folder that is not made yet: what a creation leaves that was interrupted, and what a replica that joins
/// a mesh keeps there before it has a store.
const BEFORE_THE_MANIFEST: [&str; 10] = [
    "LOCK",
    "FENCE",
    "MANIFEST.new",
    "engine",
    "KEY",
    "KEY.new",
    "MEMBERSHIP",
    "MEMBERSHIP.new",
    "joining",
    "lost+found",
];

/// Sees that a folder without a manifest is not one that lost it. The manifest is written last: without one, nothing was ever
/// acknowledged here.
fn check_unowned(path: &Path) -> Result<(), OpenError> {
    let entries = fs::read_dir(path).map_err(io_error("list", path, ""))?;
    let mut names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let is_foreseen = |name: &str| BEFORE_THE_MANIFEST.contains(&name) || name.starts_with("aside-");
    if let Some(stray) = names.find(|name| !is_foreseen(name)) {
        return Err(damaged(format!("there is no MANIFEST, but {stray} is there")));
    }
    let fence = path.join("FENCE");
    if !fence.exists() {
        return Ok(());
    }
    // A creation that was interrupted leaves the fence it began with, in whatever slot. One that was ever in use has another.
    let left = FenceFile::open(&fence).map_err(io_error("open", path, "FENCE"))?;
    let begun = |fence: Fence| Revision::new(fence.revision).map(|revision| Fence::new(revision.slot().beginning()));
    match left {
        Some((_, left)) if begun(left) != Some(left) => {
            Err(damaged("there is no MANIFEST, but FENCE was in use".to_owned()))
        }
        _ => Ok(()),
    }
}

pub(crate) fn damaged(what: String) -> OpenError {
    OpenError::Damaged { what }
}

pub(crate) fn io_error(action: &'static str, folder: &Path, name: &str) -> impl FnOnce(io::Error) -> OpenError {
    let path = folder.join(name);
    move |source| OpenError::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Store, WallTime,
        engine::{Change, Persist, fjall::FjallEngine},
    };

    fn options() -> OpenOptions {
        OpenOptions::new(WallTime(0), std::array::from_fn(|at| at as u8))
    }

    #[test]
    fn a_creation_that_is_interrupted_is_begun_again() {
        let steps: [fn(&Path); 4] = [
            |path| drop(create_private_dir(path).and_then(|()| lock(path)).unwrap()),
            |path| drop(Folder::open(path, &options()).unwrap()),
            |path| {
                let _folder = Folder::open(path, &options()).unwrap();
                FjallEngine::open(&Folder::engine_path(path)).unwrap();
            },
            |path| {
                let _folder = Folder::open(path, &options()).unwrap();
                FjallEngine::open(&Folder::engine_path(path)).unwrap();
                fs::write(path.join("MANIFEST.new"), "half").unwrap();
            },
        ];
        for (at, interrupted) in steps.into_iter().enumerate() {
            let folder = tempfile::tempdir().unwrap();
            interrupted(folder.path());
            let (store, _) = Store::open(folder.path(), &options()).unwrap_or_else(|e| panic!("after step {at}: {e}"));
            let identity = store.identity();
            drop(store);
            let again = Store::open(folder.path(), &OpenOptions::new(WallTime(0), [9; 32])).unwrap().0;
            assert_eq!(again.identity(), identity, "what was made is kept");
        }
    }

    #[test]
    fn a_creation_that_is_interrupted_may_be_begun_again_for_another_owner() {
        let slot = Slot::new(9).unwrap();
        let founding = Founding::Join { mesh: MeshId(1), replica: mint_replica(2), slot };
        let joining = OpenOptions { founding, ..options() };
        for [first, then] in [[options(), joining.clone()], [joining, options()]] {
            let folder = tempfile::tempdir().unwrap();
            drop(Folder::open(folder.path(), &first).unwrap());
            assert_eq!(Store::peek(folder.path()).unwrap(), None);
            let (store, _) = Store::open(folder.path(), &then).unwrap();
            assert_eq!(store.identity(), Owner::found(&then).identity);
        }
    }

    #[test]
    fn an_engine_with_rows_is_never_taken_into_a_new_folder() {
        let folder = tempfile::tempdir().unwrap();
        let made = Folder::open(folder.path(), &options()).unwrap();
        let engine = FjallEngine::open(&Folder::engine_path(folder.path())).unwrap();
        let row = Change::Put(b"c".to_vec().into(), b"row".to_vec().into());
        engine.write(vec![row], Persist::Disk).unwrap();
        assert!(matches!(made.seal_if_empty(&engine), Err(OpenError::Damaged { .. })));
        assert!(!folder.path().join("MANIFEST").exists());
    }

    #[test]
    fn two_poor_draws_name_two_layers() {
        for byte in [0, 7, 0xff] {
            let owner = Owner::found(&OpenOptions::new(WallTime(0), [byte; 32]));
            assert_ne!(owner.identity.replica, owner.private);
        }
        // Nor does whoever joins under a name that the draw comes to as well.
        let private = Owner::found(&options()).private;
        let founding = Founding::Join { mesh: MeshId(1), replica: private, slot: Slot::FIRST };
        assert_ne!(Owner::found(&OpenOptions { founding, ..options() }).private, private);
    }
}
