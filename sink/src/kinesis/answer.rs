//! Answer: what the service wrote back, entry by entry.
//! In: the bytes of a PutRecords answer and how many entries were asked about; or the body of a refusal.
//! Out: one `Entry` for each record of the request, in its order; or a code and a message.
//! Never: panics on any bytes, guesses about an entry, repeats what a message quotes from a record.
//! What an entry means for its record is `verdict`'s business.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// What became of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// Kinesis gave the record a sequence number: it is delivered.
    Stored {
        /// The shard, like `shardId-000000000003`.
        shard: Cow<'a, str>,
        /// The sequence number, a decimal number of up to 128 digits.
        sequence: Cow<'a, str>,
    },
    /// The record was not stored.
    Failed {
        /// The error's code, like `ProvisionedThroughputExceededException`.
        code: Cow<'a, str>,
        /// The service's words; empty if there are none.
        message: Cow<'a, str>,
    },
}

/// A whole answer: exactly as many entries as were asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutRecordsAnswer<'a> {
    /// One entry for each record of the request, in its order.
    pub entries: Vec<Entry<'a>>,
    /// What the service says it counted. The entries are the truth; this is not checked against them.
    pub failed_record_count: Option<u64>,
}

/// An answer that says nothing reliable about any record. Each may be stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// Not the JSON of such an answer.
    #[error("the answer is not a PutRecords answer: {0}")]
    Json(String),
    /// Another number of entries than records.
    #[error("the answer has {got} entries for {expected} records")]
    Length {
        /// Entries in the answer.
        got: usize,
        /// Records in the request.
        expected: usize,
    },
    /// An entry that is neither stored nor failed, or both.
    #[error("entry {index} of the answer says neither where the record is nor why not, or both")]
    Entry {
        /// Its position, from 0.
        index: usize,
    },
}

/// Reads a PutRecords answer.
///
/// The compact form that the service writes is read without looking back and, apart from the one vector of entries,
/// without an allocation; any other JSON of the same meaning is read by serde.
///
/// # Errors
/// See [`AnswerError`]: on each of them nothing is known about any record.
pub fn parse_put_records(body: &[u8], expected_len: usize) -> Result<PutRecordsAnswer<'_>, AnswerError> {
    let answer = match std::str::from_utf8(body).ok().and_then(|text| Compact::new(text).answer(expected_len))
    {
        Some(answer) => answer,
        None => parse_any(body, expected_len)?,
    };
    if answer.entries.len() != expected_len {
        return Err(AnswerError::Length { got: answer.entries.len(), expected: expected_len });
    }
    Ok(answer)
}

/// Reader of the compact form: no white space, no escapes, no nulls, known fields only. Gives up on all else.
struct Compact<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Compact<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn answer(mut self, expected_len: usize) -> Option<PutRecordsAnswer<'a>> {
        // All at once: a look that never stops early is many bytes at a time.
        let control = self.text.bytes().fold(false, |any, byte| any | (byte < 0x20));
        (!control).then_some(())?;
        let (mut entries, mut failed_record_count) = (None, None);
        self.take("{")?;
        loop {
            match self.string()? {
                "Records" if entries.is_none() => {
                    self.take(":")?;
                    entries = Some(self.records(expected_len)?);
                }
                "FailedRecordCount" if failed_record_count.is_none() => {
                    self.take(":")?;
                    failed_record_count = Some(self.number()?);
                }
                "EncryptionType" => {
                    self.take(":")?;
                    self.string()?;
                }
                _ => return None,
            }
            if self.take(",").is_none() {
                break;
            }
        }
        self.take("}")?;
        (self.at == self.text.len()).then_some(())?;
        Some(PutRecordsAnswer { entries: entries?, failed_record_count })
    }

    fn records(&mut self, expected_len: usize) -> Option<Vec<Entry<'a>>> {
        self.take("[")?;
        let mut entries = Vec::with_capacity(expected_len);
        if self.take("]").is_some() {
            return Some(entries);
        }
        loop {
            // More entries than asked about is an error, which the other reader words.
            (entries.len() < expected_len).then_some(())?;
            entries.push(self.entry()?);
            if self.take(",").is_none() {
                break;
            }
        }
        self.take("]")?;
        Some(entries)
    }

    fn entry(&mut self) -> Option<Entry<'a>> {
        self.take("{\"")?;
        let entry = if self.take("SequenceNumber\":").is_some() {
            let sequence = self.string()?.into();
            self.take(",\"ShardId\":")?;
            Entry::Stored { shard: self.string()?.into(), sequence }
        } else if self.take("ShardId\":").is_some() {
            let shard = self.string()?.into();
            self.take(",\"SequenceNumber\":")?;
            Entry::Stored { shard, sequence: self.string()?.into() }
        } else if self.take("ErrorCode\":").is_some() {
            let code = self.string()?.into();
            self.take(",\"ErrorMessage\":")?;
            Entry::Failed { code, message: self.string()?.into() }
        } else {
            self.take("ErrorMessage\":")?;
            let message = self.string()?.into();
            self.take(",\"ErrorCode\":")?;
            Entry::Failed { code: self.string()?.into(), message }
        };
        self.take("}")?;
        // An empty name says nothing; the other reader words the error.
        match &entry {
            Entry::Stored { shard, sequence } if shard.is_empty() || sequence.is_empty() => None,
            Entry::Failed { code, .. } if code.is_empty() => None,
            _ => Some(entry),
        }
    }

    fn take(&mut self, expected: &str) -> Option<()> {
        let rest = self.text.as_bytes().get(self.at..)?;
        rest.starts_with(expected.as_bytes()).then(|| self.at += expected.len())
    }

    fn string(&mut self) -> Option<&'a str> {
        self.take("\"")?;
        let rest = self.text.as_bytes().get(self.at..)?;
        let len = memchr::memchr2(b'"', b'\\', rest)?;
        (rest[len] == b'"').then_some(())?;
        // `"` is ASCII, so both ends are on character borders.
        let text = self.text.get(self.at..self.at + len)?;
        self.at += len + 1;
        Some(text)
    }

    fn number(&mut self) -> Option<u64> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let len = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let digits = self.text.get(self.at..self.at + len)?;
        if len > 1 && digits.starts_with('0') {
            return None;
        }
        self.at += len;
        digits.parse().ok()
    }
}

