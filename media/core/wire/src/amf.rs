//! AMF0: FLV's onMetaData and RTMP's commands (Adobe, "Action Message Format -- AMF 0", 2007).

use std::borrow::Cow;

use thiserror::Error;

/// Objects and arrays may hold each other so deep.
const DEPTH_MAX: usize = 16;
/// Values that one reader gives, those inside others counted.
const VALUES_MAX: usize = 4096;

/// The name of a property.
pub type Name = Cow<'static, str>;

/// A value of AMF0. What has no use here reads as its nearest relative: typed objects as objects, long strings and XML
/// as strings, references and what is unsupported as `Undefined`.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Marker 0: a double.
    Number(f64),
    /// Marker 1.
    Boolean(bool),
    /// Marker 2: at most 65,535 bytes of UTF-8; what is longer is cut when it is written.
    String(String),
    /// Marker 3: names with values, in order.
    Object(Vec<(Name, Value)>),
    /// Marker 5.
    Null,
    /// Marker 6.
    Undefined,
    /// Marker 8: names with values, in order.
    EcmaArray(Vec<(Name, Value)>),
    /// Marker 10.
    StrictArray(Vec<Value>),
    /// Marker 11: milliseconds of the UNIX epoch.
    Date(f64),
}

impl Value {
    /// A string.
    pub fn text(text: impl Into<String>) -> Self {
        Self::String(text.into())
    }

    /// The text, if it is a string.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is one.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The property of this name, if it has one.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(entries) | Self::EcmaArray(entries) => {
                entries.iter().find(|entry| entry.0 == name).map(|entry| &entry.1)
            }
            _ => None,
        }
    }

    /// Appends the value with its marker to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Number(number) => {
                out.push(0);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Self::Boolean(truth) => out.extend_from_slice(&[1, u8::from(*truth)]),
            Self::String(text) => {
                out.push(2);
                write_text(text, out);
            }
            Self::Object(entries) => {
                out.push(3);
                write_entries(entries, out);
            }
            Self::Null => out.push(5),
            Self::Undefined => out.push(6),
            Self::EcmaArray(entries) => {
                out.push(8);
                out.extend_from_slice(&(entries.len() as u32).to_be_bytes());
                write_entries(entries, out);
            }
            Self::StrictArray(values) => {
                out.push(10);
                out.extend_from_slice(&(values.len() as u32).to_be_bytes());
                for value in values {
                    value.write(out);
                }
            }
            Self::Date(millis) => {
                out.push(11);
                out.extend_from_slice(&millis.to_be_bytes());
                out.extend_from_slice(&[0, 0]); // time-zone: reserved, 0
            }
        }
    }
}

fn write_entries(entries: &[(Name, Value)], out: &mut Vec<u8>) {
    for (name, value) in entries {
        write_text(name, out);
        value.write(out);
    }
    out.extend_from_slice(&[0, 0, 9]); // an empty name, then the object-end marker
}

/// UTF-8 behind its length in two bytes (§1.3.1), without a marker.
fn write_text(text: &str, out: &mut Vec<u8>) {
    let mut end = text.len().min(usize::from(u16::MAX));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    out.extend_from_slice(&(end as u16).to_be_bytes());
    out.extend_from_slice(&text.as_bytes()[..end]);
}

/// Why bytes are no AMF0; the offset is where the value began that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("AMF0, offset {offset}: {what}")]
pub struct AmfError {
    /// Bytes before it.
    pub offset: usize,
    /// What is wrong.
    pub what: &'static str,
}

/// Reads values one behind the other. It holds no more than the bytes it reads allow, and gives up on what is nested
/// too deep.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    data: &'a [u8],
    at: usize,
    left: usize,
}

