//! The sources of Afluente: where events come from.
//! In: standard input, files, HTTP requests, a seeded generator. Out: arrays of events that keep their bytes.
//! Never: looks into a record beyond what its codec asks for, cuts a record, puts one into a log.
//!
//! One file or folder a source. They share how lines are found (`lines`), how lines become arrays (`intake`) and
//! how what is no event is counted and told (`faults`).

#![forbid(unsafe_code)]

#[doc(hidden)]
pub mod bench;
pub mod demo_profiles;
mod faults;
pub mod file;
pub mod http_server;
mod intake;
mod lines;
mod stdin;
#[cfg(test)]
mod testing;

pub use demo_profiles::{DemoProfiles, DemoProfilesConfig, DemoProfilesOptions};
pub use file::FileConfig;
pub use http_server::HttpServerConfig;
pub use stdin::StdinConfig;

/// The longest line by default: 1 MiB, the record limit of a stream that was not raised. Vector's 102,400 would
/// refuse profiles that Kinesis takes. It bounds what one line without an end can hold in memory.
pub const LINE_BYTES_MAX_DEFAULT: usize = 1024 * 1024;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use afluente_pipeline::component::{ComponentKind, SourceConfig, component_descriptions};
    use schemars::SchemaGenerator;

    #[test]
    fn every_source_is_registered_with_a_schema_that_has_its_options() {
        let sources = component_descriptions();
        let sources = sources.iter().filter(|description| description.kind == ComponentKind::Source);
        let options = sources.map(|description| {
            let mut generator = SchemaGenerator::default();
            (description.schema)(&mut generator);
            let definitions = serde_json::to_string(generator.definitions()).unwrap();
            assert!(definitions.contains(r#""decoding""#), "{}: {definitions}", description.name);
            description.name
        });
        assert_eq!(options.collect::<Vec<_>>(), ["demo_profiles", "file", "http", "http_server", "stdin"]);
    }

    #[test]
    fn stanzas_written_for_vector_are_read_as_they_are() {
        for stanza in [
            r#"{"type":"stdin","max_length":102400,"host_key":"host","framing":{"method":"newline_delimited"},"decoding":{"codec":"bytes"}}"#,
            r#"{"type":"file","include":["/var/log/*.log"],"exclude":[],"read_from":"end","ignore_older_secs":600,
                "max_line_bytes":102400,"max_read_bytes":2048,"glob_minimum_cooldown_ms":1000,"oldest_first":false,
                "fingerprint":{"strategy":"checksum","ignored_header_bytes":0,"lines":1},"line_delimiter":"\n",
                "remove_after_secs":30,"file_key":"file","host_key":"host","offset_key":"offset","data_dir":"/tmp"}"#,
            r#"{"type":"http_server","address":"0.0.0.0:8080","path":"/","strict_path":true,"method":"post",
                "response_code":200,"path_key":"path","headers":["User-Agent"],"query_parameters":["app*"],
                "auth":{"strategy":"basic","username":"a","password":"b"},"tls":{"enabled":false},
                "framing":{"method":"newline_delimited"},"decoding":{"codec":"json"},
                "keepalive":{"max_connection_age_secs":300,"max_connection_age_jitter_factor":0.1}}"#,
            r#"{"type":"http","address":"127.0.0.1:80","decoding":{"codec":"json","json":{"lossy":false}}}"#,
        ] {
            let config: Box<dyn SourceConfig> = serde_json::from_str(stanza).unwrap();
            assert_eq!(config.validate_structure(), Ok(()), "{stanza}");
        }
    }
}
