//! Rows that a replica left behind when its own records turned out not to be those that the mesh has.
//!
//! They stay in an engine's folder of their own, which the successor's manifest names, until what they hold and the mesh does not is in a
//! [`Tail`](crate::Tail) and entered again. Only then are they forgotten, in one step, and the folder goes.

use std::{fs, io, path::Path};

use tombolo_crdt::ReplicaId;

use crate::{
    Store,
    folder::{Owner, write_manifest},
};

/// What was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aside {
    /// Whose records are disputed: a name that this replica had.
    pub stream: ReplicaId,
    /// The seq of the disputed record.
    pub seq: u64,
    /// The folder of the engine that holds the rows.
    pub(crate) engine: String,
}

impl Store {
    /// What a predecessor in this folder left behind, as long as nobody has gone through it. Until then this store may lack what it had.
    pub fn aside(&self) -> Option<&Aside> {
        self.shared().owner.aside.as_ref()
    }

    /// Forgets what was set aside, durably. Only after all that is wanted of it is durable elsewhere; this store goes on telling of it
    /// until it is reopened.
    ///
    /// # Errors
    ///
    /// The file system's. Whether it is forgotten shows at the next opening.
    pub fn forget_aside(&self, folder: &Path) -> io::Result<()> {
        let owner = Owner { aside: None, ..self.shared().owner.clone() };
        write_manifest(folder, &owner)?;
        remove_unnamed(folder, &owner)
    }
}

/// Removes engines' folders that the manifest does not name: of a start that was cut short, or gone through.
pub(crate) fn remove_unnamed(folder: &Path, owner: &Owner) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        let digits = name.strip_prefix("engine-").filter(|digits| digits.len() == 16);
        let is_ours = name == "engine" || digits.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let is_named = name == owner.engine || owner.aside.as_ref().is_some_and(|aside| aside.engine == name);
        if is_ours && !is_named {
            fs::remove_dir_all(folder.join(name))?;
        }
    }
    Ok(())
}
