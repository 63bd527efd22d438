//! A file of etcd's: what `etcdctl snapshot save` writes, or the database of a member.
//!
//! Its writes lie there in the order of their revisions. The first look finds out what each key held at the revision from which on history is sent; the
//! second sends. Between them only the keys are held.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use aws_lc_rs::digest;
use prost::Message;
use tombolo_bolt::{
    Bucket, Database, Item, ReadError, Value,
    etcd::{self, RevisionKey, auth, bucket, meta},
};
use tombolo_proto::{
    mvccpb::KeyValue,
    v1::{ImportChange, ImportLease, ImportPlan},
};

use super::{
    Wanted,
    accounts::Accounts,
    outlet::Outlet,
    source::{Survey, put, removal},
};
use crate::exit::{Exit, Failure};

/// A file that was opened and is whole.
#[derive(Debug)]
pub(super) struct Snapshot {
    name: String,
    database: Database<File>,
    digest: Vec<u8>,
    wanted: Wanted,
    /// The last write of each key up to the horizon, and whether it removed the key.
    last: HashMap<Box<[u8]>, RevisionKey>,
    horizon: i64,
}

/// One write.
struct Write {
    at: RevisionKey,
    pair: KeyValue,
}

/// A lease as etcd keeps it: `leasepb.Lease`, of which what remained of its time is not asked for.
#[derive(Clone, PartialEq, Message)]
struct Lease {
    #[prost(int64, tag = "1")]
    id: i64,
    #[prost(int64, tag = "2")]
    ttl: i64,
}

