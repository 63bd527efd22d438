//! Walks the frames at the beginning of an HTTP/2 connection (RFC 9113, section 4), holding back only what it has not understood yet.
//!
//! Frames other than those that carry header fields are handed on as soon as they are whole, since a client may wait for the answer to its settings
//! before it sends its first request. What breaks a rule or a bound ends the walk: the HTTP/2 library has the words to refuse it.

use std::ops::Range;

use bytes::{Buf, BytesMut};
use tokio::io::ReadBuf;

use super::block;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD_BYTES: usize = 9;
/// The largest frame that a client may send before it was allowed more, which this server never does.
const FRAME_BYTES_MAX: usize = 16 << 10;
/// Bytes of one block with all its frames; larger ones are beyond the server's limit on header fields anyway.
const BLOCK_BYTES_MAX: usize = 64 << 10;

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// The state of the walk. See the head of this file.
#[derive(Default)]
pub(super) struct Walk {
    held: BytesMut,
    /// How much of `held` has been looked at and may be handed on.
    settled: usize,
    preface_seen: bool,
    over: bool,
}

impl Walk {
    /// Takes bytes from the socket.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
        if !self.preface_seen && !self.over {
            self.expect_preface();
        }
        while self.preface_seen && !self.over {
            match self.next_step() {
                Step::Wait => return,
                Step::Settle(end) => self.settled = end,
                Step::Mend { fragments, end } => {
                    self.settled = end;
                    if !self.mend(&fragments) {
                        self.give_up();
                    }
                }
                Step::GiveUp => self.give_up(),
            }
        }
    }

    /// Hands on what may be handed on; answers whether there was any.
    pub(super) fn deliver(&mut self, out: &mut ReadBuf<'_>) -> bool {
        let ready = self.settled.min(out.remaining());
        out.put_slice(&self.held[..ready]);
        self.held.advance(ready);
        self.settled -= ready;
        ready > 0
    }

    /// Stops looking: everything may be handed on.
    pub(super) fn give_up(&mut self) {
        self.over = true;
        self.settled = self.held.len();
    }

    /// Whether everything has been handed on and nothing more has to be looked at.
    pub(super) fn is_over(&self) -> bool {
        self.over && self.held.is_empty()
    }

    fn expect_preface(&mut self) {
        if self.held.starts_with(PREFACE) {
            self.preface_seen = true;
            self.settled = PREFACE.len();
        } else if !PREFACE.starts_with(&self.held) {
            self.give_up();
        }
    }

    fn next_step(&self) -> Step {
        let Some(frame) = Frame::read(&self.held, self.settled) else { return Step::Wait };
        if frame.payload.len() > FRAME_BYTES_MAX {
            return Step::GiveUp;
        }
        if frame.payload.end > self.held.len() {
            return Step::Wait;
        }
        match frame.kind {
            HEADERS => self.collect(&frame),
            CONTINUATION => Step::GiveUp,
            _ => Step::Settle(frame.payload.end),
        }
    }

    /// Finds the fragments of the block that begins with `first`.
    fn collect(&self, first: &Frame) -> Step {
        let Some(fragment) = first.fragment(&self.held) else { return Step::GiveUp };
        let mut fragments = vec![fragment];
        let mut end = first.payload.end;
        let mut complete = first.flags & END_HEADERS != 0;
        while !complete {
            let Some(next) = Frame::read(&self.held, end) else { return Step::Wait };
            let follows = next.kind == CONTINUATION && next.stream == first.stream;
            if !follows || next.payload.end - self.settled > BLOCK_BYTES_MAX {
                return Step::GiveUp;
            }
            if next.payload.end > self.held.len() {
                return Step::Wait;
            }
            complete = next.flags & END_HEADERS != 0;
            end = next.payload.end;
            fragments.push(next.payload);
        }
        Step::Mend { fragments, end }
    }

    /// Mends the block made of `fragments`; answers whether it had to.
    fn mend(&mut self, fragments: &[Range<usize>]) -> bool {
        let mut whole: Vec<u8> = fragments.iter().flat_map(|fragment| &self.held[fragment.clone()]).copied().collect();
        if !block::mend(&mut whole) {
            return false;
        }
        let mut rest = whole.as_slice();
        for fragment in fragments {
            let (bytes, after) = rest.split_at(fragment.len());
            self.held[fragment.clone()].copy_from_slice(bytes);
            rest = after;
        }
        true
    }
}

