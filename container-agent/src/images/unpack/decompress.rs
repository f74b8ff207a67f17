//! gzip, zstd or neither, told by the first bytes. More than one member or frame is one stream.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::fault::UnpackFault;

pub fn decompressed<'a>(mut source: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let compressed_with = |format| Err(UnpackFault::UnknownCompression(format).into());
    match source.fill_buf()? {
        [0x1f, 0x8b, ..] => Ok(Box::new(Gzip(MultiGzDecoder::new(source)))),
        // Its first frame may be one to skip.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            Ok(Box::new(Zstd { source, decoder: FrameDecoder::new(), is_in_frame: false }))
        }
        [0xfd, b'7', b'z', b'X', b'Z', ..] => compressed_with("xz"),
        [b'B', b'Z', b'h', ..] => compressed_with("bzip2"),
        _ => Ok(Box::new(source)),
    }
}

fn broken(cause: impl ToString) -> io::Error {
    UnpackFault::NotDecompressed(cause.to_string()).into()
}

struct Gzip<R>(MultiGzDecoder<R>);

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(broken)
    }
}

struct Zstd<R> {
    source: R,
    decoder: FrameDecoder,
    is_in_frame: bool,
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.is_in_frame || self.decoder.can_collect() == 0 {
            if self.is_in_frame && !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.source, one).map_err(broken)?;
            } else if self.source.fill_buf()?.is_empty() {
                return Ok(0);
            } else {
                self.next_frame()?;
            }
        }
        self.decoder.read(buffer)
    }
}

impl<R: BufRead> Zstd<R> {
    fn next_frame(&mut self) -> io::Result<()> {
        self.is_in_frame = false;
        match self.decoder.init(&mut self.source) {
            Ok(()) => self.is_in_frame = true,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length, ..
            })) => {
                let length = u64::from(length);
                if io::copy(&mut self.source.by_ref().take(length), &mut io::sink())? != length {
                    return Err(UnpackFault::Truncated.into());
                }
            }
            Err(error) => return Err(broken(error)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        compress_to_vec(bytes, CompressionLevel::Fastest)
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut read = Vec::new();
        decompressed(bytes)?.read_to_end(&mut read)?;
        Ok(read)
    }

    #[test]
    fn each_format_is_told_by_its_first_bytes_and_read_whole() {
        let text = b"a layer, and more of it ".repeat(20_000);
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"toc"].concat();
        for (what, bytes) in [
            ("plain", text.clone()),
            ("gzip", gzip(&text)),
            ("two gzip members", [gzip(&text[..1000]), gzip(&text[1000..])].concat()),
            ("zstd", zstd(&text)),
            ("two zstd frames", [zstd(&text[..1000]), zstd(&text[1000..])].concat()),
            ("frames to skip", [skippable.clone(), zstd(&text), skippable].concat()),
        ] {
            assert!(read(&bytes).unwrap() == text, "{what}");
        }
        for (what, bytes) in [("gzip", gzip(&text)), ("zstd", zstd(&text))] {
            assert!(read(&bytes[..bytes.len() / 2]).is_err(), "half of {what}");
        }
        assert!(read(b"\xfd7zXZ\0").unwrap_err().to_string().contains("xz"));
    }
}
