//! The bytes of `MANIFEST`: lines of names and values, and a hash over all of them.
//!
//! It says who a folder belongs to, which past that replica has, and which file it is itself. Reading one makes no promise that the folder is
//! the one it was written for: the caller holds the [`Birth`] in it against the file's own.

use std::{fmt::Write as _, fs::File, io, os::unix::fs::MetadataExt, time::UNIX_EPOCH};

use tombolo_crdt::ReplicaId;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    Identity, MeshId, OpenError, Revision, Slot,
    folder::{Owner, damaged},
    lineage::{Forebear, Lineage, Numbers, Predecessor},
    succession::aside::Aside,
};

/// The format of data folders: 2 came with forebears, 3 with successions, 4 with what transfers leave behind them, and with signed heads, and
/// 5 with what repairs leave. Who does not know of those would take half a transfer for a whole one, and a repair for rot.
const FORMAT: u32 = 5;

/// What tells a file from a copy of it: its inode, and the moment of its birth, which no copy can take along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Birth {
    pub(crate) inode: u64,
    /// 0 on file systems that do not know.
    pub(crate) nanos: u128,
}

impl Birth {
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let created = metadata.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        Ok(Self { inode: metadata.ino(), nanos: created.map_or(0, |since| since.as_nanos()) })
    }
}

/// The text for an owner, to be written to the file with this birth.
pub(crate) fn render(owner: &Owner, birth: Birth) -> String {
    let Owner { identity, private, numbers, inherited_fence, engine, aside, origin } = owner;
    let mut text = format!(
        "tombolo data folder\nformat {}\nmesh {:032x}\nreplica {:016x}\nprivate {:016x}\nslot {}\ninode {}\nborn {}\n",
        FORMAT,
        identity.mesh.0,
        identity.replica.get(),
        private.get(),
        identity.slot.number(),
        birth.inode,
        birth.nanos,
    );
    // Writing to a string does not fail.
    for Forebear { replica, first, last } in numbers.lineage.forebears() {
        let _ = write!(text, "forebear {:016x} {last}", replica.get());
        if *first != last.slot().beginning() {
            let _ = write!(text, " {first}");
        }
        text.push('\n');
    }
    for replica in numbers.lineage.bequeathers() {
        let _ = writeln!(text, "leases-of {:016x}", replica.get());
    }
    for Predecessor { replica, cause } in numbers.lineage.predecessors() {
        let _ = writeln!(text, "predecessor {:016x} {cause}", replica.get());
    }
    if numbers.begins != numbers.slot.beginning() {
        let _ = writeln!(text, "begins {}", numbers.begins);
    }
    if *inherited_fence > 0 {
        let _ = writeln!(text, "fence {inherited_fence}");
    }
    if engine != "engine" {
        let _ = writeln!(text, "engine {engine}");
    }
    if let Some(MeshId(origin)) = origin {
        let _ = writeln!(text, "origin {origin:032x}");
    }
    if let Some(Aside { engine, stream, seq }) = aside {
        let _ = writeln!(text, "aside {engine} {:016x} {seq}", stream.get());
    }
    sealed(text)
}

/// The text with its hash as the last line.
pub(crate) fn sealed(mut text: String) -> String {
    let hash = xxh3_64(text.as_bytes());
    let _ = writeln!(text, "hash {hash:016x}");
    text
}

/// What stands before the hash; `None` when that is another one.
pub(crate) fn unsealed(text: &str) -> Option<&str> {
    let (content, hash) = text.split_at(text.rfind("hash ")?);
    (hash == format!("hash {:016x}\n", xxh3_64(content.as_bytes()))).then_some(content)
}

/// Reads a manifest.
pub(crate) fn parse(text: &str) -> Result<(Owner, Birth), OpenError> {
    parse_any(text).map(|(owner, birth, _)| (owner, birth))
}

/// The same, and whether it is of an earlier format, which is to be raised before anything is written.
pub(crate) fn parse_any(text: &str) -> Result<(Owner, Birth, bool), OpenError> {
    let unreadable = || damaged("MANIFEST is not readable".to_owned());
    // The format comes first: a newer one may look different from here on.
    let format: u32 = field(text, "format").and_then(|value| value.parse().ok()).ok_or_else(unreadable)?;
    if format > FORMAT {
        return Err(OpenError::NewerFormat { found: format, known: FORMAT });
    }
    let content = unsealed(text).ok_or_else(|| damaged("MANIFEST does not carry its own hash".to_owned()))?;
    let (owner, birth) = read(content).ok_or_else(unreadable)?;
    Ok((owner, birth, format < FORMAT))
}

fn read(text: &str) -> Option<(Owner, Birth)> {
    let number = |name| field(text, name).and_then(|value| value.parse::<u128>().ok());
    let slot = number("slot").and_then(|slot| u16::try_from(slot).ok()).and_then(Slot::new)?;
    let mesh = MeshId(u128::from_str_radix(field(text, "mesh")?, 16).ok()?);
    let identity = Identity { mesh, replica: replica(field(text, "replica")?)?, slot };
    let birth = Birth { inode: u64::try_from(number("inode")?).ok()?, nanos: number("born")? };
    let begins = match field(text, "begins") {
        Some(begins) => revision(begins).filter(|begins| begins.slot() == slot)?,
        None => slot.beginning(),
    };
    let inherited_fence = field(text, "fence").map_or(Some(0), |generation| generation.parse().ok())?;
    let numbers = Numbers { slot, begins, lineage: lineage(text)? };
    let engine = field(text, "engine").unwrap_or("engine").to_owned();
    let aside = field(text, "aside").map_or(Some(None), |value| aside(value).map(Some))?;
    let origin = field(text, "origin").map_or(Some(None), |mesh| u128::from_str_radix(mesh, 16).ok().map(Some))?;
    let (private, origin) = (replica(field(text, "private")?)?, origin.map(MeshId));
    Some((Owner { identity, private, numbers, inherited_fence, engine, aside, origin }, birth))
}

