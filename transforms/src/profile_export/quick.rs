//! Quick: memberships and identities as they mostly look: objects of plain strings, without escapes or prefixes, and
//! without white space other than one space after a colon or comma.
//! In: a reader and a cursor.  Out: what `profile.rs` would have found, and the cursor after it; or `None` and the cursor where it was,
//! and then `profile.rs` reads it.
//! Never: accepts what the careful way would read otherwise (the tests compare both with a third).

use super::event::{Identity, Membership, Status};
use super::plan::Plan;
use super::reader::{Cursor, Raw, Reader};
use super::text::Text;

/// The membership that is next, its id first: a time and a status.
#[inline(always)]
pub(crate) fn membership(
    reader: &Reader<'_>,
    at: &mut Cursor,
    plan: &Plan,
    depth: u32,
) -> Option<Membership> {
    if !reader.is_plain() || plan.needs_clock() || depth > plan.max_depth {
        return None;
    }
    let mut cursor = reader.quick_key(*at)?;
    let id = reader.quick_string(&mut cursor, 0)?;
    reader.quick_pass(
        &mut cursor,
        b"\":{\"lastQualificationTime\":\"",
        b"\": {\"lastQualificationTime\": \"",
    )?;
    let time = reader.quick_string(&mut cursor, 1)?;
    reader.quick_pass(&mut cursor, b"\",\"status\":\"", b"\", \"status\": \"")?;
    let word = reader.quick_string(&mut cursor, 1)?;
    let status = match reader.record().get(word.start()..word.end())? {
        b"realized" => Status::Realized,
        b"existing" => Status::Existing,
        b"exited" => Status::Exited,
        _ => return None,
    };
    *at = reader.quick_end(cursor)?;
    // Nothing stands between id, time and status but what has to: 28 and 12 bytes.
    let in_order = time.start() == id.end() + 28 && word.start() == time.end() + 12;
    let time = Text::in_record(time.start(), time.end());
    let id = Text::in_record(id.start(), id.end());
    Some(Membership { time, status, in_order, ..Membership::new(id) })
}

/// The identity that is next.
#[inline(always)]
pub(crate) fn identity(reader: &Reader<'_>, at: &mut Cursor, depth: u32) -> Option<Identity> {
    if !reader.is_plain() {
        return None;
    }
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
