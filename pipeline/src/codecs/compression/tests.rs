//! Tests of the file above: the option tables, and properties on generated input.

#![allow(clippy::unwrap_used)]

use std::io::Read;

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn read(options: serde_json::Value) -> Result<Compression, String> {
    serde_json::from_value(options).map_err(|error| error.to_string())
}

fn expand(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match compression {
        Compression::None => out.extend_from_slice(bytes),
        Compression::Gzip(_) => {
            flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut out).unwrap();
        }
        Compression::Zlib(_) => {
            flate2::read::ZlibDecoder::new(bytes).read_to_end(&mut out).unwrap();
        }
        Compression::Zstd(_) => out = zstd::stream::decode_all(bytes).unwrap(),
        Compression::Snappy => out = snap::raw::Decoder::new().decompress_vec(bytes).unwrap(),
    }
    out
}

#[test]
fn words_and_maps_read_as_in_vector() {
    use CompressionLevel::{Best, Default, Fast, Level, None};
    for (options, expected) in [
        (json!("none"), Compression::None),
        (json!("gzip"), Compression::Gzip(Default)),
        (json!("zlib"), Compression::Zlib(Default)),
        (json!("zstd"), Compression::Zstd(Default)),
        (json!("snappy"), Compression::Snappy),
        (json!({"algorithm": "none"}), Compression::None),
        (json!({"algorithm": "gzip"}), Compression::Gzip(Default)),
        (json!({"algorithm": "gzip", "level": null}), Compression::Gzip(Default)),
        (json!({"algorithm": "gzip", "level": "best"}), Compression::Gzip(Best)),
        (json!({"algorithm": "zlib", "level": "none"}), Compression::Zlib(None)),
        (json!({"algorithm": "zstd", "level": "fast"}), Compression::Zstd(Fast)),
        (json!({"level": 9, "algorithm": "gzip"}), Compression::Gzip(Level(9))),
        (json!({"algorithm": "zstd", "level": 21}), Compression::Zstd(Level(21))),
        (json!({"algorithm": "zstd", "level": "7"}), Compression::Zstd(Level(7))),
    ] {
        let compression = read(options.clone()).unwrap();
        assert_eq!(compression, expected, "{options}");
        assert_eq!(read(serde_json::to_value(compression).unwrap()).unwrap(), expected, "{options}");
    }
}

#[test]
fn mistakes_name_the_value_and_the_bound() {
    for (options, expected) in [
        (json!({"algorithm": "zstd", "level": 22}), "invalid value `22`, expected value in range [0, 21]"),
        (json!({"algorithm": "gzip", "level": 10}), "invalid value `10`, expected value in range [0, 9]"),
        (json!({"algorithm": "zlib", "level": 100_000_000_000_u64}), "expected value in range [0, 9]"),
        (
            json!({"algorithm": "gzip", "level": -1}),
            "expected `none`, `fast`, `default`, `best`, or a whole number",
        ),
        (json!({"algorithm": "gzip", "level": "more"}), "invalid value: string \"more\""),
        (json!({"algorithm": "snappy", "level": 1}), "compression `snappy` has no `level`"),
        (json!({"algorithm": "none", "level": 1}), "compression `none` has no `level`"),
        (json!("lz4"), "unknown variant `lz4`, expected one of `none`, `gzip`, `zlib`, `zstd`, `snappy`"),
        (json!({"level": 1}), "missing field `algorithm`"),
        (json!({"algorithm": "gzip", "lvl": 1}), "unknown field `lvl`"),
        (json!(7), "a compression such as `gzip`"),
    ] {
        let error = read(options.clone()).unwrap_err();
        assert!(error.contains(expected), "{options}: {error}");
    }
}

#[test]
fn yaml_and_toml_read_the_same() {
    let yaml: Compression = serde_yaml_ng::from_str("{algorithm: gzip, level: 6}").unwrap();
    let toml: std::collections::HashMap<String, Compression> =
        toml::from_str("compression = { algorithm = \"gzip\", level = 6 }").unwrap();
    assert_eq!(yaml, Compression::Gzip(CompressionLevel::Level(6)));
    assert_eq!(toml["compression"], yaml);
}

#[test]
fn nothing_is_copied_without_compression() {
    let payload = Bytes::from_static(b"payload");
    let out = Compression::None.compress(payload.clone()).unwrap();
    assert_eq!(out.as_ptr(), payload.as_ptr());
}

#[test]
fn payloads_of_one_compressor_are_readable_alone_and_do_not_depend_on_each_other() {
    let payload = b"{\"user\":\"a\",\"segments\":[\"s1\",\"s1\",\"s1\",\"s1\",\"s1\",\"s1\"]}".repeat(20);
    for word in ALGORITHMS {
        let compression = read(json!(word)).unwrap();
        let mut compressor = compression.compressor().unwrap();
        let first = compressor.compress(Bytes::from(payload.clone())).unwrap();
        let other = compressor.compress(Bytes::from_static(b"something else")).unwrap();
        let again = compressor.compress(Bytes::from(payload.clone())).unwrap();
        assert_eq!(first, again, "{word}");
        assert_eq!(expand(compression, &other), b"something else", "{word}");
        assert_eq!(expand(compression, &first), payload, "{word}");
        assert!(compression.is_none() || first.len() * 4 < payload.len(), "{word}: {} bytes", first.len());
    }
}

#[test]
fn gzip_members_written_after_each_other_read_as_one() {
    let compression = Compression::Gzip(CompressionLevel::Default);
    let mut compressor = compression.compressor().unwrap();
    let mut file = Vec::new();
    compressor.compress_to(b"one\n", &mut file).unwrap();
    compressor.compress_to(b"", &mut file).unwrap();
    compressor.compress_to(b"two\n", &mut file).unwrap();
    assert_eq!(expand(compression, &file), b"one\ntwo\n");
}

fn any_compression() -> impl Strategy<Value = Compression> {
    use CompressionLevel::{Best, Default, Fast, Level, None};
    prop_oneof![
        prop::sample::select(vec![None, Fast, Default, Best, Level(0), Level(4)]).prop_map(Compression::Gzip),
        prop::sample::select(vec![None, Fast, Default, Best, Level(0), Level(4)]).prop_map(Compression::Zlib),
        // The highest levels of zstd take long to set up and are no other code.
        prop::sample::select(vec![None, Fast, Default, Level(0), Level(7)]).prop_map(Compression::Zstd),
        Just(Compression::Snappy),
        Just(Compression::None),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_was_compressed_can_be_read_again(
        compression in any_compression(),
        payloads in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..3000),
                "[ab]{0,3000}".prop_map(String::into_bytes),
            ],
            1..4,
        ),
    ) {
        let mut compressor = compression.compressor().unwrap();
        for payload in payloads {
            let mut out = b"kept".to_vec();
            compressor.compress_to(&payload, &mut out).unwrap();
            prop_assert_eq!(&out[..4], b"kept");
            prop_assert_eq!(expand(compression, &out[4..]), payload);
        }
    }
}
