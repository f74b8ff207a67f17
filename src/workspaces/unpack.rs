//! Unpacks a stream that is gzip, or hands it on as it is, a portion at a time.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;

/// What is unpacked at once: gzip makes up to a thousand bytes of one, and an isolate has 128 MB for all its requests.
const PORTION_BYTES_MAX: usize = 64 * 1024;

enum Source {
    /// The first two bytes decide.
    Unknown,
    Plain,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
}

pub struct Unpacker {
    source: Source,
    packed: Vec<u8>,
    /// How much of `packed` is unpacked.
    taken: usize,
}

impl Default for Unpacker {
    fn default() -> Self {
        Self { source: Source::Unknown, packed: Vec::new(), taken: 0 }
    }
}

impl Unpacker {
    pub fn push(&mut self, piece: &[u8]) {
        self.packed.drain(..self.taken);
        self.taken = 0;
        self.packed.extend_from_slice(piece);
    }

    /// Puts the next portion of what was pushed behind `unpacked`; false once it needs more.
    pub fn unpack(&mut self, unpacked: &mut Vec<u8>) -> io::Result<bool> {
        let packed = self.packed.get(self.taken..).unwrap_or_default();
        if packed.is_empty() {
            return Ok(false);
        }
        if matches!(self.source, Source::Unknown) && packed.len() >= 2 {
            let is_gzip = packed.starts_with(&[0x1f, 0x8b]);
            let gzip = || Source::Gzip(Box::new(MultiGzDecoder::new(Vec::new())));
            self.source = if is_gzip { gzip() } else { Source::Plain };
        }
        let taken = match &mut self.source {
            Source::Unknown => 0,
            Source::Plain => {
                let portion = packed.get(..PORTION_BYTES_MAX).unwrap_or(packed);
                unpacked.extend_from_slice(portion);
                portion.len()
            }
            Source::Gzip(decoder) => {
                // Unlike `write_all` it takes no more than its buffer, which is half a portion, has room for.
                let taken = decoder.write(packed)?;
                unpacked.append(decoder.get_mut());
                taken
            }
        };
        self.taken += taken;
        Ok(taken > 0)
    }

    /// The stream is over and all of it is unpacked; what the decoder still has, if the stream is whole.
    pub fn finish(&mut self, unpacked: &mut Vec<u8>) -> io::Result<()> {
        match &mut self.source {
            Source::Gzip(decoder) => {
                decoder.try_finish()?;
                unpacked.append(decoder.get_mut());
            }
            // All of it is one byte.
            Source::Unknown => unpacked.append(&mut self.packed),
            Source::Plain => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Everything, and the largest portion.
    fn unpacked(packed: &[u8], piece_bytes: usize) -> (Vec<u8>, usize) {
        let (mut unpacker, mut portion, mut all, mut largest) =
            (Unpacker::default(), Vec::new(), Vec::new(), 0);
        for piece in packed.chunks(piece_bytes) {
            unpacker.push(piece);
            while unpacker.unpack(&mut portion).unwrap() {
                largest = largest.max(portion.len());
                all.append(&mut portion);
            }
        }
        unpacker.finish(&mut portion).unwrap();
        largest = largest.max(portion.len());
        all.append(&mut portion);
        (all, largest)
    }

    #[test]
    fn a_bomb_comes_in_portions() {
        let bytes = vec![0; 64 * 1024 * 1024];
        let bomb = gzip(&bytes);
        assert!(bomb.len() < 80 * 1024);
        for packed in [&bomb, &bytes] {
            let (all, largest) = unpacked(packed, usize::MAX);
            assert!(all == bytes);
            assert!(largest <= PORTION_BYTES_MAX, "{largest} bytes at once");
        }
    }

    #[test]
    fn one_byte_is_a_stream_too() {
        assert_eq!(unpacked(b"x", 1).0, b"x");
        assert_eq!(unpacked(b"", 1).0, b"");
    }

    proptest! {
        #[test]
        fn is_the_same_however_it_is_cut(
            bytes in prop::collection::vec(0u8..4, 0..3_000),
            repeated in 1usize..40,
            members in 1usize..3,
            piece_bytes in 1usize..1_000,
        ) {
            let bytes = bytes.repeat(repeated);
            let packed = gzip(&bytes).repeat(members);
            prop_assert!(unpacked(&packed, piece_bytes).0 == bytes.repeat(members));
            let plain = [b"x", bytes.as_slice()].concat();
            prop_assert!(unpacked(&plain, piece_bytes).0 == plain);
        }
    }
}
