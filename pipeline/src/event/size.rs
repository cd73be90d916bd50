//! Size: how much memory and how much JSON an event is, without writing it.
//! In: events. Out: numbers for budgets and for Vector's `*_event_bytes_total` metrics.
//! Never: allocates; the JSON size is an estimate that does not count escapes.

use vrl::value::Value;

/// Bytes an object takes in memory.
pub trait ByteSizeOf {
    /// Own size and what it holds on the heap.
    fn size_of(&self) -> usize
    where
        Self: Sized,
    {
        std::mem::size_of::<Self>() + self.allocated_bytes()
    }

    /// What it holds on the heap.
    fn allocated_bytes(&self) -> usize;
}

/// Bytes an object would take as JSON, roughly.
pub trait EstimatedJsonEncodedSizeOf {
    /// The estimate: quotes, commas and digits are counted, escapes are not.
    fn estimated_json_encoded_size_of(&self) -> usize;
}

/// Estimates the JSON size of a tree.
#[must_use]
pub fn estimate_json_size(value: &Value) -> usize {
    match value {
        Value::Null => 4,
        Value::Boolean(true) => 4,
        Value::Boolean(false) => 5,
        Value::Integer(number) => {
            let digits = number.unsigned_abs().checked_ilog10().map_or(1, |log| log as usize + 1);
            digits + usize::from(*number < 0)
        }
        Value::Float(_) => 8,
        Value::Timestamp(_) => "\"2026-01-01T00:00:00.000000000Z\"".len(),
        Value::Bytes(bytes) => bytes.len() + 2,
        Value::String(text) => text.len() + 2,
        Value::Regex(regex) => regex.as_bytes_slice().len() + 2,
        Value::Object(map) => {
            map.iter().map(|(key, value)| key.len() + 4 + estimate_json_size(value)).sum::<usize>().max(1) + 1
        }
        Value::Array(items) => {
            items.iter().map(|item| 1 + estimate_json_size(item)).sum::<usize>().max(1) + 1
        }
    }
}
