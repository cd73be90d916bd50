//! Compression: bytes of one record or one request body, made smaller in Vector's `compression` options.
//! In: whole payloads. Out: whole gzip members, zlib streams, zstd frames or snappy blocks.
//! Holds: a [`Compressor`] keeps its tables from payload to payload, so one a worker, not one a payload.
//! Never: keeps a byte of one payload for the next, so each can be read alone.

use std::fmt;
use std::io;

use bytes::Bytes;
use flate2::{Compress, Crc, FlushCompress, Status};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[cfg(test)]
mod tests;

/// Highest level of gzip and zlib.
const DEFLATE_LEVEL_MAX: u32 = 9;
/// Highest level of zstd that is accepted, as in Vector (the library itself goes to 22).
const ZSTD_LEVEL_MAX: u32 = 21;
/// What a number that no algorithm takes is compared with first, before the algorithm is known.
const LEVEL_WORDS: &str = "`none`, `fast`, `default`, `best`, or a whole number";
const ALGORITHMS: &[&str] = &["none", "gzip", "zlib", "zstd", "snappy"];

/// How much work is done for smaller output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CompressionLevel {
    /// gzip and zlib: stored, not compressed. zstd: as `default`.
    None,
    /// The least work.
    Fast,
    /// 6 for gzip and zlib, 3 for zstd.
    #[default]
    Default,
    /// The most work.
    Best,
    /// A number: 0 to 9 for gzip and zlib, 0 to 21 for zstd (0 is zstd's own default there).
    Level(u32),
}

impl CompressionLevel {
    fn deflate(self) -> flate2::Compression {
        match self {
            Self::None => flate2::Compression::none(),
            Self::Fast => flate2::Compression::fast(),
            Self::Default => flate2::Compression::default(),
            Self::Best => flate2::Compression::best(),
            Self::Level(level) => flate2::Compression::new(level.min(DEFLATE_LEVEL_MAX)),
        }
    }

    fn zstd(self) -> i32 {
        match self {
            Self::None => 0,
            Self::Fast => 1,
            Self::Default => zstd::DEFAULT_COMPRESSION_LEVEL,
            Self::Best => ZSTD_LEVEL_MAX as i32,
            Self::Level(level) => level.min(ZSTD_LEVEL_MAX) as i32,
        }
    }
}

/// Whether and how payloads are compressed: a word, or `{algorithm, level}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip, one member a payload.
    Gzip(CompressionLevel),
    /// zlib.
    Zlib(CompressionLevel),
    /// Zstandard, one frame a payload.
    Zstd(CompressionLevel),
    /// Snappy's block format.
    Snappy,
}

impl Compression {
    /// The word in a configuration.
    #[must_use]
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip(_) => "gzip",
            Self::Zlib(_) => "zlib",
            Self::Zstd(_) => "zstd",
            Self::Snappy => "snappy",
        }
    }

    /// Whether payloads stay as they are.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// The value of an HTTP `Content-Encoding` header; nothing if payloads stay as they are.
    #[must_use]
    pub fn content_encoding(&self) -> Option<&'static str> {
        match self {
            Self::None => None,
            // HTTP names the zlib format so.
            Self::Zlib(_) => Some("deflate"),
            other => Some(other.algorithm()),
        }
    }

    /// A compressor of this kind.
    ///
    /// # Errors
    /// No memory for its tables.
    pub fn compressor(&self) -> io::Result<Compressor> {
        Compressor::new(*self)
    }

    /// Compresses one payload with a compressor of its own. For many, keep a [`Compressor`].
    ///
    /// # Errors
    /// As [`Compressor::compress`].
    pub fn compress(&self, payload: Bytes) -> io::Result<Bytes> {
        self.compressor()?.compress(payload)
    }

    fn new(algorithm: &str, level: Option<CompressionLevel>) -> Result<Self, String> {
        let checked = |max: u32| match level {
            Some(CompressionLevel::Level(number)) if number > max => {
                Err(format!("invalid value `{number}`, expected value in range [0, {max}]"))
            }
            other => Ok(other.unwrap_or_default()),
        };
        let without = |kind: Self| match level {
            Some(_) => Err(format!("compression `{algorithm}` has no `level`: leave it out")),
            None => Ok(kind),
        };
        match algorithm {
            "none" => without(Self::None),
            "snappy" => without(Self::Snappy),
            "gzip" => checked(DEFLATE_LEVEL_MAX).map(Self::Gzip),
            "zlib" => checked(DEFLATE_LEVEL_MAX).map(Self::Zlib),
            "zstd" => checked(ZSTD_LEVEL_MAX).map(Self::Zstd),
            other => Err(format!("unknown variant `{other}`, expected one of `{}`", ALGORITHMS.join("`, `"))),
        }
    }
}