enum Step {
    Wait,
    /// Everything up to here may be handed on.
    Settle(usize),
    Mend {
        fragments: Vec<Range<usize>>,
        end: usize,
    },
    GiveUp,
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: [u8; 4],
    payload: Range<usize>,
}

impl Frame {
    fn read(held: &[u8], at: usize) -> Option<Self> {
        let head: [u8; FRAME_HEAD_BYTES] = held.get(at..at + FRAME_HEAD_BYTES)?.try_into().ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let start = at + FRAME_HEAD_BYTES;
        Some(Self { kind, flags, stream, payload: start..start + length })
    }

    /// The payload of a HEADERS frame without padding and priority; `None` when they do not fit.
    fn fragment(&self, held: &[u8]) -> Option<Range<usize>> {
        let Range { mut start, mut end } = self.payload;
        if self.flags & PADDED != 0 {
            let padding = usize::from(*held.get(start).filter(|_| start < end)?);
            start += 1;
            end = end.checked_sub(padding)?;
        }
        if self.flags & PRIORITY != 0 {
            start += 5;
        }
        (start <= end).then_some(start..end)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) const PREFACE: &[u8] = super::PREFACE;

    pub(in super::super) fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
    }

    pub(in super::super) fn settings() -> Vec<u8> {
        frame(4, 0, 0, &[])
    }

    pub(in super::super) fn data(stream: u8, payload: &[u8]) -> Vec<u8> {
        frame(0, 1, stream, payload)
    }

    pub(in super::super) fn headers(stream: u8, block: &[u8]) -> Vec<u8> {
        frame(HEADERS, END_HEADERS, stream, block)
    }

    pub(in super::super) fn bad_block() -> Vec<u8> {
        b"\x83\x41\x07http://\x86".to_vec()
    }

    pub(in super::super) fn mended_block() -> Vec<u8> {
        b"\x83\x41\x07aaaaaaa\x86".to_vec()
    }

    fn walked(bytes: &[u8]) -> (Vec<u8>, bool) {
        let mut walk = Walk::default();
        walk.push(bytes);
        let mut space = vec![0; 1 << 20];
        let mut out = ReadBuf::new(&mut space);
        walk.deliver(&mut out);
        (out.filled().to_vec(), walk.is_over())
    }

    #[test]
    fn a_sound_first_request_ends_the_walk() {
        let sent = [PREFACE, &settings(), &headers(1, b"\x83\x41\x01b\x86")].concat();
        assert_eq!(walked(&sent), (sent, true));
    }

    #[test]
    fn padding_and_priority_are_stepped_over() {
        let payload = [&[3, 0, 0, 0, 0, 16], bad_block().as_slice(), b"\0\0\0"].concat();
        let mended = [&[3, 0, 0, 0, 0, 16], mended_block().as_slice(), b"\0\0\0"].concat();
        let flags = END_HEADERS | PADDED | PRIORITY;
        let sent = [PREFACE, &frame(HEADERS, flags, 1, &payload)].concat();
        assert_eq!(walked(&sent), ([PREFACE, &frame(HEADERS, flags, 1, &mended)].concat(), false));
    }

    #[test]
    fn a_value_split_over_frames_is_mended_in_all_of_them() {
        let frames = |block: &[u8]| {
            let (first, rest) = block.split_at(5);
            let (second, third) = rest.split_at(3);
            let first = frame(HEADERS, 0, 1, first);
            [PREFACE, &first, &frame(CONTINUATION, 0, 1, second), &frame(CONTINUATION, END_HEADERS, 1, third)].concat()
        };
        assert_eq!(walked(&frames(&bad_block())), (frames(&mended_block()), false));
    }

    #[test]
    fn settings_do_not_wait_for_the_first_request() {
        let whole = [PREFACE, &settings()].concat();
        let sent = [&whole[..], &headers(1, &bad_block())[..12]].concat();
        assert_eq!(walked(&sent), (whole, false));
    }

    #[test]
    fn broken_frames_are_passed_on_for_the_library_to_refuse() {
        let padded_beyond = frame(HEADERS, END_HEADERS | PADDED, 1, &[9, 1, 2]);
        let lone_continuation = frame(CONTINUATION, END_HEADERS, 1, &bad_block());
        let interrupted = [frame(HEADERS, 0, 1, &bad_block()), settings()].concat();
        let too_large = vec![0x7f, 0, 0, HEADERS, END_HEADERS, 0, 0, 0, 1];
        for broken in [padded_beyond, lone_continuation, interrupted, too_large] {
            let sent = [PREFACE, &broken].concat();
            assert_eq!(walked(&sent), (sent, true));
        }
    }
}
