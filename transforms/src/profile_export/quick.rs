//! Quick: memberships and identities as they mostly look: objects of plain strings, without escapes or prefixes, and
//! without white space other than one space after a colon or comma.
//! In: a reader and a cursor.  Out: what `profile.rs` would have found, and the cursor after it; or `None` and the cursor where it was,
//! and then `profile.rs` reads it.
//! Never: accepts what the careful way would read otherwise (the tests compare both with a third).

use std::ops::Range;

use super::event::{Identity, Membership, Status};
use super::reader::{Cursor, Raw, Reader};
use super::strings::not_plain;
use super::text::Text;

/// Between id and time, and between time and status.
const TIME_KEY: &[u8; 28] = b"\":{\"lastQualificationTime\":\"";
const STATUS_KEY: &[u8; 12] = b"\",\"status\":\"";

/// The membership that is next, its id first: a time and a status.
#[inline(always)]
pub(crate) fn membership(reader: &Reader<'_>, at: &mut Cursor) -> Option<Membership> {
    if let Some((membership, end)) = usual_membership(reader.record(), at.at()) {
        *at = reader.cursor(end);
        return Some(membership);
    }
    let mut cursor = reader.quick_key(*at)?;
    let id = reader.quick_string(&mut cursor)?;
    reader.quick_pass(&mut cursor, TIME_KEY, b"\": {\"lastQualificationTime\": \"")?;
    let time = reader.quick_string(&mut cursor)?;
    reader.quick_pass(&mut cursor, STATUS_KEY, b"\", \"status\": \"")?;
    let (status, length) = status(reader.record().get(cursor.at()..)?)?;
    *at = reader.cursor(cursor.at() + length);
    // Nothing stands between id, time and status but what has to.
    let in_order = time.start() == id.end() + TIME_KEY.len() && cursor.at() == time.end() + STATUS_KEY.len();
    let time = Text::in_record(time.start(), time.end());
    let id = Text::in_record(id.start(), id.end());
    Some(Membership { time, status, in_order, ..Membership::new(id) })
}

/// A membership with an id and a time of the lengths that Adobe writes (a UUID, whole seconds), if that is next, and the place after it.
/// So each part has its place, and none waits for the one before.
#[inline(always)]
fn usual_membership(record: &[u8], at: usize) -> Option<(Membership, usize)> {
    const ID: Range<usize> = 1..37;
    const TIME: Range<usize> = ID.end + TIME_KEY.len()..ID.end + TIME_KEY.len() + 20;
    const STATUS: usize = TIME.end + STATUS_KEY.len();
    let text = record.get(at..)?.first_chunk::<{ STATUS + 12 }>()?;
    if text[0] != b'"' || text[ID.end..TIME.start] != *TIME_KEY || text[TIME.end..STATUS] != *STATUS_KEY {
        return None;
    }
    // The last ones overlap, so that all is seen.
    let odd = |start: usize| text[start..].first_chunk().map(not_plain).unwrap_or_default();
    let id = odd(ID.start) | odd(ID.start + 16) | odd(ID.end - 16);
    if (id | odd(TIME.start) | odd(TIME.end - 16)).to_bitmask() != 0 {
        return None;
    }
    let (status, length) = status(&text[STATUS..])?;
    let place = |range: Range<usize>| Text::in_record(at + range.start, at + range.end);
    let membership = Membership { time: place(TIME), status, in_order: true, ..Membership::new(place(ID)) };
    Some((membership, at + STATUS + length))
}

/// The status that is next, and the length of it, its quote and the membership's end. Which one is not guessed by a jump: they come in no
/// order.
#[inline(always)]
fn status(text: &[u8]) -> Option<(Status, usize)> {
    let text = text.first_chunk::<10>()?;
    let is_exited = text.starts_with(b"exited\"}");
    let is_existing = text == b"existing\"}";
    if !(is_exited | is_existing | (text == b"realized\"}")) {
        return None;
    }
    let status = if is_existing { Status::Existing } else { Status::Realized };
    Some((if is_exited { Status::Exited } else { status }, if is_exited { 8 } else { 10 }))
}

/// The items that are next, if that is one identity of an id alone or a primary one; and the place after them.
#[inline(always)]
pub(crate) fn lone_identity(reader: &Reader<'_>, at: usize) -> Option<(Identity, usize)> {
    const START: &[u8; 8] = b"[{\"id\":\"";
    const END: &[u8; 3] = b"\"}]";
    const PRIMARY_END: &[u8; 18] = b"\",\"primary\":true}]";
    let record = reader.record();
    if record.get(at..)?.first_chunk() != Some(START) {
        return None;
    }
    let id = reader.string_from(at + START.len())?;
    let rest = record.get(id.end()..)?;
    let primary = rest.first_chunk() == Some(PRIMARY_END);
    if id.is_escaped() || id.start() == id.end() || !primary && rest.first_chunk() != Some(END) {
        return None;
    }
    let length = if primary { PRIMARY_END.len() } else { END.len() };
    let id = Text::in_record(id.start(), id.end());
    Some((Identity { id, primary, repeated: false }, id.end() + length))
}

/// The identity that is next.
#[inline(always)]
pub(crate) fn identity(reader: &Reader<'_>, at: &mut Cursor, depth: u32) -> Option<Identity> {
    let (mut id, mut primary) = (Raw::NONE, false);
    let mut cursor = reader.quick_open(*at, depth)?;
    loop {
        if let Some(value) = reader.quick_text(&mut cursor, b"\"id\":\"", b"\"id\": \"") {
            id = value;
        } else if let Some(flag) = reader.quick_flag(&mut cursor, b"\"primary\":", b"\"primary\": ") {
            primary = flag;
        } else {
            reader.quick_text(&mut cursor, b"\"authenticatedState\":\"", b"\"authenticatedState\": \"")?;
        }
        if reader.quick_close(&mut cursor)? {
            break;
        }
    }
    if id.start() == id.end() {
        return None;
    }
    *at = cursor;
    Some(Identity { id: Text::in_record(id.start(), id.end()), primary, repeated: false })
}