/// Compresses payload after payload, each readable alone.
pub struct Compressor(Kind);

enum Kind {
    None,
    Deflate { tables: Box<Compress>, wrapper: Wrapper },
    Zstd(Box<zstd::bulk::Compressor<'static>>),
    Snappy(Box<snap::raw::Encoder>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrapper {
    Gzip,
    Zlib,
}

/// RFC 1952: magic, deflate, no flags, no time, no hint, unknown system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

impl fmt::Debug for Compressor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match &self.0 {
            Kind::None => "Compressor(none)",
            Kind::Deflate { wrapper: Wrapper::Gzip, .. } => "Compressor(gzip)",
            Kind::Deflate { wrapper: Wrapper::Zlib, .. } => "Compressor(zlib)",
            Kind::Zstd(_) => "Compressor(zstd)",
            Kind::Snappy(_) => "Compressor(snappy)",
        })
    }
}

impl Compressor {
    /// A compressor with its tables.
    ///
    /// # Errors
    /// No memory for its tables.
    pub fn new(compression: Compression) -> io::Result<Self> {
        let deflate = |level: CompressionLevel, wrapper| Kind::Deflate {
            tables: Box::new(Compress::new(level.deflate(), wrapper == Wrapper::Zlib)),
            wrapper,
        };
        Ok(Self(match compression {
            Compression::None => Kind::None,
            Compression::Gzip(level) => deflate(level, Wrapper::Gzip),
            Compression::Zlib(level) => deflate(level, Wrapper::Zlib),
            Compression::Zstd(level) => Kind::Zstd(Box::new(zstd::bulk::Compressor::new(level.zstd())?)),
            Compression::Snappy => Kind::Snappy(Box::new(snap::raw::Encoder::new())),
        }))
    }

    /// The payload, compressed; itself if the compression is `none`.
    ///
    /// # Errors
    /// No memory, or (snappy) a payload of 4 GiB or more.
    pub fn compress(&mut self, payload: Bytes) -> io::Result<Bytes> {
        if matches!(self.0, Kind::None) {
            return Ok(payload);
        }
        let mut out = Vec::new();
        self.compress_to(&payload, &mut out)?;
        Ok(out.into())
    }

    /// Appends the payload, compressed, to `out`; on an error `out` is as before.
    ///
    /// # Errors
    /// As [`Self::compress`].
    pub fn compress_to(&mut self, payload: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let start = out.len();
        let result = match &mut self.0 {
            Kind::None => {
                out.extend_from_slice(payload);
                Ok(())
            }
            Kind::Deflate { tables, wrapper } => deflate(tables, *wrapper, payload, out),
            Kind::Zstd(compressor) => compressor.compress(payload).map(|bytes| out.extend_from_slice(&bytes)),
            Kind::Snappy(encoder) => {
                out.resize(start + snap::raw::max_compress_len(payload.len()), 0);
                encoder
                    .compress(payload, &mut out[start..])
                    .map(|bytes| out.truncate(start + bytes))
                    .map_err(io::Error::other)
            }
        };
        result.inspect_err(|_| out.truncate(start))
    }
}

