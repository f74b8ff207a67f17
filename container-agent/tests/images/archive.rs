//! Tars as nobody's tar would write them: every field is the test's own.

use std::io::Write;

use tar::{EntryType, Header};

#[derive(Default, Clone)]
pub struct Tar(Vec<u8>);

impl Tar {
    pub fn file(self, path: &str, content: &str) -> Self {
        self.mode_file(path, content, 0o644)
    }

    pub fn mode_file(self, path: &str, content: &str, mode: u32) -> Self {
        self.entry(EntryType::Regular, path, "", mode, content.as_bytes())
    }

    pub fn dir(self, path: &str, mode: u32) -> Self {
        self.entry(EntryType::Directory, path, "", mode, b"")
    }

    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, path, target, 0o777, b"")
    }

    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Link, path, target, 0o644, b"")
    }

    pub fn special(self, kind: EntryType, path: &str) -> Self {
        self.entry(kind, path, "", 0o666, b"")
    }

    /// One record of a pax header for the next entry.
    pub fn pax(self, key: &str, value: &str) -> Self {
        let behind = format!(" {key}={value}\n");
        let mut length = behind.len() + 1;
        while format!("{length}{behind}").len() != length {
            length += 1;
        }
        self.pax_bytes(format!("{length}{behind}").as_bytes())
    }

    pub fn pax_bytes(self, records: &[u8]) -> Self {
        self.entry(EntryType::XHeader, "pax", "", 0o644, records)
    }

    /// GNU's long name of the next entry.
    pub fn long_name(self, name: &str) -> Self {
        self.entry(EntryType::GNULongName, "././@LongLink", "", 0o644, format!("{name}\0").as_bytes())
    }

    pub fn long_link(self, name: &str) -> Self {
        self.entry(EntryType::GNULongLink, "././@LongLink", "", 0o644, format!("{name}\0").as_bytes())
    }

    pub fn entry(self, kind: EntryType, path: &str, link: &str, mode: u32, content: &[u8]) -> Self {
        if path.len() > 100 || link.len() > 100 {
            let named = if path.len() > 100 { self.long_name(path) } else { self };
            let named = if link.len() > 100 { named.long_link(link) } else { named };
            return named.header(
                kind,
                &path[..path.len().min(100)],
                &link[..link.len().min(100)],
                mode,
                content,
            );
        }
        self.header(kind, path, link, mode, content)
    }

    fn header(mut self, kind: EntryType, path: &str, link: &str, mode: u32, content: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        let old = header.as_old_mut();
        old.name[..path.len()].copy_from_slice(path.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(1_000_000_000);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.raw(content)
    }

    /// Bytes as they are, filled to a whole block.
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// Changes the header of the last entry without content, checksum kept right.
    pub fn change(mut self, change: impl FnOnce(&mut Header)) -> Self {
        let at = self.0.len() - 512;
        let mut header = Header::new_gnu();
        header.as_mut_bytes().copy_from_slice(&self.0[at..]);
        change(&mut header);
        header.set_cksum();
        self.0[at..].copy_from_slice(header.as_bytes());
        self
    }

    pub fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }

    /// Without its closing block.
    pub fn open_end(self) -> Vec<u8> {
        self.0
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}