fn aside(value: &str) -> Option<Aside> {
    let mut words = value.split(' ');
    let (engine, stream) = (words.next()?.to_owned(), replica(words.next()?)?);
    Some(Aside { engine, stream, seq: words.next()?.parse().ok()? })
}

fn lineage(text: &str) -> Option<Lineage> {
    let forebear = |value: &str| {
        let mut words = value.split(' ');
        let (replica, last) = (replica(words.next()?)?, revision(words.next()?)?);
        let first = words.next().map_or(Some(last.slot().beginning()), revision)?;
        words.next().is_none().then_some(Forebear { replica, first, last })
    };
    let predecessor = |value: &str| {
        let (digits, cause) = value.split_once(' ')?;
        Some(Predecessor { replica: replica(digits)?, cause: cause.to_owned() })
    };
    let forebears = fields(text, "forebear").map(forebear).collect::<Option<_>>()?;
    let bequeathers = fields(text, "leases-of").map(replica).collect::<Option<_>>()?;
    let predecessors = fields(text, "predecessor").map(predecessor).collect::<Option<_>>()?;
    Some(Lineage::new(forebears, bequeathers, predecessors))
}

pub(crate) fn replica(digits: &str) -> Option<ReplicaId> {
    u64::from_str_radix(digits, 16).ok().and_then(ReplicaId::new)
}

fn revision(digits: &str) -> Option<Revision> {
    digits.parse().ok().and_then(Revision::new)
}

pub(crate) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    fields(text, name).next()
}

fn fields<'a>(text: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| line.strip_prefix(name)?.strip_prefix(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A manifest as the first version wrote it. Read for ever.
    const V1: &str = "tombolo data folder\nformat 1\nmesh 000102030405060708090a0b0c0d0e0f\nreplica 1011121314151617\n\
        private 18191a1b1c1d1e1f\nslot 7\ninode 4711\nborn 1700000000123456789\nhash fda58844f3ef9f9f\n";

    #[test]
    fn a_manifest_of_the_first_version_reads() {
        let (owner, birth) = parse(V1).unwrap();
        assert_eq!(owner.identity.mesh, MeshId(0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f));
        assert_eq!(owner.identity.replica.get(), 0x1011_1213_1415_1617);
        assert_eq!(owner.private.get(), 0x1819_1a1b_1c1d_1e1f);
        assert_eq!(owner.identity.slot.number(), 7);
        assert_eq!(owner.numbers, Slot::new(7).unwrap().into());
        assert_eq!(birth, Birth { inode: 4711, nanos: 1_700_000_000_123_456_789 });
        let now = render(&owner, birth);
        assert!(now.contains("\nformat 5\n"), "{now}");
        assert_eq!(parse(&now).unwrap(), (owner, birth));
    }

    #[test]
    fn a_manifest_of_the_fourth_version_reads_and_is_to_be_raised() {
        let text = V1[..V1.rfind("hash ").unwrap()].replace("format 1", "format 4");
        let text = format!("{text}hash {:016x}\n", xxh3_64(text.as_bytes()));
        assert!(parse_any(&text).unwrap().2);
        let (owner, birth) = parse(&text).unwrap();
        assert!(!parse_any(&render(&owner, birth)).unwrap().2);
        let newer = text.replace("format 4", "format 6");
        assert!(matches!(parse(&newer), Err(OpenError::NewerFormat { found: 6, known: 5 })));
    }

    #[test]
    fn a_manifest_with_a_past_reads_back_as_written() {
        let (founder, birth) = parse(V1).unwrap();
        let at = |number: u16, more: i64| Revision::new(Slot::new(number).unwrap().beginning().get() + more).unwrap();
        let id = |bits| ReplicaId::new(bits).unwrap();
        let forebears = vec![
            Forebear { replica: id(1), first: at(0, 0), last: at(0, 9) },
            Forebear { replica: id(2), first: at(7, 20), last: at(7, 29) },
        ];
        let predecessors = vec![Predecessor { replica: id(2), cause: "lost-suffix".to_owned() }];
        let lineage = Lineage::new(forebears, vec![id(2), id(3)], predecessors);
        let numbers = Numbers { begins: at(7, 99), lineage, ..founder.numbers.clone() };
        let aside = Some(Aside { engine: "engine".to_owned(), stream: id(2), seq: 17 });
        let engine = "engine-0000000000000003".to_owned();
        let origin = Some(MeshId(5));
        let heir = Owner { numbers, inherited_fence: 12, engine, aside, origin, ..founder.clone() };
        let text = render(&heir, birth);
        assert_eq!(parse(&text).unwrap(), (heir, birth));
        assert!(text.contains("forebear 0000000000000001 10\n"), "{text}");
    }

    #[test]
    fn what_begins_in_another_slot_is_damaged() {
        let text = V1[..V1.rfind("hash ").unwrap()].replace("format 1", "format 3") + "begins 5\n";
        let text = format!("{text}hash {:016x}\n", xxh3_64(text.as_bytes()));
        assert!(matches!(parse(&text), Err(OpenError::Damaged { .. })));
    }
}
