//! The reading thread: finds files, reads them in turn, notices that they were renamed, truncated, removed.
//! In: globs. Out: chunks of whole lines with the file they came from; it blocks while the pipeline is full.
//! Holds: one incomplete line a file, and a few read buffers for all of them. Never: decodes, settles, moves a position; see `books`.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;

use super::books::{Books, Opened};
use super::config::{Mode, ReadFrom, Settings};
use super::fingerprint::Inode;
use super::positions::FileId;
use super::watched::{Orphan, Step, Watched};
use crate::lines::{Chunk, ReadBuffers};

/// The first pause when nothing is new; doubled up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// The longest pause: how late a line of a quiet file may be. A pause costs one read a file.
const PAUSE_MAX: Duration = Duration::from_millis(50);
/// Searches that a truncated file's content is looked for in copies.
const ORPHAN_SEARCHES: u32 = 10;

/// What was read of one file.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) file: FileId,
    pub(crate) path: Arc<str>,
    pub(crate) what: What,
}

/// What a read brought. An end comes by the same way as the lines before it, so that it cannot overtake them.
#[derive(Debug)]
pub(crate) enum What {
    /// Whole lines.
    Lines(Chunk),
    /// Nothing more is read from the file, which stays where it is.
    Closed,
    /// The file is gone.
    Gone,
}

/// Nobody wants more lines.
struct Stopped;

/// The thread's state.
pub(crate) struct Reader {
    settings: Settings,
    books: Arc<Mutex<Books>>,
    out: mpsc::Sender<Read>,
    stop: Receiver<()>,
    files: Vec<Watched>,
    orphans: Vec<Orphan>,
    buffers: ReadBuffers,
    /// Paths with an error that was told.
    told: HashSet<PathBuf>,
    started: bool,
}