impl<'a> Reader<'a> {
    /// Reads `data` from its beginning.
    pub fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0, left: VALUES_MAX }
    }

    /// The next value; `None` at the end. After an error there is nothing more to be read.
    pub fn next_value(&mut self) -> Result<Option<Value>, AmfError> {
        if self.at == self.data.len() { Ok(None) } else { self.value(DEPTH_MAX).map(Some) }
    }

    fn value(&mut self, depth: usize) -> Result<Value, AmfError> {
        let offset = self.at;
        let fail = |what| AmfError { offset, what };
        self.left = self.left.checked_sub(1).ok_or(fail("too many values"))?;
        let marker = self.take::<1>()?[0];
        if depth == 0 && matches!(marker, 3 | 8 | 10 | 16) {
            return Err(fail("nested too deep"));
        }
        Ok(match marker {
            0 => Value::Number(f64::from_be_bytes(self.take()?)),
            1 => Value::Boolean(self.take::<1>()?[0] != 0),
            2 => Value::String(self.text()?),
            3 => Value::Object(self.entries(depth - 1)?),
            5 => Value::Null,
            7 => {
                self.take::<2>()?; // a reference to an object before
                Value::Undefined
            }
            6 | 13 => Value::Undefined,
            8 => {
                self.take::<4>()?; // the count is a hint (§2.10)
                Value::EcmaArray(self.entries(depth - 1)?)
            }
            10 => {
                let count = u32::from_be_bytes(self.take()?) as usize;
                // Each value takes a byte at least, whatever the count says.
                let mut values = Vec::with_capacity(count.min(self.data.len() - self.at).min(64));
                for _ in 0..count {
                    values.push(self.value(depth - 1)?);
                }
                Value::StrictArray(values)
            }
            11 => {
                let millis = f64::from_be_bytes(self.take()?);
                self.take::<2>()?;
                Value::Date(millis)
            }
            12 | 15 => {
                let size = u32::from_be_bytes(self.take()?) as usize;
                Value::String(String::from_utf8_lossy(self.slice(size)?).into_owned())
            }
            16 => {
                self.text()?; // the name of its class
                Value::Object(self.entries(depth - 1)?)
            }
            17 => return Err(fail("AMF3 inside AMF0")),
            _ => return Err(fail("an unknown marker")),
        })
    }

    /// Properties up to the object-end marker; some encoders leave it out at the end of the data.
    fn entries(&mut self, depth: usize) -> Result<Vec<(Name, Value)>, AmfError> {
        let mut entries = Vec::new();
        while self.at < self.data.len() {
            let name = self.text()?;
            if name.is_empty() && self.data.get(self.at) == Some(&9) {
                self.at += 1;
                break;
            }
            entries.push((name.into(), self.value(depth)?));
        }
        Ok(entries)
    }

    fn text(&mut self) -> Result<String, AmfError> {
        let size = u16::from_be_bytes(self.take()?);
        Ok(String::from_utf8_lossy(self.slice(size.into())?).into_owned())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], AmfError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.slice(N)?);
        Ok(bytes)
    }

    fn slice(&mut self, size: usize) -> Result<&'a [u8], AmfError> {
        let cut = AmfError { offset: self.at, what: "it ends too early" };
        let slice = self.data[self.at..].get(..size).ok_or(cut)?;
        self.at += size;
        Ok(slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        value.write(&mut out);
        out
    }

    fn read(data: &[u8]) -> Result<Option<Value>, AmfError> {
        Reader::new(data).next_value()
    }

    #[test]
    fn each_kind_has_its_marker() {
        assert_eq!(written(&Value::Number(1.0)), [0, 0x3F, 0xF0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(written(&Value::Boolean(true)), [1, 1]);
        assert_eq!(written(&Value::text("ab")), [2, 0, 2, b'a', b'b']);
        let array = Value::EcmaArray(vec![("k".into(), Value::Boolean(false))]);
        assert_eq!(written(&array), [8, 0, 0, 0, 1, 0, 1, b'k', 1, 0, 0, 0, 9]);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let bytes = written(&Value::String("é".repeat(40_000)));
        assert_eq!(&bytes[..3], [2, 0xFF, 0xFE]);
        assert_eq!(bytes.len(), 3 + 65_534);
    }

    #[test]
    fn what_is_written_reads_back() {
        let value = Value::Object(vec![
            ("app".into(), Value::text("live/房间")),
            ("list".into(), Value::StrictArray(vec![Value::Number(-0.5), Value::Null, Value::Undefined])),
            ("more".into(), Value::EcmaArray(vec![("at".into(), Value::Date(1e12))])),
            ("fpad".into(), Value::Boolean(false)),
        ]);
        let mut bytes = written(&Value::text("connect"));
        value.write(&mut bytes);
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.next_value(), Ok(Some(Value::text("connect"))));
        assert_eq!(reader.next_value(), Ok(Some(value.clone())));
        assert_eq!(reader.next_value(), Ok(None));
        assert_eq!(value.get("app").and_then(Value::as_text), Some("live/房间"));
        for cut in 1..bytes.len() {
            let mut reader = Reader::new(&bytes[..cut]);
            while let Ok(Some(_)) = reader.next_value() {}
        }
    }

    #[test]
    fn relatives_and_sloppy_ends_are_read() {
        assert_eq!(read(&[12, 0, 0, 0, 2, b'h', b'i']), Ok(Some(Value::text("hi"))));
        assert_eq!(
            read(&[16, 0, 1, b'C', 0, 1, b'k', 5, 0, 0, 9]).unwrap().unwrap().get("k"),
            Some(&Value::Null)
        );
        assert_eq!(read(&[7, 0, 1]), Ok(Some(Value::Undefined)));
        let unended = read(&[8, 0, 0, 0, 0, 0, 1, b'k', 1, 1]).unwrap().unwrap();
        assert_eq!(unended.get("k"), Some(&Value::Boolean(true)));
        assert_eq!(read(&[2, 0, 1, 0xFF]), Ok(Some(Value::text("\u{FFFD}"))), "not UTF-8");
    }

    #[test]
    fn depth_and_number_are_bounded() {
        let deep = [10, 0, 0, 0, 1].repeat(1000);
        assert_eq!(read(&deep).unwrap_err().what, "nested too deep");
        let mut many = vec![10, 0xFF, 0xFF, 0xFF, 0xFF];
        many.resize(10_000, 5);
        assert_eq!(read(&many).unwrap_err().what, "too many values");
        assert_eq!(
            read(&[10, 0xFF, 0xFF, 0xFF, 0xFF]).unwrap_err(),
            AmfError { offset: 5, what: "it ends too early" }
        );
        assert_eq!(read(&[0xFE]).unwrap_err().what, "an unknown marker");
        assert_eq!(read(&[17, 10]).unwrap_err().what, "AMF3 inside AMF0");
    }
}
