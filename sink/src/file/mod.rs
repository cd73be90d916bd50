//! File: events at the end of files, whose paths may depend on time and event.
//! In: arrays. Out: whole frames, appended; delivered once the operating system has them.
//! Never: holds a worker thread while the disk is slow, leaves half an event in a file, truncates.
//!
//! *Delivered* survives the end of the process. It survives a crash of the machine once the file was closed
//! (after `idle_timeout_secs` without events, or at the end), since only then the disk is asked to have it.
//! Compressed files are made of one gzip member or zstd frame a write, so what was delivered can be read also
//! after a kill, and appending to it is safe.

mod files;
mod template;
mod writer;

use std::path::{Path, PathBuf};
use std::time::Duration;

use afluente_pipeline::Result;
use afluente_pipeline::codecs::compression::{Compression, Compressor};
use afluente_pipeline::codecs::encoding::{EncodingConfig, FramingConfig, StreamEncoder};
use afluente_pipeline::component::{ComponentDescription, ComponentKind, Input, SinkConfig, SinkContext};
use afluente_pipeline::config::AcknowledgementsConfig;
use afluente_pipeline::sink::{Healthcheck, VectorSink};
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::files::{Files, OPEN_FILES_MAX};
use self::template::{Confinement, PathTemplate, Zone};
use self::writer::{FileSink, Writer};
use crate::tally::Tally;

const NAME: &str = "file";

/// Options of the `file` sink.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FileConfig {
    /// Where events go, e.g. `/var/lib/out/{{ user.tenant }}/%Y-%m-%d.ndjson`. Time formats show the event's native
    /// `timestamp`, else when its source took it in. An event without such a field is rejected.
    pub path: String,
    /// The absolute directory that paths must stay in, whatever event fields say (links are followed). Unset: the
    /// directory that stands before the first field and time format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_dir: Option<PathBuf>,
    /// Lets event fields lead a path anywhere. Then whoever writes events chooses which files are written.
    #[serde(default)]
    pub dangerously_allow_unconfined_template_resolution: bool,
    /// Seconds without an event after which a file is put on the disk and closed; 30 by default. However long, at
    /// most 128 files are open at a time.
    #[serde(default = "default_idle_timeout_secs")]
    pub idle_timeout_secs: u64,
    /// How events are written.
    pub encoding: EncodingConfig,
    /// How events are told apart. Unset: a line each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framing: Option<FramingConfig>,
    /// `none` (the default), `gzip` or `zstd`, also as `{algorithm, level}`. Compresses better the more events come
    /// at a time.
    #[serde(default)]
    pub compression: Compression,
    /// The zone of time formats: `UTC` (the default) or `local`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// Not supported: files are only appended to.
    #[serde(default)]
    pub truncate: TruncateOptions,
    /// Options of the sink's metrics.
    #[serde(default)]
    pub internal_metrics: FileInternalMetrics,
    /// Whether sources wait for this sink.
    #[serde(default)]
    pub acknowledgements: AcknowledgementsConfig,
}

/// Known so that their use can be refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TruncateOptions {
    /// Not supported.
    pub after_close_time_secs: Option<u64>,
    /// Not supported.
    pub after_modified_time_secs: Option<u64>,
    /// Not supported.
    pub after_secs: Option<u64>,
}

/// Options of the sink's metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct FileInternalMetrics {
    /// Whether `component_sent_bytes_total` has a label `file`. Each path is a time series of its own, for ever.
    pub include_file_tag: bool,
}

fn default_idle_timeout_secs() -> u64 {
    30
}

/// The options, checked.
struct Settings {
    template: PathTemplate,
    encoder: StreamEncoder,
}