/// The books; a panic elsewhere leaves them usable, since every change is made whole.
pub(crate) fn lock(books: &Mutex<Books>) -> MutexGuard<'_, Books> {
    books.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reader {
    pub(crate) fn new(
        settings: Settings,
        books: Arc<Mutex<Books>>,
        out: mpsc::Sender<Read>,
        stop: Receiver<()>,
    ) -> Self {
        let (files, orphans, told) = (Vec::new(), Vec::new(), HashSet::new());
        Self {
            settings,
            books,
            out,
            stop,
            files,
            orphans,
            buffers: ReadBuffers::default(),
            told,
            started: false,
        }
    }

    /// Reads until there is nothing more to read (`once`) or nobody listens.
    pub(crate) fn run(mut self) {
        let _: Result<(), Stopped> = match self.settings.mode {
            Mode::Tail => self.tail(),
            Mode::Once => self.once(),
        };
    }

    fn tail(&mut self) -> Result<(), Stopped> {
        let mut pause = PAUSE_MIN;
        let mut searched: Option<Instant> = None;
        loop {
            if searched.is_none_or(|searched| searched.elapsed() >= self.settings.cooldown) {
                self.search()?;
                searched = Some(Instant::now());
            }
            pause = if self.round()? { PAUSE_MIN } else { (pause * 2).min(PAUSE_MAX) };
            let pause = if pause == PAUSE_MIN { Duration::ZERO } else { pause };
            // The other end says nothing; it goes away.
            if self.stop.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
                return Err(Stopped);
            }
        }
    }

    fn once(&mut self) -> Result<(), Stopped> {
        let mut found = self.matches();
        if self.settings.oldest_first {
            found.sort_by_key(|(_, metadata)| age(metadata));
        }
        if found.is_empty() {
            tracing::warn!("No file matches `include`.");
        }
        let mut seen = HashSet::new();
        for (path, metadata) in found {
            if !seen.insert(Inode::of(&metadata)) {
                continue;
            }
            let Some(opened) = self.open(&path) else { continue };
            let mut file = self.begin(opened, age(&metadata));
            loop {
                match file.step(&mut self.buffers) {
                    Ok(Step::Read(chunk)) => self.send(&file, chunk)?,
                    Ok(Step::End) => break,
                    Ok(Step::Truncated) => {
                        tracing::warn!(
                            "{} was truncated while it was read: what is left is not read.",
                            file.path()
                        );
                        break;
                    }
                    Err(error) => {
                        let (path, end) = (file.path(), file.end());
                        tracing::error!(
                            "{path} cannot be read after byte {end}: {error}. The rest is left for another run."
                        );
                        break;
                    }
                }
            }
            self.end(&mut file, What::Closed)?;
        }
        Ok(())
    }

    /// Sends the last line of a file that gets no more, and that it is over.
    fn end(&self, file: &mut Watched, what: What) -> Result<(), Stopped> {
        let last = file.take_last();
        self.send(file, last)?;
        let over = Read { file: file.id, path: file.path().clone(), what };
        self.out.blocking_send(over).map_err(|_| Stopped)
    }

    fn send(&self, file: &Watched, chunk: Option<Chunk>) -> Result<(), Stopped> {
        let Some(chunk) = chunk else {
            return if self.out.is_closed() { Err(Stopped) } else { Ok(()) };
        };
        let read = Read { file: file.id, path: file.path().clone(), what: What::Lines(chunk) };
        self.out.blocking_send(read).map_err(|_| Stopped)
    }

    /// Reads each file once (or only the oldest that has something); whether anything was read.
    fn round(&mut self) -> Result<bool, Stopped> {
        let mut any = false;
        let mut index = 0;
        while index < self.files.len() {
            let file = &mut self.files[index];
            match file.step(&mut self.buffers) {
                Ok(Step::Read(chunk)) => {
                    file.told = false;
                    let file = &self.files[index];
                    self.send(file, chunk)?;
                    any = true;
                    if self.settings.oldest_first {
                        break;
                    }
                }
                Ok(Step::End) => {
                    if self.is_over(index)? {
                        continue;
                    }
                }
                Ok(Step::Truncated) => self.truncated(index),
                Err(error) => {
                    if !std::mem::replace(&mut file.told, true) {
                        let (path, end) = (file.path(), file.end());
                        tracing::error!(
                            "{path} cannot be read after byte {end}: {error}. It is tried again."
                        );
                    }
                }
            }
            index += 1;
        }
        Ok(any)
    }

    /// Lets go of a file at its end if nobody will write to it any more, or if it is to be removed.
    fn is_over(&mut self, index: usize) -> Result<bool, Stopped> {
        let file = &self.files[index];
        let quiet = file.last_read.elapsed();
        if file.found {
            let remove = self.settings.remove_after.is_some_and(|after| quiet >= after);
            // Lines that wait for the pipeline are not known to the books yet: so the position is compared, too.
            let settled = || lock(&self.books).positions.is_done_to(file.id, file.end());
            if !remove || file.has_part() || !settled() {
                return Ok(false);
            }
            match fs::remove_file(&**file.path()) {
                Ok(()) => tracing::info!("{} was removed: it is read and settled.", file.path()),
                Err(error) => tracing::error!("{} cannot be removed: {error}.", file.path()),
            }
        } else if quiet < self.settings.rotate_wait {
            return Ok(false);
        }
        let mut file = self.files.swap_remove(index);
        self.sort();
        // An inode without a name can come back as another file.
        let what = if file.is_deleted() { What::Gone } else { What::Closed };
        self.end(&mut file, what)?;
        Ok(true)
    }

    /// The file's content is gone: the inode begins anew.
    fn truncated(&mut self, index: usize) {
        let file = self.files.swap_remove(index);
        tracing::warn!("{} was truncated: it is read from its beginning.", file.path());
        lock(&self.books).truncate(file.id);
        let (path, inode, handle) = (file.path().clone(), file.inode(), file.opened.file.clone());
        let age = file.age;
        self.orphans.push(file.into_orphan());
        // Without a whole line it is found again by the next search.
        if let Ok(Some(head)) = self.head(&handle) {
            let opened = Opened { path, inode, head, file: handle };
            let file = self.begin(opened, age);
            self.files.push(file);
        }
        self.sort();
    }

    fn head(&self, file: &File) -> std::io::Result<Option<u64>> {
        let whole = self.settings.mode == Mode::Once;
        self.settings.fingerprint.head(file, &self.settings.rules.delimiter, whole)
    }

    fn sort(&mut self) {
        if self.settings.oldest_first {
            self.files.sort_by_key(|file| file.age);
        }
    }

    /// Looks for files: new ones are begun, known ones may have another name.
    fn search(&mut self) -> Result<(), Stopped> {
        let mut names: HashMap<Inode, Vec<PathBuf>> = HashMap::new();
        let mut fresh = Vec::new();
        let known: HashSet<_> = self.files.iter().map(Watched::inode).collect();
        for (path, metadata) in self.matches() {
            let inode = Inode::of(&metadata);
            let names = names.entry(inode).or_default();
            if names.is_empty() && !known.contains(&inode) && !self.is_too_old(&metadata) {
                fresh.push((path.clone(), metadata));
            }
            names.push(path);
        }
        for file in &mut self.files {
            let names = names.get(&file.opened.inode);
            file.found = names.is_some();
            if let Some(names) = names
                && !names.iter().any(|name| name.to_string_lossy() == **file.path())
            {
                file.opened.path = names[0].to_string_lossy().into();
                lock(&self.books).rename(file.id, file.opened.path.clone());
            }
        }
        for (path, metadata) in fresh {
            if let Some(opened) = self.open(&path)
                && !self.files.iter().any(|file| file.inode() == opened.inode)
            {
                let file = self.adopt(opened, age(&metadata));
                self.files.push(file);
            }
        }
        self.sort();
        self.started = true;
        self.search_orphans()
    }

    /// Truncated files whose content was not found: their last line has no end.
    fn search_orphans(&mut self) -> Result<(), Stopped> {
        for orphan in &mut self.orphans {
            orphan.searches += 1;
        }
        let (over, left) = std::mem::take(&mut self.orphans)
            .into_iter()
            .partition(|orphan| orphan.searches > ORPHAN_SEARCHES);
        self.orphans = left;
        let over: Vec<Orphan> = over;
        for mut orphan in over {
            for what in orphan.take_last().map(What::Lines).into_iter().chain([What::Gone]) {
                let read = Read { file: orphan.id, path: orphan.opened.path.clone(), what };
                self.out.blocking_send(read).map_err(|_| Stopped)?;
            }
        }
        Ok(())
    }

    /// Begins a new file, or goes on with a truncated one whose content it holds.
    fn adopt(&mut self, opened: Opened, age: SystemTime) -> Watched {
        let Some(index) = self.orphans.iter().position(|orphan| orphan.is_in(&opened)) else {
            return self.begin(opened, age);
        };
        let orphan = self.orphans.swap_remove(index);
        tracing::info!(
            "{} holds what was in {}: it is read from byte {} on.",
            opened.path,
            orphan.opened.path,
            orphan.position()
        );
        lock(&self.books).found_again(orphan.id, opened.clone());
        Watched::new(orphan.id, opened, orphan.position(), self.settings.rules.clone(), age)
    }

    fn begin(&self, opened: Opened, age: SystemTime) -> Watched {
        let at_end = self.settings.read_from == ReadFrom::End && !self.started;
        let otherwise = if at_end { opened.file.metadata().map_or(0, |metadata| metadata.len()) } else { 0 };
        let (id, position) = lock(&self.books).open(opened.clone(), otherwise);
        tracing::info!("{} is read from byte {position} on.", opened.path);
        Watched::new(id, opened, position, self.settings.rules.clone(), age)
    }

    /// Opens a file that was found; `None` if it cannot be read, or has too little to be known by.
    fn open(&mut self, path: &Path) -> Option<Opened> {
        let opened = File::open(path).and_then(|file| {
            let inode = Inode::of(&file.metadata()?);
            let head = self.head(&file)?;
            Ok((inode, head, file))
        });
        match opened {
            Ok((inode, head, file)) => {
                self.told.remove(path);
                let path = path.to_string_lossy().into();
                Some(Opened { path, inode, head: head?, file: Arc::new(file) })
            }
            Err(error) => {
                let not_found = error.kind() == std::io::ErrorKind::NotFound;
                if !(not_found && self.settings.ignore_not_found) && self.told.insert(path.to_owned()) {
                    tracing::error!("{} cannot be read: {error}. It is tried again.", path.display());
                }
                None
            }
        }
    }

    fn is_too_old(&self, metadata: &fs::Metadata) -> bool {
        let quiet = || metadata.modified().ok()?.elapsed().ok();
        self.settings.ignore_older.is_some_and(|limit| quiet().is_some_and(|quiet| quiet > limit))
    }

    /// The files that match now, by pattern and then by name; a file may come under several names.
    fn matches(&mut self) -> Vec<(PathBuf, fs::Metadata)> {
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        for pattern in &self.settings.include {
            for path in glob::glob(pattern).into_iter().flatten() {
                let path = match path {
                    Ok(path) => path,
                    Err(error) => {
                        if self.told.insert(error.path().to_owned()) {
                            let reason = error.error();
                            tracing::error!("{} cannot be searched: {reason}.", error.path().display());
                        }
                        continue;
                    }
                };
                if self.settings.exclude.iter().any(|exclude| exclude.matches_path(&path)) {
                    continue;
                }
                if let Ok(metadata) = fs::metadata(&path)
                    && metadata.is_file()
                    && seen.insert(path.clone())
                {
                    found.push((path, metadata));
                }
            }
        }
        if self.settings.mode == Mode::Once {
            found.retain(|(_, metadata)| !self.is_too_old(metadata));
        }
        found
    }
}

/// When a file was made, or changed where that is not known.
fn age(metadata: &fs::Metadata) -> SystemTime {
    metadata.created().or_else(|_| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
}
