//! The guest's first files, as the kernel unpacks them: a cpio archive of the format `newc`.

/// Its files, in the order they were added. A directory comes before what is in it.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    inode: u32,
}

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LAST: &str = "TRAILER!!!";

impl Archive {
    pub fn directory(&mut self, path: &str) {
        self.entry(path, DIRECTORY | 0o755, &[]);
    }

    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entry(path, FILE | mode, content);
    }

    /// The whole archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry(LAST, 0, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.inode += 1;
        let (owner, links, time, device) = (0, 1, 0, 0);
        let size = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let (length, name) = (size(content.len()), size(path.len() + 1));
        let fields =
            [self.inode, mode, owner, owner, links, time, length, device, device, device, device, name, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(path.bytes().chain([0]));
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    /// Names and contents end at a multiple of four.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_begins_where_the_kernel_looks_for_it() {
        let mut archive = Archive::default();
        archive.directory("bin");
        archive.file("bin/a", 0o755, b"hello");
        let bytes = archive.finish();
        let at = |from: usize, length: usize| std::str::from_utf8(&bytes[from..from + length]).unwrap();
        // 110 bytes of header, the name with its NUL, padding.
        assert_eq!((at(0, 6), at(110, 3)), ("070701", "bin"));
        let second = 110 + 4 + 2;
        assert_eq!(at(second, 6), "070701");
        assert_eq!(at(second + 14, 8), "000081ed", "a file that all may execute");
        assert_eq!(at(second + 54, 8), "00000005", "its length");
        assert_eq!(at(second + 116, 5), "hello");
        assert_eq!(at(second + 124, 6), "070701");
        assert_eq!(bytes.len() % 4, 0);
    }
}
