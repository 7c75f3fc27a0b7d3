//! AMF0, the values in FLV's onMetaData (Adobe, "Action Message Format -- AMF 0", 2007).

/// A value of AMF0, as far as FLV metadata needs them.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Marker 0: a double.
    Number(f64),
    /// Marker 1.
    Boolean(bool),
    /// Marker 2: at most 65,535 bytes of UTF-8; what is longer is cut.
    String(String),
    /// Marker 8: names with values, in order.
    EcmaArray(Vec<(&'static str, Value)>),
}

impl Value {
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
            Self::EcmaArray(entries) => {
                out.push(8);
                out.extend_from_slice(&(entries.len() as u32).to_be_bytes());
                for (name, value) in entries {
                    write_text(name, out);
                    value.write(out);
                }
                out.extend_from_slice(&[0, 0, 9]); // an empty name, then the object-end marker
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        value.write(&mut out);
        out
    }

    #[test]
    fn each_kind_has_its_marker() {
        assert_eq!(written(&Value::Number(1.0)), [0, 0x3F, 0xF0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(written(&Value::Boolean(true)), [1, 1]);
        assert_eq!(written(&Value::String("ab".into())), [2, 0, 2, b'a', b'b']);
        let array = Value::EcmaArray(vec![("k", Value::Boolean(false))]);
        assert_eq!(written(&array), [8, 0, 0, 0, 1, 0, 1, b'k', 1, 0, 0, 0, 9]);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let bytes = written(&Value::String("é".repeat(40_000)));
        assert_eq!(&bytes[..3], [2, 0xFF, 0xFE]);
        assert_eq!(bytes.len(), 3 + 65_534);
    }
}
