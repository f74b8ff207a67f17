//! Reads a tar as it comes: ustar, GNU long names, pax. Nothing that an archive says makes it hold more in memory than
//! one extension.

use std::io::{self, Read};

use tar::{EntryType, Header};

use super::fault::UnpackFault;

const BLOCK: u64 = 512;
/// A long name, or one file's pax records; extended attributes are the largest there are.
const EXTENSION_BYTES_MAX: u64 = 1 << 20;

pub struct Archive<R> {
    reader: R,
    /// Of the entry at hand: content that was not read, and the filling behind it.
    content: u64,
    filling: u64,
    is_closed: bool,
}

#[derive(Debug)]
pub struct Entry {
    pub path: Vec<u8>,
    pub kind: Kind,
    pub mode: u32,
    pub modified_s: u64,
}

#[derive(Debug)]
pub enum Kind {
    File,
    Directory,
    Symlink {
        target: Vec<u8>,
    },
    HardLink {
        target: Vec<u8>,
    },
    /// A device or a fifo.
    Special,
}

/// What extensions say about the next entry, in place of its header.
#[derive(Default)]
struct Overrides {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    modified_s: Option<u64>,
}

impl<R: Read> Archive<R> {
    pub fn new(reader: R) -> Self {
        Self { reader, content: 0, filling: 0, is_closed: false }
    }

    /// The next entry, whose content [`Self::read`] reads; none at the archive's end.
    pub fn next(&mut self) -> Result<Option<Entry>, UnpackFault> {
        let (mut long, mut pax) = (Overrides::default(), Overrides::default());
        loop {
            self.skip()?;
            let Some(header) = self.header()? else { return Ok(None) };
            let size = header.entry_size().map_err(|_| UnpackFault::NotTar("a size is no number"))?;
            match header.entry_type() {
                EntryType::GNULongName => long.path = Some(self.text(size)?),
                EntryType::GNULongLink => long.link = Some(self.text(size)?),
                EntryType::XHeader => read_pax(&self.extension(size)?, &mut pax)?,
                // Defaults for all entries, and a volume's label: nothing of a file.
                EntryType::XGlobalHeader => drop(self.extension(size)?),
                kind if kind.as_byte() == b'V' => self.expect_content(size),
                kind => {
                    let overrides = Overrides {
                        path: pax.path.or(long.path),
                        link: pax.link.or(long.link),
                        size: pax.size,
                        modified_s: pax.modified_s,
                    };
                    return self.entry(&header, kind, overrides.size.unwrap_or(size), overrides).map(Some);
                }
            }
        }
    }

    /// Whether the archive's own end was met, and not just the end of the stream.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Reads on to the end of the stream, so that whoever digests it has seen all.
    pub fn drain(mut self) -> Result<(), UnpackFault> {
        io::copy(&mut self.reader, &mut io::sink())?;
        Ok(())
    }

    fn entry(
        &mut self,
        header: &Header,
        kind: EntryType,
        size: u64,
        overrides: Overrides,
    ) -> Result<Entry, UnpackFault> {
        let path = overrides.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let target = || overrides.link.or_else(|| header.link_name_bytes().map(|name| name.into_owned()));
        let named = |target: Option<Vec<u8>>| target.filter(|target| !target.is_empty());
        let kind = match kind {
            // Before POSIX, a directory was a file with a slash behind its name.
            EntryType::Regular if path.ends_with(b"/") => Kind::Directory,
            EntryType::Regular | EntryType::Continuous => {
                self.expect_content(size);
                Kind::File
            }
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Symlink {
                target: named(target()).ok_or_else(|| UnpackFault::name(&path, "is a link to nothing"))?,
            },
            EntryType::Link => Kind::HardLink {
                target: named(target()).ok_or_else(|| UnpackFault::name(&path, "is a link to nothing"))?,
            },
            EntryType::Char | EntryType::Block | EntryType::Fifo => Kind::Special,
            EntryType::GNUSparse => return Err(UnpackFault::Sparse(show(&path))),
            other => return Err(UnpackFault::UnknownKind { path: show(&path), kind: other.as_byte() }),
        };
        let mode = header.mode().map_err(|_| UnpackFault::name(&path, "has a mode that is no number"))?;
        let modified_s = overrides.modified_s.or_else(|| header.mtime().ok()).unwrap_or_default();
        Ok(Entry { path, kind, mode, modified_s })
    }