/// The same answer in any other JSON: other order, white space, escapes, nulls, fields of a later day.
fn parse_any(body: &[u8], expected_len: usize) -> Result<PutRecordsAnswer<'_>, AnswerError> {
    let whole: AnyAnswer<'_> = serde_json::from_slice(body).map_err(|error| {
        // Kind and place only: serde's text may quote the answer.
        AnswerError::Json(format!(
            "{:?} error at line {}, column {}",
            error.classify(),
            error.line(),
            error.column()
        ))
    })?;
    let records = whole.records.ok_or_else(|| AnswerError::Json("it has no `Records`".to_owned()))?;
    if records.0.len() != expected_len {
        return Err(AnswerError::Length { got: records.0.len(), expected: expected_len });
    }
    let entries = records
        .0
        .into_iter()
        .enumerate()
        .map(|(index, entry)| entry.read(index))
        .collect::<Result<_, _>>()?;
    let failed_record_count = whole.failed_record_count.and_then(|count| count.as_u64());
    Ok(PutRecordsAnswer { entries, failed_record_count })
}

/// A string that is borrowed where it can be. serde borrows a `Cow` only where it is the whole field.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Reader)
    }
}

#[derive(Deserialize)]
struct AnyAnswer<'a> {
    #[serde(rename = "Records", borrow)]
    records: Option<AnyRecords<'a>>,
    #[serde(rename = "FailedRecordCount")]
    failed_record_count: Option<serde_json::Value>,
}

struct AnyRecords<'a>(Vec<AnyEntry<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for AnyRecords<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = AnyRecords<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of entries")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(entry) = entries.next_element()? {
                    all.push(entry);
                }
                Ok(AnyRecords(all))
            }
        }
        deserializer.deserialize_seq(Reader)
    }
}

#[derive(Default)]
struct AnyEntry<'a> {
    sequence: Option<Cow<'a, str>>,
    shard: Option<Cow<'a, str>>,
    code: Option<Cow<'a, str>>,
    message: Option<Cow<'a, str>>,
}

