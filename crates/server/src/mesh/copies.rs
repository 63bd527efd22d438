//! A copy of a data folder, or one that was restored from a backup, that is started with a ticket for the mesh that its contents come from: it joins
//! as somebody new, and what it holds is set aside.
//!
//! ```text
//! joining/       KEY and MEMBERSHIP of the one who joins, until the ticket is redeemed
//! aside-…/       everything that lay in the folder, MANIFEST last       from here on it is a new folder
//! KEY MEMBERSHIP as whoever joins has them
//! ```
//!
//! Its original may be alive, and has the same key: so it gets another one. What it holds is not made use of. All of it that counts is the
//! original's, and comes from the mesh; whoever knows that the original is gone, and misses something, finds it in the folder that was set aside.
//! Every step can be cut short, and is begun again by the next start with the same ticket.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use tombolo_net::{Announcement, Ticket};
use tombolo_storage::{MeshId, Store};
use tracing::warn;

use super::{
    JoinFailure,
    joining::{hold, redeem},
    membership::Membership,
};

const JOINING: &str = "joining";
/// What stays where it is.
const KEPT: [&str; 3] = ["LOCK", JOINING, "lost+found"];

/// Sets the contents of a copy, or of what was restored from a backup of the ticket's mesh, aside, once the ticket is redeemed. Anything
/// else is left as it is.
pub(super) async fn leave_behind(path: &Path, ticket: &Ticket, announcement: Announcement) -> Result<(), JoinFailure> {
    let io = |action| move |source| JoinFailure::Io { action, path: path.to_owned(), source };
    let joining = path.join(JOINING);
    let folder = |source| JoinFailure::Folder { path: path.to_owned(), source };
    let is_restored = Store::origin(path).map_err(folder)? == Some(MeshId(ticket.mesh));
    if is_restored || Store::is_copy(path).map_err(folder)? {
        let _alone = hold(path)?;
        fs::create_dir_all(&joining).map_err(io("prepare a join in"))?;
        redeem(&joining, ticket, announcement).await?;
        let original = Store::peek(path).map_err(|source| JoinFailure::Folder { path: path.to_owned(), source })?;
        let original = original.map_or(0, |identity| identity.replica.get());
        let aside = format!("aside-{original:016x}");
        set_aside(path, &aside).map_err(io("set aside the contents of"))?;
        warn!(folder = %path.join(&aside).display(), "this folder is a copy, or restored: what it holds is set aside, and it joins anew");
    }
    if joining.exists() && !path.join("MANIFEST").exists() {
        let _alone = hold(path)?;
        if Membership::load(&joining)?.is_some_and(|membership| membership.admission().is_some()) {
            move_in(path, &joining).map_err(io("finish the join of"))?;
        }
    }
    Ok(())
}

/// Takes a copy out of its original's mesh, before it is opened as a store of its own: it must not speak with that one's key. Anything
/// else is left as it is.
pub(crate) fn leave_mesh(path: &Path) -> Result<(), JoinFailure> {
    let io = |action| move |source| JoinFailure::Io { action, path: path.to_owned(), source };
    let is_copy = Store::is_copy(path).map_err(|source| JoinFailure::Folder { path: path.to_owned(), source })?;
    if !is_copy {
        return Ok(());
    }
    let _alone = hold(path)?;
    for name in ["KEY", "MEMBERSHIP"] {
        match fs::remove_file(path.join(name)) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => {}
            removed => removed.map_err(io("take the key out of"))?,
        }
    }
    File::open(path).and_then(|folder| folder.sync_all()).map_err(io("sync"))
}

/// Moves everything into a folder inside, the manifest last: while it is there, this is still the copy.
fn set_aside(path: &Path, aside: &str) -> io::Result<()> {
    let target = path.join(aside);
    fs::create_dir_all(&target)?;
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        let stays = KEPT.iter().any(|kept| name == *kept) || name.to_string_lossy().starts_with("aside-");
        if !stays && name != "MANIFEST" {
            fs::rename(path.join(&name), target.join(&name))?;
        }
    }
    File::open(&target)?.sync_all()?;
    File::open(path)?.sync_all()?;
    fs::rename(path.join("MANIFEST"), target.join("MANIFEST"))?;
    File::open(&target)?.sync_all()?;
    File::open(path)?.sync_all()
}

/// Moves the one who joins in, the membership last: without it nobody takes the key for anything.
fn move_in(path: &Path, joining: &Path) -> io::Result<()> {
    for name in ["KEY", "MEMBERSHIP"] {
        match fs::rename(joining.join(name), path.join(name)) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => {}
            moved => moved?,
        }
        File::open(path)?.sync_all()?;
    }
    fs::remove_dir_all(joining)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &Path) -> Vec<String> {
        let entries = fs::read_dir(path).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_set_aside_half_is_set_aside_whole_by_the_next_attempt() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::create_dir_all(path.join("aside-1/engine")).unwrap();
        fs::create_dir(path.join(JOINING)).unwrap();
        for name in ["LOCK", "MANIFEST", "FENCE", "KEY", "MEMBERSHIP"] {
            fs::write(path.join(name), "old").unwrap();
        }
        set_aside(path, "aside-1").unwrap();
        assert_eq!(names(path), ["LOCK", "aside-1", "joining"]);
        assert_eq!(names(&path.join("aside-1")), ["FENCE", "KEY", "MANIFEST", "MEMBERSHIP", "engine"]);
        fs::write(path.join("joining/KEY"), "new").unwrap();
        fs::write(path.join("joining/MEMBERSHIP"), "new").unwrap();
        // The key alone was moved before it was cut short.
        fs::rename(path.join("joining/KEY"), path.join("KEY")).unwrap();
        move_in(path, &path.join(JOINING)).unwrap();
        assert_eq!(names(path), ["KEY", "LOCK", "MEMBERSHIP", "aside-1"]);
        assert_eq!(fs::read_to_string(path.join("KEY")).unwrap(), "new");
    }
}