    /// One header, or none at the end: a block of zeros, or nothing more at all.
    fn header(&mut self) -> Result<Option<Header>, UnpackFault> {
        let mut header = Header::new_old();
        let bytes = header.as_mut_bytes();
        let mut read = 0;
        while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match self.reader.read(rest)? {
                0 if read == 0 => return Ok(None),
                0 => return Err(UnpackFault::Truncated),
                count => read += count,
            }
        }
        if bytes.iter().all(|byte| *byte == 0) {
            self.is_closed = true;
            return Ok(None);
        }
        // The sum counts its own field as eight spaces.
        let sum: u32 = bytes
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { u32::from(b' ') } else { u32::from(*byte) })
            .sum();
        if header.cksum().ok() != Some(sum) {
            return Err(UnpackFault::NotTar("the checksum of a header is wrong"));
        }
        Ok(Some(header))
    }

    fn expect_content(&mut self, size: u64) {
        self.content = size;
        self.filling = (BLOCK - size % BLOCK) % BLOCK;
    }

    fn skip(&mut self) -> Result<(), UnpackFault> {
        // Not their sum: the size is the archive's own word.
        for left in [std::mem::take(&mut self.content), std::mem::take(&mut self.filling)] {
            if io::copy(&mut self.reader.by_ref().take(left), &mut io::sink())? != left {
                return Err(UnpackFault::Truncated);
            }
        }
        Ok(())
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, UnpackFault> {
        if size > EXTENSION_BYTES_MAX {
            return Err(UnpackFault::ExtensionTooLong { bytes: size, bytes_max: EXTENSION_BYTES_MAX });
        }
        self.expect_content(size);
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// A long name; GNU ends it with a zero.
    fn text(&mut self, size: u64) -> Result<Vec<u8>, UnpackFault> {
        let mut text = self.extension(size)?;
        if text.last() == Some(&0) {
            text.pop();
        }
        Ok(text)
    }
}

/// The content of the entry at hand.
impl<R: Read> Read for Archive<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.content == 0 {
            return Ok(0);
        }
        let count = self.reader.by_ref().take(self.content).read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            return Err(UnpackFault::Truncated.into());
        }
        self.content = self.content.saturating_sub(count as u64);
        Ok(count)
    }
}

/// Records of `LENGTH key=value\n`. Told apart by their lengths: a value may hold any byte.
fn read_pax(mut records: &[u8], into: &mut Overrides) -> Result<(), UnpackFault> {
    let malformed = || UnpackFault::NotTar("a pax record is malformed");
    while !records.is_empty() {
        let space = records.iter().position(|byte| *byte == b' ').ok_or_else(malformed)?;
        let length = records.get(..space).and_then(number).ok_or_else(malformed)?;
        let length = usize::try_from(length).map_err(|_| malformed())?;
        let record = records.get(space + 1..length).ok_or_else(malformed)?;
        let record = record.strip_suffix(b"\n").ok_or_else(malformed)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(malformed)?;
        let (key, value) = record.split_at(equals);
        let value = value.get(1..).unwrap_or_default();
        match key {
            b"path" => into.path = Some(value.to_vec()),
            b"linkpath" => into.link = Some(value.to_vec()),
            b"size" => into.size = Some(number(value).ok_or_else(malformed)?),
            // A fraction of a second is of no use, and a time before 1970 of none either.
            b"mtime" => into.modified_s = value.split(|byte| *byte == b'.').next().and_then(number),
            key if key.starts_with(b"GNU.sparse.") => {
                return Err(UnpackFault::Sparse(into.path.as_deref().map(show).unwrap_or_default()));
            }
            _ => {}
        }
        records = records.get(length..).unwrap_or_default();
    }
    Ok(())
}

/// Digits only, where `str::parse` would take a sign.
fn number(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
}

/// A name out of an archive, for a message: short, and without what a terminal would obey.
pub fn show(name: &[u8]) -> String {
    const CHARS_MAX: usize = 200;
    String::from_utf8_lossy(name)
        .chars()
        .take(CHARS_MAX)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
