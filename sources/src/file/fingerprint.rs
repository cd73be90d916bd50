//! Fingerprints: which file is this, whatever its name is now?
//! In: an open file. Out: a checksum of its first lines, of what stands before a position, its place on the disk.
//! Never: reads more than [`HEAD_BYTES_MAX`], moves the file's own position.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lines::Delimiter;

/// First lines longer than this count by their first bytes. Chosen: one read, more than any header.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Bytes before a position that must be the same for the position to be used.
pub(crate) const TAIL_BYTES: usize = 256;

/// How a file is known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "strategy", rename_all = "snake_case")]
pub enum FingerprintConfig {
    /// By a checksum of its first lines (and, for a position to be used, of what stands before it). A file with
    /// fewer lines waits for them.
    Checksum {
        /// Bytes at the beginning of each file that do not count.
        #[serde(default)]
        ignored_header_bytes: u64,
        /// How many lines count.
        #[serde(default = "one")]
        lines: usize,
    },
    /// By its device and inode alone.
    DeviceAndInode,
}

fn one() -> usize {
    1
}

impl Default for FingerprintConfig {
    fn default() -> Self {
        Self::Checksum { ignored_header_bytes: 0, lines: 1 }
    }
}

/// Where a file is on the disk; the same for all its names, another one for a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Inode {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

impl Inode {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// FNV-1a, 64 bits: small, and the same in every version of this program.
fn checksum(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// Reads up to `length` bytes at `offset`, fewer at the end of the file.
fn read_at(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

impl FingerprintConfig {
    /// The checksum of the first lines of `file`: `None` while it has fewer, unless it is `whole` as it is.
    /// Zero where files are known by their inode.
    pub(crate) fn head(&self, file: &File, delimiter: &Delimiter, whole: bool) -> io::Result<Option<u64>> {
        let Self::Checksum { ignored_header_bytes, lines } = *self else { return Ok(Some(0)) };
        let head = read_at(file, ignored_header_bytes, HEAD_BYTES_MAX)?;
        let mut end = 0;
        for _ in 0..lines {
            match delimiter.find(&head[end..]) {
                Some(at) => end += at + delimiter.len(),
                None if whole || head.len() == HEAD_BYTES_MAX => {
                    end = head.len();
                    break;
                }
                None => return Ok(None),
            }
        }
        Ok(Some(checksum(&head[..end])))
    }
}

/// The checksum of the last bytes before `position`.
pub(crate) fn tail(file: &File, position: u64) -> io::Result<u64> {
    let start = position.saturating_sub(TAIL_BYTES as u64);
    Ok(checksum(&read_at(file, start, (position - start) as usize)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use super::*;

    fn head(config: FingerprintConfig, content: &[u8], whole: bool) -> Option<u64> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        config.head(&file, &Delimiter::byte(b'\n'), whole).unwrap()
    }

    #[test]
    fn only_the_first_lines_count() {
        let first = FingerprintConfig::default();
        assert_eq!(head(first, b"a\nb", false), head(first, b"a\nc\nd\n", false));
        assert_ne!(head(first, b"a\n", false), head(first, b"b\n", false));
        let two = FingerprintConfig::Checksum { ignored_header_bytes: 2, lines: 2 };
        assert_eq!(head(two, b"x\na\nb\nc", false), head(two, b"y\na\nb\nd", false));
    }

    #[test]
    fn a_file_with_fewer_lines_waits_unless_it_is_whole() {
        let first = FingerprintConfig::default();
        assert_eq!(head(first, b"", false), None);
        assert_eq!(head(first, b"half", false), None);
        assert!(head(first, b"half", true).is_some());
        assert!(head(first, &[b'x'; HEAD_BYTES_MAX], false).is_some(), "no line ends within reach");
    }

    #[test]
    fn what_stands_before_a_position_is_compared() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let before = tail(&file, 5).unwrap();
        file.write_all(b"more").unwrap();
        assert_eq!(tail(&file, 5).unwrap(), before);
        assert_ne!(tail(&file, 6).unwrap(), before);
    }
}
