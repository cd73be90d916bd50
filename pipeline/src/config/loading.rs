//! Loading: which files a configuration is made of, and reading them.
//! In: paths and globs of the command line, or a text. Out: a checked configuration.
//! Never: keeps a file open, or shows what is in one.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::builder;
use super::document::Document;
use super::error::{ConfigError, ConfigWarning, Place, Trail};
use super::graph::section;
use super::tree::{FILE_BYTES_MAX, Format};
use super::{Config, ProxyConfig};
use crate::component::{ComponentKind, TransformConfig};

/// Deepest sub-folder of `transforms/` that is looked into; guards against links in a ring.
const FOLDERS_DEEP_MAX: usize = 16;

/// One way in, as given on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigPath {
    /// A file or a glob (`-c`).
    File {
        /// The file or glob.
        path: PathBuf,
        /// The format; `None` is by extension, TOML for an unknown one.
        format: Option<Format>,
    },
    /// A directory (`-C`).
    Dir(PathBuf),
}

/// How to load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadOptions {
    /// Whether `${NAME}` is replaced. On by default, as in Vector before 0.57.
    pub interpolate: bool,
    /// Whether a configuration without sources or without sinks is fine.
    pub allow_empty: bool,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { interpolate: true, allow_empty: false }
    }
}

/// A checked configuration and what is odd about it.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is probably not meant, or has no effect.
    pub warnings: Vec<ConfigWarning>,
}

/// One transform by itself and what is odd about it.
#[derive(Clone, Debug)]
pub struct LoadedTransform {
    /// The transform.
    pub transform: Box<dyn TransformConfig>,
    /// What is probably not meant, or has no effect.
    pub warnings: Vec<ConfigWarning>,
}

/// Loads `paths`. `env` looks environment variables up; `HOSTNAME` is supplied if it does not know it.
///
/// # Errors
/// All mistakes of all stages that could still be judged.
pub fn load(paths: &[ConfigPath], env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Vec<ConfigError>> {
    load_with(paths, env, &LoadOptions::default())
}

/// As [`load`], with options.
///
/// # Errors
/// All mistakes of all stages that could still be judged.
pub fn load_with(
    paths: &[ConfigPath],
    env: &dyn Fn(&str) -> Option<String>,
    options: &LoadOptions,
) -> Result<Loaded, Vec<ConfigError>> {
    let mut errors = Vec::new();
    if paths.is_empty() {
        errors.push(problem(None, "No configuration file was given."));
    }
    let mut files = BTreeMap::new();
    let mut documents = Vec::new();
    for path in paths {
        match path {
            ConfigPath::File { path, format } => {
                for file in expand(path, &mut errors) {
                    files.entry(file).or_insert(*format);
                }
            }
            ConfigPath::Dir(path) => documents.push(read_dir(path, &mut errors)),
        }
    }
    for (path, format) in files {
        let format = format.or_else(|| Format::from_path(&path)).unwrap_or(Format::Toml);
        let mut document = Document::default();
        add_file(&mut document, path, format, Trail::default(), &mut errors);
        documents.push(document);
    }
    finish(documents, errors, env, options)
}

/// Loads one text.
///
/// # Errors
/// All mistakes of all stages that could still be judged.
pub fn load_from_str(
    text: &str,
    format: Format,
    env: &dyn Fn(&str) -> Option<String>,
    options: &LoadOptions,
) -> Result<Loaded, Vec<ConfigError>> {
    let mut errors = Vec::new();
    let mut document = Document::default();
    document.add(None, text.to_owned(), format, Trail::default(), &mut errors);
    finish(vec![document], errors, env, options)
}

/// Loads a text that holds the options of one transform and nothing else. `inputs` is allowed and ignored;
/// `default_type` stands in for a missing `type`.
///
/// # Errors
/// All mistakes.
pub fn load_transform_from_str(
    text: &str,
    format: Format,
    env: &dyn Fn(&str) -> Option<String>,
    options: &LoadOptions,
    default_type: Option<&str>,
) -> Result<LoadedTransform, Vec<ConfigError>> {
    let mut errors = Vec::new();
    let mut document = Document::default();
    document.add(None, text.to_owned(), format, Trail::default(), &mut errors);
    if !errors.is_empty() {
        return Err(errors);
    }
    let lookup = with_hostname(env);
    document.interpolate(options.interpolate.then_some(&lookup), &mut errors);
    builder::build_transform(&document, errors, default_type)
}

fn finish(
    mut documents: Vec<Document>,
    mut errors: Vec<ConfigError>,
    env: &dyn Fn(&str) -> Option<String>,
    options: &LoadOptions,
) -> Result<Loaded, Vec<ConfigError>> {
    let incomplete = !errors.is_empty();
    let lookup = with_hostname(env);
    for document in &mut documents {
        document.interpolate(options.interpolate.then_some(&lookup), &mut errors);
    }
    builder::build(&documents, errors, incomplete, &ProxyConfig::from_lookup(env), options)
}

fn with_hostname(env: &dyn Fn(&str) -> Option<String>) -> impl Fn(&str) -> Option<String> {
    move |name| env(name).or_else(|| if name == "HOSTNAME" { hostname() } else { None })
}

/// The host's name where the kernel or the system says it in a file (Linux).
fn hostname() -> Option<String> {
    ["/proc/sys/kernel/hostname", "/etc/hostname"]
        .into_iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .map(|name| name.trim().to_owned())
        .find(|name| !name.is_empty())
}

fn problem(file: Option<PathBuf>, message: impl Into<String>) -> ConfigError {
    ConfigError { place: Place { file, ..Place::default() }, message: message.into(), hint: None }
}

/// The files that a `-c` means.
fn expand(path: &Path, errors: &mut Vec<ConfigError>) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let mut refuse = |message: String| {
        errors.push(problem(None, message));
        Vec::new()
    };
    if path.is_dir() {
        return refuse(format!("{} is a directory; give it with `-C`.", path.display()));
    }
    let Some(pattern) = path.to_str() else {
        return refuse(format!("Config file not found in path. path={path:?}"));
    };
    match glob::glob(pattern) {
        Err(error) => refuse(format!("{pattern:?} is neither a file nor a glob: {error}")),
        Ok(found) => {
            // What a glob cannot look into is told below if nothing else matches.
            let mut files: Vec<_> = found.flatten().filter(|path| path.is_file()).collect();
            files.sort();
            if files.is_empty() {
                return refuse(format!("Config file not found in path. path={path:?}"));
            }
            files
        }
    }
}

