//! Puts together transactions that were sent in several messages.

use tombolo_proto::v1::ImportTransaction;

use super::bad;
use crate::etcd::status::Fault;

/// Bytes of one transaction. A removal of a whole store names each of its keys.
const TRANSACTION_BYTES_MAX: usize = 256 << 20;

/// The beginning of a transaction whose rest has not come.
#[derive(Default)]
pub(super) struct Assembly {
    begun: Option<ImportTransaction>,
    bytes: usize,
}

impl Assembly {
    /// Takes in what one message holds; gives back what is complete.
    pub(super) fn add(&mut self, sent: Vec<ImportTransaction>) -> Result<Vec<ImportTransaction>, Fault> {
        let mut complete = Vec::with_capacity(sent.len());
        for mut transaction in sent {
            self.bytes += transaction.changes.iter().map(|change| change.key.len() + change.value.len()).sum::<usize>();
            if self.bytes > TRANSACTION_BYTES_MAX {
                return Err(bad("a transaction is too large"));
            }
            if let Some(mut begun) = self.begun.take() {
                if begun.revision != transaction.revision {
                    return Err(bad("a transaction is not complete"));
                }
                begun.changes.append(&mut transaction.changes);
                begun.continues = transaction.continues;
                transaction = begun;
            }
            if transaction.continues {
                self.begun = Some(transaction);
            } else {
                self.bytes = 0;
                complete.push(transaction);
            }
        }
        Ok(complete)
    }

    /// Makes sure that nothing is left over.
    pub(super) fn finish(&self) -> Result<(), Fault> {
        if self.begun.is_some() { Err(bad("a transaction is not complete")) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use tombolo_proto::v1::ImportChange;

    use super::*;

    fn part(revision: i64, key: &'static str, continues: bool) -> ImportTransaction {
        let change = ImportChange { key: key.into(), ..ImportChange::default() };
        ImportTransaction { revision, changes: vec![change], continues }
    }

    #[test]
    fn a_transaction_is_whole_before_anybody_sees_it() {
        let mut assembly = Assembly::default();
        assert_eq!(assembly.add(vec![part(2, "a", false), part(3, "b", true)]).unwrap(), [part(2, "a", false)]);
        assert!(assembly.finish().is_err());
        assert!(assembly.add(vec![part(3, "c", true)]).unwrap().is_empty());
        let complete = assembly.add(vec![part(3, "d", false), part(4, "e", false)]).unwrap();
        let keys =
            complete.iter().map(|transaction| transaction.changes.iter().map(|change| &change.key[..]).collect());
        assert_eq!(keys.collect::<Vec<Vec<_>>>(), [vec![&b"b"[..], b"c", b"d"], vec![b"e"]]);
        assembly.finish().unwrap();
    }

    #[test]
    fn the_rest_of_a_transaction_belongs_to_no_other() {
        let mut assembly = Assembly::default();
        assembly.add(vec![part(2, "a", true)]).unwrap();
        assert!(assembly.add(vec![part(3, "b", false)]).is_err());
    }
}
