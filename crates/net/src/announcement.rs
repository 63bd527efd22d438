//! What a member says about itself: its name, where peers and clients find it, which operations it understands.
//!
//! An announcement counts only when its subject wrote it; addresses in it are hints that are tried, never proof of anything.
//! Everything in it is bounded, for it lies in the memory of every member, and free of control characters, for it is shown.

use bytes::Bytes;
use tombolo_crdt::{
    DecodeError,
    codec::{Reader, put_bytes, put_varint},
};

/// A member's own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announcement {
    /// The name people gave it. Not unique, not trusted.
    pub name: String,
    /// Where peers reach it: `host:port`, resolved at each dial.
    pub addresses: Vec<String>,
    /// Where its clients reach it.
    pub client_urls: Vec<String>,
    /// The highest kind of operation it understands.
    pub kinds: u8,
}

impl Announcement {
    /// Bytes of a name, an address or a URL. A DNS name has at most 253.
    pub const TEXT_BYTES_MAX: usize = 512;
    /// Addresses, and client URLs. Each is dialed in turn, so that many would only delay the one that works.
    pub const LIST_MAX: usize = 16;

    /// The canonical bytes: version (1) ‖ name ‖ addresses ‖ client URLs ‖ kinds (1); texts and lists with their length
    /// before them.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_bytes(&mut out, self.name.as_bytes());
        for list in [&self.addresses, &self.client_urls] {
            put_texts(&mut out, list);
        }
        out.push(self.kinds);
        out
    }

    /// Reads what [`Announcement::encode`] wrote, and no other bytes.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        match reader.u8("announcement version")? {
            VERSION => {}
            found => return Err(DecodeError::UnknownVersion { found }),
        }
        let announcement = Self {
            name: read_text(&mut reader, "name")?,
            addresses: read_texts(&mut reader, "addresses")?,
            client_urls: read_texts(&mut reader, "client URLs")?,
            kinds: reader.u8("kinds")?,
        };
        reader.finish("announcement")?;
        Ok(announcement)
    }
}

pub(crate) fn put_texts(out: &mut Vec<u8>, texts: &[String]) {
    put_varint(out, texts.len() as u64);
    for text in texts {
        put_bytes(out, text.as_bytes());
    }
}

pub(crate) fn read_texts(reader: &mut Reader, what: &'static str) -> Result<Vec<String>, DecodeError> {
    let count = reader.varint(what)?;
    if count > Announcement::LIST_MAX as u64 {
        return Err(DecodeError::TooMany { what, count, max: Announcement::LIST_MAX });
    }
    (0..count).map(|_| read_text(reader, what)).collect()
}

fn read_text(reader: &mut Reader, what: &'static str) -> Result<String, DecodeError> {
    let bytes = reader.bytes(what)?;
    if bytes.len() > Announcement::TEXT_BYTES_MAX {
        return Err(DecodeError::TooLarge { what, bytes: bytes.len(), max: Announcement::TEXT_BYTES_MAX });
    }
    match str::from_utf8(&bytes) {
        // They end up in logs, on terminals and in files of lines.
        Ok(text) if !text.contains(char::is_control) => Ok(text.to_owned()),
        _ => Err(DecodeError::NotCanonical { what }),
    }
}

const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Announcement {
        Announcement {
            name: "pier".into(),
            addresses: vec!["pier.example:2380".into(), "[::1]:2380".into()],
            client_urls: vec!["http://pier.example:2379".into()],
            kinds: 7,
        }
    }

    #[test]
    fn an_announcement_reads_back_as_written() {
        for announcement in [sample(), Announcement::default()] {
            assert_eq!(Announcement::decode(announcement.encode().into()), Ok(announcement));
        }
    }

    #[test]
    fn every_cut_and_every_extra_byte_is_refused() {
        let bytes = sample().encode();
        for len in 0..bytes.len() {
            assert!(Announcement::decode(bytes[..len].to_vec().into()).is_err(), "{len}");
        }
        let longer = [&bytes[..], &[0]].concat();
        let what = "announcement";
        assert_eq!(Announcement::decode(longer.into()), Err(DecodeError::Trailing { what, bytes: 1 }));
    }

    #[test]
    fn more_than_is_allowed_is_refused() {
        let (what, max) = ("addresses", Announcement::LIST_MAX);
        let many = Announcement { addresses: vec!["a:1".into(); max + 1], ..sample() };
        assert_eq!(
            Announcement::decode(many.encode().into()),
            Err(DecodeError::TooMany { what, count: max as u64 + 1, max })
        );
        let long = Announcement { name: "n".repeat(Announcement::TEXT_BYTES_MAX + 1), ..sample() };
        assert!(matches!(Announcement::decode(long.encode().into()), Err(DecodeError::TooLarge { what: "name", .. })));
        assert_eq!(Announcement::decode(vec![2].into()), Err(DecodeError::UnknownVersion { found: 2 }));
        assert_eq!(Announcement::decode(vec![1, 1, 0xff].into()), Err(DecodeError::NotCanonical { what: "name" }));
    }

    #[test]
    fn control_characters_are_refused() {
        for text in ["a\nb", "\x1b[2J", "\u{9b}31m", "\0"] {
            let name = Announcement { name: text.into(), ..sample() };
            let address = Announcement { addresses: vec![text.into()], ..sample() };
            assert_eq!(
                Announcement::decode(name.encode().into()),
                Err(DecodeError::NotCanonical { what: "name" }),
                "{text:?}"
            );
            assert!(Announcement::decode(address.encode().into()).is_err(), "{text:?}");
        }
    }
}
