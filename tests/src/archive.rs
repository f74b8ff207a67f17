//! Archives as an import takes them, honest and not.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};

use tar::{EntryType, Header};

/// A tar that is being written.
#[derive(Default)]
pub struct Archive(Vec<u8>);

fn header(size: u64, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_size(size);
    header.set_mode(mode);
    header.set_mtime(1);
    header
}

impl Archive {
    /// Regular files.
    pub fn of(files: &[(&str, &str)]) -> Self {
        files.iter().fold(Self::default(), |archive, (path, content)| archive.file(path, content.as_bytes()))
    }

    fn with(mut self, write: impl FnOnce(&mut tar::Builder<&mut Vec<u8>>) -> std::io::Result<()>) -> Self {
        let mut builder = tar::Builder::new(&mut self.0);
        write(&mut builder).expect("writing to memory succeeds");
        // Without the two closing blocks, which `finished` adds.
        std::mem::forget(builder);
        self
    }

    pub fn file(self, path: &str, content: &[u8]) -> Self {
        self.with(|tar| tar.append_data(&mut header(content.len() as u64, 0o644), path, content))
    }

    pub fn executable(self, path: &str, content: &[u8]) -> Self {
        self.with(|tar| tar.append_data(&mut header(content.len() as u64, 0o755), path, content))
    }

    pub fn link(self, path: &str, target: &str) -> Self {
        let mut header = header(0, 0o777);
        header.set_entry_type(EntryType::Symlink);
        self.with(|tar| tar.append_link(&mut header, path, target))
    }

    pub fn folder(self, path: &str) -> Self {
        let mut header = header(0, 0o755);
        header.set_entry_type(EntryType::Directory);
        self.with(|tar| tar.append_data(&mut header, path, std::io::empty()))
    }

    /// An entry whose name no honest program would write: it goes into the header as it is.
    pub fn raw(mut self, kind: EntryType, path: &str, target: &str, content: &[u8]) -> Self {
        let mut header = header(content.len() as u64, 0o644);
        header.set_entry_type(kind);
        let fields = header.as_gnu_mut().expect("the header is GNU's");
        let copy = |field: &mut [u8], text: &str| {
            field.fill(0);
            field.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
        };
        copy(&mut fields.name, path);
        copy(&mut fields.linkname, target);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// Without its closing blocks.
    pub fn unfinished(self) -> Vec<u8> {
        self.0
    }

    pub fn finished(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1_024, 0);
        self.0
    }

    pub fn gzipped(self) -> Vec<u8> {
        gzip(&self.finished())
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("compressing in memory succeeds")
}

/// What an archive holds: `path` → kind and content, of a link its target.
pub fn unpacked(archive: &[u8]) -> BTreeMap<String, (char, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries().expect("the archive is one") {
        let mut entry = entry.expect("the entry is whole");
        let path = String::from_utf8(entry.path_bytes().into_owned()).expect("the path is UTF-8");
        let executable = entry.header().mode().expect("there is a mode") & 0o100 != 0;
        let held = if entry.header().entry_type().is_symlink() {
            ('l', entry.link_name_bytes().expect("a link has a target").into_owned())
        } else {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("the content is whole");
            (if executable { 'x' } else { 'f' }, content)
        };
        assert!(found.insert(path.clone(), held).is_none(), "{path} is there twice");
    }
    found
}