impl<'a> AnyEntry<'a> {
    fn read(self, index: usize) -> Result<Entry<'a>, AnswerError> {
        let said = |text: Option<Cow<'a, str>>| text.filter(|text| !text.is_empty());
        match (said(self.sequence), said(self.shard), said(self.code)) {
            (Some(sequence), Some(shard), None) => Ok(Entry::Stored { shard, sequence }),
            (None, _, Some(code)) => Ok(Entry::Failed { code, message: self.message.unwrap_or_default() }),
            _ => Err(AnswerError::Entry { index }),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for AnyEntry<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = AnyEntry<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an entry")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
                let mut entry = AnyEntry::default();
                while let Some(Text(name)) = fields.next_key()? {
                    let slot = match &*name {
                        "SequenceNumber" => &mut entry.sequence,
                        "ShardId" => &mut entry.shard,
                        "ErrorCode" => &mut entry.code,
                        "ErrorMessage" => &mut entry.message,
                        _ => {
                            fields.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    if slot.is_some() {
                        return Err(de::Error::custom("a field occurs twice"));
                    }
                    *slot = fields.next_value::<Option<Text<'de>>>()?.map(|Text(text)| text);
                }
                Ok(entry)
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// Longest part of a foreign body (a proxy's page, say) that is kept, in characters.
const SNIPPET_CHARS_MAX: usize = 200;
/// How much of a foreign body is looked at, in bytes.
const PAGE_BYTES_MAX: usize = 8 * 1024;
/// Longest message of the service that is kept, in characters. Validation messages list every offending entry.
const MESSAGE_CHARS_MAX: usize = 2_000;

/// The code and words of a refusal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceError {
    /// The code without namespace or address, like `ResourceNotFoundException`; empty if there is none.
    pub code: String,
    /// One line. Quoted values of the request are replaced by `…`.
    pub message: String,
}

impl ServiceError {
    /// Reads the body of a refusal; `header` is `x-amzn-errortype`. Reads any bytes.
    #[must_use]
    pub fn parse(body: &[u8], header: Option<&str>) -> Self {
        #[derive(Deserialize)]
        struct Raw {
            #[serde(rename = "__type")]
            kind: Option<serde_json::Value>,
            code: Option<serde_json::Value>,
            #[serde(rename = "Code")]
            upper_code: Option<serde_json::Value>,
            message: Option<serde_json::Value>,
            #[serde(rename = "Message")]
            upper_message: Option<serde_json::Value>,
        }
        let text = |value: Option<serde_json::Value>| match value {
            Some(serde_json::Value::String(text)) if !text.is_empty() => Some(text),
            _ => None,
        };
        let from_header = || header.map(bare_code).filter(|code| !code.is_empty());
        match serde_json::from_slice::<Raw>(body) {
            Ok(raw) => {
                let kind = text(raw.kind).or_else(|| text(raw.code)).or_else(|| text(raw.upper_code));
                let message = text(raw.message).or_else(|| text(raw.upper_message)).unwrap_or_default();
                Self {
                    code: kind.map(|kind| bare_code(&kind)).or_else(from_header).unwrap_or_default(),
                    message: one_line(&without_values(&message), MESSAGE_CHARS_MAX),
                }
            }
            Err(_) => Self {
                code: from_header().unwrap_or_default(),
                message: one_line(
                    &without_markup(&String::from_utf8_lossy(&body[..body.len().min(PAGE_BYTES_MAX)])),
                    SNIPPET_CHARS_MAX,
                ),
            },
        }
    }
}

/// `com.amazonaws.kinesis.v20131202#ExpiredTokenException:http://internal.example/` → `ExpiredTokenException`.
fn bare_code(code: &str) -> String {
    let code = code.rsplit('#').next().unwrap_or_default();
    let code = code.split([':', ',']).next().unwrap_or_default().trim();
    // A code ends up in metrics and logs: keep what a code is made of.
    code.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')).take(100).collect()
}

/// Validation messages read `Value 'X' at 'records.3.member.partitionKey' failed to satisfy constraint: …`.
/// X is a partition key or a piece of a record: it goes; index and constraint stay.
fn without_values(message: &str) -> String {
    let mut kept = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(start) = rest.find("Value '") {
        let (before, from) = rest.split_at(start + "Value '".len());
        kept.push_str(before);
        kept.push('…');
        match end_of_value(from) {
            Some(end) => rest = &from[end..],
            // Nothing says where the value ends: none of the rest can be trusted.
            None => return kept,
        }
    }
    kept.push_str(rest);
    kept
}

/// Where `' at 'name' failed to satisfy` begins. The value itself may hold quotes.
fn end_of_value(text: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(found) = text[from..].find("' at '") {
        let at = from + found;
        let after = &text[at + "' at '".len()..];
        let name =
            after.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'.' || *b == b'_').count();
        if name > 0 && after[name..].starts_with("' failed to satisfy") {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// The text of a page without its tags, scripts and styles.
fn without_markup(page: &str) -> String {
    let mut kept = String::new();
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        kept.push_str(&rest[..start]);
        kept.push(' ');
        rest = &rest[start..];
        let tag = rest.get(1..8).unwrap_or_default().to_ascii_lowercase();
        let close = if tag.starts_with("script") {
            "</script"
        } else if tag.starts_with("style") {
            "</style"
        } else {
            ">"
        };
        let body = rest.to_ascii_lowercase();
        match body.find(close) {
            Some(end) => rest = &rest[end + close.len()..],
            None => return kept,
        }
        if close != ">" {
            rest = rest.find('>').map_or("", |end| &rest[end + 1..]);
        }
    }
    kept.push_str(rest);
    kept
}

fn one_line(text: &str, chars_max: usize) -> String {
    let mut line = String::new();
    for (index, word) in
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).enumerate()
    {
        if index > 0 {
            line.push(' ');
        }
        line.push_str(word);
        // Enough is enough: the rest of a long page is not even looked at.
        if line.len() > chars_max * 4 {
            break;
        }
    }
    match line.char_indices().nth(chars_max) {
        Some((end, _)) => {
            line.truncate(end);
            line.push('…');
            line
        }
        None => line,
    }
}

#[cfg(test)]
mod tests;
