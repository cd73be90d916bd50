//! Checkpoints: positions on disk, in `data_dir/<source id>/checkpoints.json`.
//! In: a list of checkpoints. Out: the same list after a crash at any moment: the old or the new one, never a mixture.
//! Never: decides what a position is; see `positions` and `books`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::fingerprint::Inode;

const VERSION: u32 = 1;

/// Up to where one file is settled, and how to know the file again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// Where it was last found; tells a reader which file it is.
    pub(crate) path: String,
    #[serde(flatten)]
    pub(crate) inode: Inode,
    /// Checksum of the first lines; zero where files are known by their inode.
    #[serde(with = "hex")]
    pub(crate) head: u64,
    /// Checksum of what stands before `position`.
    #[serde(with = "hex")]
    pub(crate) tail: u64,
    pub(crate) position: u64,
    /// When the position last moved, in seconds since 1970.
    pub(crate) moved: u64,
}

/// 64 bits as text: JSON numbers do not hold them everywhere.
mod hex {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{value:016x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map_err(serde::de::Error::custom)
    }
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    files: Vec<Checkpoint>,
}

/// Where the checkpoints of one source are kept.
#[derive(Clone, Debug)]
pub(crate) struct CheckpointFile {
    path: PathBuf,
}

impl CheckpointFile {
    /// The file for the source `id`; makes the source's folder.
    ///
    /// # Errors
    /// When `data_dir` is not there or cannot be written to.
    pub(crate) fn open(data_dir: &Path, id: &str) -> Result<Self, String> {
        if !data_dir.is_dir() {
            return Err(format!(
                "the data directory {} does not exist: create it, or set `data_dir`",
                data_dir.display()
            ));
        }
        let folder = data_dir.join(id);
        fs::create_dir_all(&folder)
            .map_err(|error| format!("the folder {} cannot be made: {error}", folder.display()))?;
        Ok(Self { path: folder.join("checkpoints.json") })
    }

    /// What was written last; nothing if there is no file.
    ///
    /// # Errors
    /// When the file is there and cannot be read. It is not overwritten: that would read everything again.
    pub(crate) fn load(&self) -> Result<Vec<Checkpoint>, String> {
        let fail = |reason: String| {
            let path = self.path.display();
            Err(format!(
                "the checkpoints in {path} cannot be read: {reason}; move the file away to begin anew"
            ))
        };
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return fail(error.to_string()),
        };
        match serde_json::from_slice::<Document>(&text) {
            Ok(document) if document.version == VERSION => Ok(document.files),
            Ok(document) => {
                fail(format!("version {} is not {VERSION}, which this program writes", document.version))
            }
            Err(error) => fail(error.to_string()),
        }
    }

    /// Replaces what was written before; on the disk when it returns.
    pub(crate) fn write(&self, files: Vec<Checkpoint>) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(&Document { version: VERSION, files })?;
        let new = self.path.with_extension("json.new");
        let mut file = File::create(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        match self.path.parent() {
            // The rename itself is on the disk when the folder is.
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_what_cannot_be_read_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = CheckpointFile::open(folder.path(), "in").unwrap();
        assert_eq!(file.load().unwrap(), []);
        let checkpoint = Checkpoint {
            path: "/var/log/a".to_owned(),
            inode: Inode { device: 1, inode: 2 },
            head: u64::MAX,
            tail: 3,
            position: 4,
            moved: 5,
        };
        file.write(vec![checkpoint.clone()]).unwrap();
        assert_eq!(file.load().unwrap(), [checkpoint]);
        fs::write(&file.path, "{").unwrap();
        assert!(file.load().unwrap_err().contains("move the file away"));
    }

    #[test]
    fn a_data_directory_that_is_not_there_is_told() {
        let error = CheckpointFile::open(Path::new("/nowhere/at/all"), "in").unwrap_err();
        assert!(error.contains("/nowhere/at/all does not exist: create it"), "{error}");
    }
}