fn add_file(
    document: &mut Document,
    path: PathBuf,
    format: Format,
    mount: Trail,
    errors: &mut Vec<ConfigError>,
) {
    match read_file(&path) {
        Ok(text) => document.add(Some(path), text, format, mount, errors),
        Err(message) => errors.push(problem(Some(path), message)),
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    let file = fs::File::open(path).map_err(|error| format!("cannot be opened: {error}"))?;
    let mut bytes = Vec::new();
    let limit = FILE_BYTES_MAX as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(|error| format!("cannot be read: {error}"))?;
    String::from_utf8(bytes).map_err(|error| {
        format!("is not UTF-8 text: the byte at position {} is wrong", error.utf8_error().valid_up_to())
    })
}

/// One directory: files at its root are merged; files in `sources/`, `transforms/` and `sinks/` are components named by
/// their stem.
fn read_dir(path: &Path, errors: &mut Vec<ConfigError>) -> Document {
    let mut document = Document::default();
    let root = entries(path, errors);
    for (file, format) in &root.files {
        add_file(&mut document, file.clone(), *format, Trail::default(), errors);
    }
    for kind in [ComponentKind::Source, ComponentKind::Transform, ComponentKind::Sink] {
        let folder = path.join(section(kind));
        if !folder.is_dir() {
            continue;
        }
        let mut files = Vec::new();
        let deep = if kind == ComponentKind::Transform { FOLDERS_DEEP_MAX } else { 0 };
        collect(&folder, deep, &mut files, errors);
        let mut seen: BTreeMap<String, PathBuf> = BTreeMap::new();
        for (file, format) in files {
            let Some(id) = file.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned) else {
                errors.push(problem(Some(file), "the name of the file is not UTF-8 text"));
                continue;
            };
            if let Some(other) = seen.insert(id.clone(), file.clone()) {
                let message = format!("duplicate {} id found: {id}", kind.as_str());
                let hint = Some(format!("it is also {}", other.display()));
                errors.push(ConfigError { hint, ..problem(Some(file), message) });
                continue;
            }
            add_file(&mut document, file, format, Trail::of(&[section(kind), &id]), errors);
        }
    }
    for (folder, meaning) in [("tests", "unit tests"), ("enrichment_tables", "enrichment tables")] {
        let folder = path.join(folder);
        if folder.is_dir() && !entries(&folder, errors).files.is_empty() {
            errors.push(problem(Some(folder), format!("{meaning} are not supported; move the folder away")));
        }
    }
    if root.files.is_empty() && document.tree.is_empty() && errors.is_empty() {
        errors.push(problem(None, format!("Config file not found in path. path={path:?}")));
    }
    document
}

#[derive(Default)]
struct Entries {
    files: Vec<(PathBuf, Format)>,
    folders: Vec<PathBuf>,
}

/// What is in a folder and has a known extension, sorted by name; dot names are skipped.
fn entries(folder: &Path, errors: &mut Vec<ConfigError>) -> Entries {
    let mut found = Entries::default();
    let listing = match fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) => {
            errors.push(problem(None, format!("Could not read config dir: {folder:?}, {error}.")));
            return found;
        }
    };
    let mut paths = Vec::new();
    for entry in listing {
        match entry {
            Ok(entry) => paths.push(entry.path()),
            Err(error) => {
                errors
                    .push(problem(None, format!("Could not read entry in config dir: {folder:?}, {error}.")));
            }
        }
    }
    paths.sort();
    for path in paths {
        let dot = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if dot {
            continue;
        }
        if path.is_dir() {
            found.folders.push(path);
        } else if let Some(format) = Format::from_path(&path) {
            found.files.push((path, format));
        }
    }
    found
}

fn collect(folder: &Path, deep: usize, files: &mut Vec<(PathBuf, Format)>, errors: &mut Vec<ConfigError>) {
    let found = entries(folder, errors);
    files.extend(found.files);
    if deep > 0 {
        for folder in found.folders {
            collect(&folder, deep - 1, files, errors);
        }
    }
}
