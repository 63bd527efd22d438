//! Planning writes of the system's own data.

use std::collections::BTreeMap;

use bytes::Bytes;
use tombolo_crdt::{Element, Operation, SYSTEM_KEY_BYTES_MAX, SYSTEM_VALUE_BYTES_MAX};

use super::Plan;
use crate::{RequestError, SystemWrite, row::commit::Layer, view::Rows};

impl<R: Rows + ?Sized> Plan<'_, R> {
    /// Plans writes as one record. Of several to one key the last counts; removing what is not there comes to nothing.
    pub(crate) fn system(&mut self, writes: Vec<SystemWrite>) -> Result<(), RequestError> {
        let mut last = BTreeMap::new();
        for write in writes {
            let (key, value) = match write {
                SystemWrite::Put { key, value } => (key, Some(value)),
                SystemWrite::Remove { key } => (key, None),
            };
            at_most(&key, SYSTEM_KEY_BYTES_MAX, "key")?;
            value.as_ref().map_or(Ok(()), |value| at_most(value, SYSTEM_VALUE_BYTES_MAX, "value"))?;
            last.insert(key, value);
        }
        for (key, value) in last {
            let held = self.supersede_system(&key);
            match value {
                Some(value) => {
                    self.draft.push(Layer::Mesh, Operation::SystemPut { key, value, supersedes: held });
                }
                None if held.is_empty() => {}
                None => self.draft.push(Layer::Mesh, Operation::SystemRemove { key, elements: held }),
            }
        }
        Ok(())
    }

    /// The siblings that a write replaces, all of them; notes the newest stamp among them.
    fn supersede_system(&mut self, key: &Bytes) -> Vec<Element> {
        let register = self.head.system.get(key);
        let siblings = register.into_iter().flat_map(|register| register.siblings());
        let mut elements = Vec::new();
        for (element, sibling) in siblings {
            self.draft.floor = self.draft.floor.max(sibling.hlc);
            elements.push(element);
        }
        elements
    }
}

fn at_most(bytes: &Bytes, max: usize, what: &'static str) -> Result<(), RequestError> {
    if bytes.len() > max { Err(RequestError::SystemTooLarge { what, bytes: bytes.len(), max }) } else { Ok(()) }
}