impl FileConfig {
    fn settings(&self) -> std::result::Result<Settings, Vec<String>> {
        let mut errors = Vec::new();
        let mut keep = |error: String| errors.push(error);
        let zone = self.timezone.as_deref().map_or(Ok(Zone::default()), Zone::parse).map_err(&mut keep);
        let confinement = Confinement {
            base_dir: self.base_dir.clone(),
            none: self.dangerously_allow_unconfined_template_resolution,
        };
        let template =
            PathTemplate::new(&self.path, zone.unwrap_or_default(), &confinement).map_err(&mut keep);
        let encoder = StreamEncoder::new(&self.encoding, self.framing.as_ref()).map_err(&mut keep);
        if !matches!(self.compression, Compression::None | Compression::Gzip(_) | Compression::Zstd(_)) {
            keep(format!(
                "`compression: {}` is not possible in files, expected one of `none`, `gzip`, `zstd`",
                self.compression.algorithm()
            ));
        }
        if self.truncate != TruncateOptions::default() {
            keep(
                "`truncate` is not supported: files are only appended to. Leave it out, and put the time into \
                 `path` or rotate the files by other means (a file that was moved is made anew)"
                    .to_owned(),
            );
        }
        match (template, encoder) {
            (Ok(template), Ok(encoder)) if errors.is_empty() => Ok(Settings { template, encoder }),
            _ => Err(errors),
        }
    }
}

#[async_trait]
#[typetag::serde(name = "file")]
impl SinkConfig for FileConfig {
    async fn build(&self, context: SinkContext) -> Result<(VectorSink, Healthcheck)> {
        let Settings { template, encoder } = self.settings().map_err(|errors| errors.join("; "))?;
        let (dir, file) = (template.fixed_dir().to_owned(), template.fixed().map(Path::to_owned));
        let healthcheck = async move {
            tokio::task::spawn_blocking(move || reachable(&dir, file.as_deref())).await??;
            Ok(())
        };
        let writer = Writer {
            template,
            encoder,
            compressor: (!self.compression.is_none())
                .then(|| Compressor::new(self.compression))
                .transpose()?,
            files: Files::new(OPEN_FILES_MAX),
            idle_timeout: Duration::from_secs(self.idle_timeout_secs),
            tally: Tally::new(&context, NAME, NAME),
            include_file_tag: self.internal_metrics.include_file_tag,
        };
        Ok((VectorSink::from_event_streamsink(FileSink::new(writer)), Box::pin(healthcheck)))
    }

    fn input(&self) -> Input {
        Input::log()
    }

    fn acknowledgements(&self) -> &AcknowledgementsConfig {
        &self.acknowledgements
    }

    fn validate_structure(&self) -> std::result::Result<(), Vec<String>> {
        self.settings().map(drop)
    }

    fn notes(&self) -> Vec<String> {
        if self.dangerously_allow_unconfined_template_resolution {
            vec![
                "`dangerously_allow_unconfined_template_resolution` is on: event fields in `path` may choose any file"
                    .to_owned(),
            ]
        } else {
            Vec::new()
        }
    }
}

afluente_pipeline::inventory::submit! {
    ComponentDescription {
        kind: ComponentKind::Sink,
        name: NAME,
        summary: "Files whose paths may depend on time and event.",
        schema: |generator| generator.subschema_for::<FileConfig>(),
    }
}

/// Whether files can probably be written, without making any.
fn reachable(dir: &Path, file: Option<&Path>) -> std::result::Result<(), String> {
    if let Some(file) = file
        && file.exists()
    {
        return match std::fs::OpenOptions::new().append(true).open(file) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{} cannot be appended to: {error}", file.display())),
        };
    }
    let existing = dir.ancestors().find(|dir| dir.exists());
    match existing.map(|dir| (dir, dir.metadata())) {
        Some((dir, Ok(metadata))) if !metadata.is_dir() => {
            Err(format!("{} is not a directory: change `path`", dir.display()))
        }
        Some((dir, Ok(metadata))) if metadata.permissions().readonly() => {
            Err(format!("{} may not be written to: change its rights or `path`", dir.display()))
        }
        Some((dir, Err(error))) => Err(format!("{} cannot be looked at: {error}", dir.display())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
