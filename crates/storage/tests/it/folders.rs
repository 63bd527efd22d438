//! Folders as tests handle them: copying and comparing, with respect for files that are mostly holes.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

/// Copies a folder's content into another folder.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the folder is made");
    for entry in fs::read_dir(from).expect("the folder is listed") {
        let entry = entry.expect("the entry is read");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("the entry has a type").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            copy_sparse(&entry.path(), &target);
        }
    }
}

/// A journal of fjall is 64 MiB of which little is written: the holes stay holes.
fn copy_sparse(from: &Path, to: &Path) {
    let mut source = File::open(from).expect("the file opens");
    let mut target = File::create(to).expect("the file is made");
    let mut block = vec![0; 1 << 16];
    let mut length = 0;
    loop {
        let read = source.read(&mut block).expect("the file is read");
        if read == 0 {
            break;
        }
        if block[..read].iter().any(|byte| *byte != 0) {
            target.seek(SeekFrom::Start(length)).expect("the file is sought");
            target.write_all(&block[..read]).expect("the file is written");
        }
        length += read as u64;
    }
    target.set_len(length).expect("the file is sized");
}

/// Every file below a folder with its size and a hash of its bytes and of when it was changed; the lock aside, which nobody reads.
pub(crate) fn listing(folder: &Path) -> BTreeMap<PathBuf, (u64, u64)> {
    let mut files = BTreeMap::new();
    list(folder, folder, &mut files);
    files
}

fn list(root: &Path, folder: &Path, files: &mut BTreeMap<PathBuf, (u64, u64)>) {
    for entry in fs::read_dir(folder).expect("the folder is listed") {
        let path = entry.expect("the entry is read").path();
        if path.is_dir() {
            list(root, &path, files);
        } else if !path.ends_with("LOCK") {
            let (mut bytes, mut hasher) = (Vec::new(), DefaultHasher::new());
            let mut file = File::open(&path).expect("the file opens");
            // The tests write little: what is beyond a mebibyte are holes. Who changes them changes the time of it.
            Read::by_ref(&mut file).take(1 << 20).read_to_end(&mut bytes).expect("the file is read");
            let metadata = file.metadata().expect("the file is inspected");
            (bytes, metadata.modified().expect("there is a time of change")).hash(&mut hasher);
            let name = path.strip_prefix(root).expect("the file is below the folder").to_owned();
            files.insert(name, (metadata.len(), hasher.finish()));
        }
    }
}