impl Snapshot {
    /// Opens a file, and holds it to its checksum if it has one.
    pub(super) fn open(path: &Path, wanted: Wanted) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let failed = |error: io::Error| Failure::new(Exit::Io, format!("cannot read {name}: {error}"));
        let mut file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let has_checksum = etcd::has_checksum(length);
        let content = if has_checksum { length - etcd::CHECKSUM_LEN } else { length };
        let digest = digest_of(&mut file, content).map_err(failed)?;
        if has_checksum {
            let mut expected = Vec::new();
            file.read_to_end(&mut expected).map_err(failed)?;
            if expected != digest {
                let what = format!("{name} is damaged: its checksum is another than that of its contents");
                return Err(Failure::new(Exit::Error, what).hint("take the snapshot again"));
            }
        }
        let database = Database::open(file).map_err(|error| damaged(&name, &error))?;
        if database.bytes_in_use() > content {
            return Err(Failure::new(Exit::Error, format!("{name} is cut off: its end is missing")));
        }
        Ok(Self { name, database, digest, wanted, last: HashMap::new(), horizon: 0 })
    }

    pub(super) fn survey(&mut self) -> Result<Survey, Failure> {
        let compacted = self.compacted()?;
        // Without history there is only what each key holds at the end.
        let horizon = if self.wanted.history { compacted } else { i64::MAX };
        let mut revision = compacted.max(1);
        let (mut after, mut attached) = (0, HashSet::new());
        let mut last = HashMap::new();
        self.for_each_write(|write| {
            revision = revision.max(write.at.main);
            attached.insert(write.pair.lease);
            if write.at.main > horizon {
                after += 1;
            } else {
                last.insert(write.pair.key.as_ref().into(), write.at);
            }
            true
        })?;
        let before = last.values().filter(|at| !at.is_tombstone).count() as u64;
        (self.last, self.horizon) = (last, horizon.min(revision));
        let mut leases = self.leases()?;
        if !self.wanted.prefix.is_empty() {
            leases.retain(|lease| attached.contains(&lease.id));
        }
        let plan = ImportPlan {
            source: self.digest.clone().into(),
            revision,
            compacted_revision: self.horizon,
            prefix: self.wanted.prefix.clone().into(),
        };
        Ok(Survey { plan, leases, changes: Some(before + after) })
    }

    pub(super) async fn send(mut self: Box<Self>, above: i64, outlet: &mut Outlet) -> Result<(), Failure> {
        // Reading waits for the disk: the file is looked through in stretches, each off the runtime's thread.
        let mut outlet_here = outlet.lend();
        let read = tokio::task::spawn_blocking(move || {
            let outcome = self.send_all(above, &mut outlet_here);
            (outcome, outlet_here)
        });
        let (outcome, back) = read.await.map_err(|error| Failure::new(Exit::Error, error.to_string()))?;
        *outlet = back;
        outcome
    }

    fn send_all(&mut self, above: i64, outlet: &mut Outlet) -> Result<(), Failure> {
        let (last, horizon) = (std::mem::take(&mut self.last), self.horizon);
        let mut revision = 0;
        let mut changes: Vec<ImportChange> = Vec::new();
        self.for_each_write(|Write { at, pair }| {
            let is_shown = at.main > horizon || (!at.is_tombstone && last.get(pair.key.as_ref()) == Some(&at));
            if at.main <= above || !is_shown {
                return true;
            }
            if at.main != revision && !changes.is_empty() {
                outlet.blocking_push(revision, std::mem::take(&mut changes));
            }
            revision = at.main;
            let ordinal = u32::try_from(at.sub).unwrap_or(u32::MAX);
            changes.push(if at.is_tombstone { removal(pair, ordinal) } else { put(pair, ordinal) });
            !outlet.is_closed()
        })?;
        if !changes.is_empty() {
            outlet.blocking_push(revision, changes);
        }
        Ok(())
    }

    /// The revision of the last compaction, 0 if there was none. One that was asked for and not finished counts: etcd would finish it.
    fn compacted(&mut self) -> Result<i64, Failure> {
        let Some(bucket) = self.bucket(bucket::META)? else { return Ok(0) };
        let mut compacted = 0;
        for key in [meta::SCHEDULED_COMPACT, meta::FINISHED_COMPACT] {
            let found = self.database.get(&bucket, key).map_err(|error| damaged(&self.name, &error))?;
            if let Some(Value::Bytes(value)) = found {
                let at = RevisionKey::decode(&value).ok_or_else(|| self.unknown("the revision of its compaction"))?;
                compacted = compacted.max(at.main);
            }
        }
        Ok(compacted)
    }

    /// The users and roles.
    pub(super) fn accounts(&mut self) -> Result<Accounts, Failure> {
        let users = self.messages(bucket::AUTH_USERS, "a user")?;
        let roles = self.messages(bucket::AUTH_ROLES, "a role")?;
        let enabled = match self.bucket(bucket::AUTH)? {
            Some(bucket) => self.database.get(&bucket, auth::ENABLED).map_err(|error| damaged(&self.name, &error))?,
            None => None,
        };
        Ok(Accounts { users, roles, is_enabled: enabled == Some(Value::Bytes(vec![1].into())) })
    }

    fn leases(&mut self) -> Result<Vec<ImportLease>, Failure> {
        let leases: Vec<Lease> = self.messages(bucket::LEASE, "a lease")?;
        Ok(leases.into_iter().map(|lease| ImportLease { id: lease.id, ttl_s: lease.ttl }).collect())
    }

    /// The values of a bucket, which are all of one kind.
    fn messages<M: Message + Default>(&mut self, name: &[u8], what: &str) -> Result<Vec<M>, Failure> {
        let Some(bucket) = self.bucket(name)? else { return Ok(Vec::new()) };
        let mut messages = Vec::new();
        for item in self.database.cursor(&bucket) {
            let message = match item.map_err(|error| damaged(&self.name, &error))?.value {
                Value::Bytes(value) => M::decode(value).ok(),
                Value::Bucket(_) => None,
            };
            messages.push(message.ok_or_else(|| unknown(&self.name, what))?);
        }
        Ok(messages)
    }

    /// Looks at the wanted writes in their order, until `visit` has had enough.
    fn for_each_write(&mut self, mut visit: impl FnMut(Write) -> bool) -> Result<(), Failure> {
        let Some(bucket) = self.bucket(bucket::KEY)? else {
            return Err(self.unknown("nothing: it has no keys, and is no database of etcd v3's"));
        };
        for item in self.database.cursor(&bucket) {
            let Item { key, value } = item.map_err(|error| damaged(&self.name, &error))?;
            let at = RevisionKey::decode(&key);
            let pair = match value {
                Value::Bytes(value) => KeyValue::decode(value).ok(),
                Value::Bucket(_) => None,
            };
            let (Some(at), Some(pair)) = (at, pair) else { return Err(unknown(&self.name, "a write")) };
            if pair.key.starts_with(&self.wanted.prefix) && !visit(Write { at, pair }) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn bucket(&mut self, name: &[u8]) -> Result<Option<Bucket>, Failure> {
        self.database.bucket(name).map_err(|error| damaged(&self.name, &error))
    }

    fn unknown(&self, what: &str) -> Failure {
        unknown(&self.name, what)
    }
}

fn digest_of(file: &mut File, length: u64) -> io::Result<Vec<u8>> {
    let mut context = digest::Context::new(&digest::SHA256);
    file.seek(SeekFrom::Start(0))?;
    let mut content = file.take(length);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = content.read(&mut buffer)?;
        if read == 0 {
            return Ok(context.finish().as_ref().to_vec());
        }
        context.update(&buffer[..read]);
    }
}

fn damaged(name: &str, error: &ReadError) -> Failure {
    Failure::new(Exit::Error, format!("cannot read {name}: {error}"))
}

fn unknown(name: &str, what: &str) -> Failure {
    Failure::new(Exit::Error, format!("cannot read {name}: it holds {what} in a form that is not known"))
}
