//! Frames on a stream: length (4 bytes, big-endian) ‖ payload. No payload is longer than the limit.
//!
//! [`Assembler`] turns chunks, cut anywhere, into payloads. It holds what has arrived and allocates for no length that was
//! only announced. It is a value: no stream, no clock.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};
use thiserror::Error;

/// Bytes of a frame's length.
pub(crate) const HEADER_LEN: usize = 4;

/// A frame longer than the limit was announced. Nothing of it was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a frame of {bytes} bytes was announced; at most {max} are allowed")]
pub struct FrameTooLarge {
    /// The length announced.
    pub bytes: usize,
    /// The length allowed.
    pub max: usize,
}

/// Chunks of a stream that are no whole frame yet.
#[derive(Debug)]
pub(crate) struct Assembler {
    chunks: VecDeque<Bytes>,
    held: usize,
    payload_max: usize,
}

impl Assembler {
    pub(crate) fn new(payload_max: usize) -> Self {
        Self { chunks: VecDeque::new(), held: 0, payload_max }
    }

    /// From now on payloads may have this length.
    pub(crate) fn set_payload_max(&mut self, payload_max: usize) {
        self.payload_max = payload_max;
    }

    /// Takes the stream's next bytes. Drain [`Assembler::next`] before the next call.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.held += chunk.len();
            self.chunks.push_back(chunk);
        }
    }

    /// Bytes of a frame that is not whole.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// The next whole payload; `None` when more bytes are needed.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, FrameTooLarge> {
        if self.held < HEADER_LEN {
            return Ok(None);
        }
        let bytes = self.announced();
        if bytes > self.payload_max {
            return Err(FrameTooLarge { bytes, max: self.payload_max });
        }
        if self.held - HEADER_LEN < bytes {
            return Ok(None);
        }
        self.take(HEADER_LEN);
        Ok(Some(self.take(bytes)))
    }

    /// The length at the front; four bytes are there.
    fn announced(&self) -> usize {
        let header = self.chunks.iter().flat_map(|chunk| chunk.iter()).take(HEADER_LEN);
        header.fold(0, |length, &byte| length << 8 | usize::from(byte))
    }

    /// Removes that many bytes; they are there. Bytes within one chunk are shared, not copied.
    fn take(&mut self, len: usize) -> Bytes {
        self.held -= len;
        if let Some(front) = self.chunks.front_mut()
            && front.len() >= len
        {
            let taken = front.split_to(len);
            if front.is_empty() {
                self.chunks.pop_front();
            }
            return taken;
        }
        let mut taken = Vec::with_capacity(len);
        while taken.len() < len
            && let Some(mut chunk) = self.chunks.pop_front()
        {
            let part = chunk.split_to(chunk.len().min(len - taken.len()));
            taken.extend_from_slice(&part);
            if chunk.has_remaining() {
                self.chunks.push_front(chunk);
            }
        }
        taken.into()
    }
}

/// The header of a payload. The caller keeps payloads below the limit, which fits four bytes.
pub(crate) fn header(payload: &Bytes) -> Bytes {
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    Bytes::copy_from_slice(&len.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(payloads: &[&[u8]]) -> Vec<u8> {
        let frame = |payload: &&[u8]| [&header(&Bytes::copy_from_slice(payload))[..], payload].concat();
        payloads.iter().flat_map(frame).collect()
    }

    /// Pushes `bytes` in chunks of `size` and collects every payload.
    fn assembled(bytes: &[u8], size: usize, max: usize) -> Result<Vec<Bytes>, FrameTooLarge> {
        let mut assembler = Assembler::new(max);
        let mut payloads = Vec::new();
        for chunk in bytes.chunks(size) {
            assembler.push(Bytes::copy_from_slice(chunk));
            while let Some(payload) = assembler.next()? {
                payloads.push(payload);
            }
        }
        assert_eq!(assembler.held(), 0);
        Ok(payloads)
    }

    #[test]
    fn frames_arrive_whole_wherever_the_stream_is_cut() {
        let payloads: [&[u8]; 5] = [b"a", b"forty-two", &[], &[7; 300], b"z"];
        let bytes = stream(&payloads);
        for size in 1..=bytes.len() {
            assert_eq!(assembled(&bytes, size, 300).unwrap(), payloads, "{size}");
        }
    }

    #[test]
    fn a_length_above_the_limit_is_refused_before_its_payload_comes() {
        let mut assembler = Assembler::new(16);
        assembler.push(Bytes::from_static(&[0xff, 0xff, 0xff, 0xff]));
        assert_eq!(assembler.next(), Err(FrameTooLarge { bytes: u32::MAX as usize, max: 16 }));
        assert_eq!(assembled(&stream(&[&[1; 16]]), 5, 16).unwrap().len(), 1);
        assert_eq!(assembled(&stream(&[&[1; 17]]), 5, 16), Err(FrameTooLarge { bytes: 17, max: 16 }));
    }

    #[test]
    fn an_unfinished_frame_is_held_and_counted() {
        let mut assembler = Assembler::new(16);
        assembler.push(Bytes::from_static(&[0, 0, 0, 3, 1]));
        assert_eq!(assembler.next(), Ok(None));
        assert_eq!(assembler.held(), 5);
        assembler.push(Bytes::from_static(&[2, 3, 0]));
        assert_eq!(assembler.next(), Ok(Some(Bytes::from_static(&[1, 2, 3]))));
        assert_eq!((assembler.next(), assembler.held()), (Ok(None), 1));
    }
}
