//! Loading: from the command line's idea of where the configuration is to a checked one.
//! In: paths and globs. Out: a configuration; or one line for each mistake on standard error.
//! Holds: nothing. The mistakes themselves are found in `pipeline::config`.

use std::ffi::OsString;
use std::path::PathBuf;

use afluente::pipeline::config::{ConfigError, ConfigPath, ConfigWarning, Format, Loaded, load};

use crate::cli::ConfigArgs;
use crate::exit::{Exit, tell};

/// Variables of the environment for `${NAME}`; one that is not text counts as unset.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl ConfigArgs {
    /// All ways in, in Vector's order.
    fn paths(&self) -> Vec<ConfigPath> {
        let files = |paths: &[PathBuf], format: Option<Format>| {
            paths.iter().map(|path| ConfigPath::File { path: path.clone(), format }).collect::<Vec<_>>()
        };
        let mut all = files(&self.config, None);
        all.extend(files(&self.config_toml, Some(Format::Toml)));
        all.extend(files(&self.config_json, Some(Format::Json)));
        all.extend(files(&self.config_yaml, Some(Format::Yaml)));
        all.extend(self.config_dir.iter().cloned().map(ConfigPath::Dir));
        all
    }

    /// The same as arguments, for another process.
    pub(crate) fn as_args(&self) -> Vec<OsString> {
        let ways = [
            ("--config", &self.config),
            ("--config-dir", &self.config_dir),
            ("--config-yaml", &self.config_yaml),
            ("--config-toml", &self.config_toml),
            ("--config-json", &self.config_json),
        ];
        let each = |(name, paths): (&str, &Vec<PathBuf>)| {
            paths.iter().flat_map(|path| [name.into(), path.into()]).collect::<Vec<_>>()
        };
        ways.into_iter().flat_map(each).collect()
    }

    /// What was given, for reports: `["a.yaml", "b.yaml"]`.
    pub(crate) fn names(&self) -> String {
        let names: Vec<_> = self
            .paths()
            .iter()
            .map(|path| match path {
                ConfigPath::File { path, .. } | ConfigPath::Dir(path) => path.display().to_string(),
            })
            .collect();
        format!("{names:?}")
    }

    /// Whether nothing was given.
    pub(crate) fn is_empty(&self) -> bool {
        self.paths().is_empty()
    }

    /// Loads and checks everything that was given.
    ///
    /// # Errors
    /// All mistakes.
    pub(crate) fn load(&self) -> Result<Loaded, Vec<ConfigError>> {
        if self.is_empty() {
            return Err(vec![ConfigError {
                place: Default::default(),
                message: "No configuration file was given.".to_owned(),
                hint: Some("name one with `-c FILE`, or a directory with `-C DIR`".to_owned()),
            }]);
        }
        load(&self.paths(), &variable)
    }

    /// As [`ConfigArgs::load`]; warnings and mistakes are told on standard error.
    ///
    /// # Errors
    /// The exit for a wrong configuration.
    pub(crate) fn load_or_tell(&self) -> Result<Loaded, Exit> {
        match self.load() {
            Ok(loaded) => {
                loaded.warnings.iter().for_each(|warning| tell(warning_line(warning)));
                Ok(loaded)
            }
            Err(errors) => {
                errors.iter().for_each(|error| tell(error_line(error)));
                Err(Exit::Config)
            }
        }
    }
}

/// `x sinks.out: …`
pub(crate) fn error_line(error: &ConfigError) -> String {
    format!("x {error}")
}

/// `~ …`
pub(crate) fn warning_line(warning: &ConfigWarning) -> String {
    format!("~ {warning}")
}
