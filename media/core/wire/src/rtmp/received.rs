//! The media of a connection, whichever side sends it: tags of FLV, several in one message, and what metadata announce.

use std::collections::VecDeque;

use super::{Message, command, kind};
use crate::{
    amf::Value,
    flv_read::{Tag, TagKind},
};

/// Tags of one Aggregate message that are read; real ones hold some dozens.
const AGGREGATED_MAX: usize = 4096;

/// The tags that a message of audio, video or both carries; none for every other message.
pub(super) fn tags(message: &Message) -> VecDeque<Tag> {
    match tag_kind(message.kind) {
        Some(kind) => [Tag { kind, millis: message.timestamp, body: message.payload.clone() }].into(),
        None if message.kind == kind::AGGREGATE => aggregated(message),
        None => VecDeque::new(),
    }
}

fn tag_kind(kind: u8) -> Option<TagKind> {
    match kind {
        kind::AUDIO => Some(TagKind::Audio),
        kind::VIDEO => Some(TagKind::Video),
        _ => None,
    }
}

/// The tags of an Aggregate message (§7.1.6); their times count from the message's.
fn aggregated(message: &Message) -> VecDeque<Tag> {
    let mut data = message.payload.clone();
    let (mut first, mut tags) = (None, VecDeque::new());
    while let Some(&[kind, s2, s1, s0, t2, t1, t0, t3, ..]) = data.first_chunk::<11>() {
        let size = u32::from_be_bytes([0, s2, s1, s0]) as usize;
        if data.len() < 11 + size || tags.len() >= AGGREGATED_MAX {
            break;
        }
        let time = u32::from_be_bytes([t3, t2, t1, t0]);
        let offset = time.wrapping_sub(*first.get_or_insert(time));
        let millis = message.timestamp.wrapping_add(offset);
        let body = data.slice(11..11 + size);
        tags.extend(tag_kind(kind).map(|kind| Tag { kind, millis, body }));
        // The back pointer that follows may be cut at the end.
        data = data.slice((15 + size).min(data.len())..);
    }
    tags
}

/// Whether metadata announce sound: `@setDataFrame`, `onMetaData` and an object, or without the first; `None` if the
/// message is something else.
pub(super) fn announced_audio(message: &Message) -> Option<bool> {
    if !matches!(message.kind, kind::DATA | kind::DATA_AMF3) {
        return None;
    }
    let (name, values) = command::read_values(message)?;
    let named = name == "onMetaData" || values.first().and_then(Value::as_text) == Some("onMetaData");
    let about = values.iter().find(|value| matches!(value, Value::Object(_) | Value::EcmaArray(_)))?;
    named.then(|| match about.get("hasAudio") {
        Some(Value::Boolean(has)) => *has,
        _ => about.get("audiocodecid").is_some(),
    })
}