fn deflate(tables: &mut Compress, wrapper: Wrapper, payload: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    if wrapper == Wrapper::Gzip {
        out.extend_from_slice(&GZIP_HEADER);
    }
    tables.reset();
    loop {
        let taken = usize::try_from(tables.total_in()).map_err(io::Error::other)?;
        // Room for the rest if it does not shrink at all; grown again in the rare case that it even grows.
        out.reserve((payload.len() - taken) / 2 + 64);
        match tables.compress_vec(&payload[taken..], out, FlushCompress::Finish)? {
            Status::StreamEnd => break,
            Status::Ok | Status::BufError => {}
        }
    }
    if wrapper == Wrapper::Gzip {
        let mut crc = Crc::new();
        crc.update(payload);
        out.extend_from_slice(&crc.sum().to_le_bytes());
        // The size modulo 2^32, as the format says: `Crc` counts so.
        out.extend_from_slice(&crc.amount().to_le_bytes());
    }
    Ok(())
}

impl Serialize for CompressionLevel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_str("none"),
            Self::Fast => serializer.serialize_str("fast"),
            Self::Default => serializer.serialize_str("default"),
            Self::Best => serializer.serialize_str("best"),
            Self::Level(level) => serializer.serialize_u32(*level),
        }
    }
}

impl<'de> Deserialize<'de> for CompressionLevel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Level;
        impl Visitor<'_> for Level {
            type Value = CompressionLevel;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(LEVEL_WORDS)
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<CompressionLevel, E> {
                match word {
                    "none" => Ok(CompressionLevel::None),
                    "fast" => Ok(CompressionLevel::Fast),
                    "default" => Ok(CompressionLevel::Default),
                    "best" => Ok(CompressionLevel::Best),
                    // `${LEVEL}` gives text.
                    other => other
                        .parse()
                        .map(CompressionLevel::Level)
                        .map_err(|_| de::Error::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<CompressionLevel, E> {
                Ok(CompressionLevel::Level(u32::try_from(number).unwrap_or(u32::MAX)))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<CompressionLevel, E> {
                let number = u64::try_from(number)
                    .map_err(|_| de::Error::invalid_value(de::Unexpected::Signed(number), &self))?;
                self.visit_u64(number)
            }
        }
        deserializer.deserialize_any(Level)
    }
}

impl Serialize for Compression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None | Self::Snappy => serializer.serialize_str(self.algorithm()),
            Self::Gzip(level) | Self::Zlib(level) | Self::Zstd(level) => {
                if *level == CompressionLevel::Default {
                    return serializer.serialize_str(self.algorithm());
                }
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("algorithm", self.algorithm())?;
                map.serialize_entry("level", level)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Compression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrMap;
        impl<'de> Visitor<'de> for WordOrMap {
            type Value = Compression;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a compression such as `gzip`, or a map with `algorithm` and `level`")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Compression, E> {
                Compression::new(word, None).map_err(de::Error::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Compression, A::Error> {
                let (mut algorithm, mut level) = (None::<String>, None);
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "algorithm" => algorithm = Some(map.next_value()?),
                        "level" => level = map.next_value::<Option<CompressionLevel>>()?,
                        other => return Err(de::Error::unknown_field(other, &["algorithm", "level"])),
                    }
                }
                let algorithm = algorithm.ok_or_else(|| de::Error::missing_field("algorithm"))?;
                Compression::new(&algorithm, level).map_err(de::Error::custom)
            }
        }
        deserializer.deserialize_any(WordOrMap)
    }
}

impl JsonSchema for Compression {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Compression".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A word, or a map with `algorithm` and `level`.",
            "oneOf": [
                {"enum": ALGORITHMS},
                {
                    "type": "object",
                    "required": ["algorithm"],
                    "additionalProperties": false,
                    "properties": {
                        "algorithm": {"enum": ALGORITHMS},
                        "level": {
                            "description": "0 to 9 for gzip and zlib, 0 to 21 for zstd.",
                            "oneOf": [
                                {"enum": ["none", "fast", "default", "best"]},
                                {"type": "integer", "minimum": 0, "maximum": ZSTD_LEVEL_MAX},
                            ],
                        },
                    },
                },
            ],
        })
    }
}
