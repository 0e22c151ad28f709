//! The attributes that correlation looks at: service, environment and the configured keys.

use crate::{
    facts::{Origin, UNKNOWN_SERVICE},
    log_record::LOG_BODY,
    split::Subject,
    text::{TEXT_BYTES_MAX, bounded},
    text_patterns::{InvalidPattern, Named, TextPatterns},
    wire::{DecodeError, Reader, Slice},
};

/// Field of the resource in `ResourceSpans` and `ResourceLogs`.
const RESOURCE: u32 = 1;
/// Field of the attributes in `Resource`.
const RESOURCE_ATTRIBUTES: u32 = 1;

/// What a split looks for beyond trace ids. By default nothing.
#[derive(Debug, Clone, Default)]
pub struct SplitOptions {
    /// Attribute names that carry a correlation key, in order of preference.
    correlation_keys: Vec<String>,
    text_patterns: TextPatterns,
}

/// A configured key that an attribute carries, or that a text names.
pub(crate) struct FoundKey {
    /// Which of the configured keys it is: less is preferred.
    pub(crate) preference: usize,
    pub(crate) value: String,
}

impl SplitOptions {
    /// Looks for attributes of these names, in order of preference.
    ///
    /// A log record without a trace id belongs to the first of them that it carries, else that its
    /// resource carries. Strings, integers and booleans count. An empty value identifies nothing,
    /// and one of more than 256 bytes is no key either: cut, it would join what does not belong
    /// together.
    pub fn new(correlation_keys: Vec<String>) -> Self {
        Self { correlation_keys, text_patterns: TextPatterns::default() }
    }

    /// Looks into the bodies of log records too that would belong to nothing otherwise: what they name
    /// in the first `bytes_max` bytes of a text.
    ///
    /// A pattern is a regular expression of the crate `regex` with one named group, whose name is
    /// `trace_id` or that of a correlation key. Trace ids, 32 hexadecimal digits with or without
    /// hyphens, go before keys, otherwise earlier patterns before later ones. A match at the end of
    /// what is looked at of a longer text counts for nothing: it may be half of an id.
    ///
    /// # Errors
    /// The first pattern that cannot be used: because it is none, has another group, or would take
    /// more than 1 MiB; or is one of more than 16.
    pub fn with_text_patterns(self, patterns: &[String], bytes_max: usize) -> Result<Self, InvalidPattern> {
        let text_patterns = TextPatterns::compile(patterns, &self.correlation_keys, bytes_max)?;
        Ok(Self { text_patterns, ..self })
    }

    /// Names the subject that a log record has in the text of its body alone, and adds a key to `found`.
    ///
    /// Does not walk the record when there are no patterns.
    pub(crate) fn subject_in_text(
        &self,
        record: Slice<'_>,
        found: &mut Vec<FoundKey>,
    ) -> Result<Subject, DecodeError> {
        if self.text_patterns.is_empty() {
            return Ok(Subject::None);
        }
        let mut body = Scalar::Other;
        let mut reader = Reader::new("LogRecord", record);
        while let Some(field) = reader.field()? {
            if field.number == LOG_BODY {
                read_value(field.bytes()?, &mut body)?;
            }
        }
        let Scalar::Text(text) = body else { return Ok(Subject::None) };
        Ok(match self.text_patterns.find(text) {
            None => Subject::None,
            Some(Named::Trace(id)) => Subject::Trace(id),
            Some(Named::Key(key)) => {
                let (name, value) = self.named(&key);
                found.push(key);
                Subject::Key { name, value }
            }
        })
    }

    /// Adds the configured keys among the attributes in field `number` of a message to `found`.
    ///
    /// Of a key that occurs twice the first one counts, which also bounds what can be found.
    /// Does not walk the message when no key is configured.
    pub(crate) fn find_keys(
        &self,
        message: &'static str,
        slice: Slice<'_>,
        number: u32,
        found: &mut Vec<FoundKey>,
    ) -> Result<(), DecodeError> {
        if self.correlation_keys.is_empty() {
            return Ok(());
        }
        for_each_attribute(message, slice, number, |attribute| {
            let is_this = |name: &String| name.as_bytes() == attribute.key;
            if let Some(preference) = self.correlation_keys.iter().position(is_this)
                && found.iter().all(|known| known.preference != preference)
                && let Some(value) = attribute.value()?.as_key()
            {
                found.push(FoundKey { preference, value });
            }
            Ok(())
        })
    }

    /// Returns name and value of a key that was found.
    pub(crate) fn named(&self, key: &FoundKey) -> (String, String) {
        (self.correlation_keys[key.preference].clone(), key.value.clone())
    }
}

/// Names the subject of a log record without a trace id: its own keys before its resource's.
pub(crate) fn subject_of_keys(options: &SplitOptions, own: &[FoundKey], resource: &[FoundKey]) -> Subject {
    let preferred = |keys: &[FoundKey]| {
        let key = keys.iter().min_by_key(|key| key.preference)?;
        let (name, value) = options.named(key);
        Some(Subject::Key { name, value })
    };
    preferred(own).or_else(|| preferred(resource)).unwrap_or(Subject::None)
}

/// Finds the configured keys of the resource inside a `ResourceSpans` or `ResourceLogs`.
pub(crate) fn keys_of_resource(
    message: &'static str,
    slice: Slice<'_>,
    options: &SplitOptions,
) -> Result<Vec<FoundKey>, DecodeError> {
    let mut keys = Vec::new();
    if options.correlation_keys.is_empty() {
        return Ok(keys);
    }
    let mut reader = Reader::new(message, slice);
    while let Some(field) = reader.field()? {
        if field.number == RESOURCE {
            options.find_keys("Resource", field.bytes()?, RESOURCE_ATTRIBUTES, &mut keys)?;
        }
    }
    Ok(keys)
}

/// What the resource of a resource message says.
pub(crate) struct Resource {
    pub(crate) origin: Origin,
    pub(crate) keys: Vec<FoundKey>,
}

impl Resource {
    /// Reads the resource inside a `ResourceSpans` or `ResourceLogs`.
    ///
    /// A resource that occurs twice is the union of both, as protobuf merges it. Of an attribute
    /// that occurs twice the first one counts.
    pub(crate) fn read(
        message: &'static str,
        slice: Slice<'_>,
        options: &SplitOptions,
    ) -> Result<Self, DecodeError> {
        let mut keys = Vec::new();
        let [mut service, mut environment, mut old_environment] = [const { None }; 3];
        let mut reader = Reader::new(message, slice);
        while let Some(field) = reader.field()? {
            if field.number != RESOURCE {
                continue;
            }
            let resource = field.bytes()?;
            for_each_attribute("Resource", resource, RESOURCE_ATTRIBUTES, |attribute| {
                let target = match attribute.key {
                    b"service.name" => &mut service,
                    b"deployment.environment.name" => &mut environment,
                    b"deployment.environment" => &mut old_environment,
                    _ => return Ok(()),
                };
                if let Scalar::Text(text) = attribute.value()?
                    && !text.is_empty()
                {
                    target.get_or_insert(text);
                }
                Ok(())
            })?;
            options.find_keys("Resource", resource, RESOURCE_ATTRIBUTES, &mut keys)?;
        }
        let origin = Origin {
            service: bounded(service.unwrap_or(UNKNOWN_SERVICE.as_bytes())),
            environment: bounded(environment.or(old_environment).unwrap_or_default()),
        };
        Ok(Self { origin, keys })
    }
}

/// A `KeyValue` whose value is read only when the key is one that matters.
pub(crate) struct Attribute<'a> {
    pub(crate) key: &'a [u8],
    slice: Slice<'a>,
}

impl<'a> Attribute<'a> {
    fn read(slice: Slice<'a>) -> Result<Self, DecodeError> {
        let mut key = &[][..];
        let mut reader = Reader::new("KeyValue", slice);
        while let Some(field) = reader.field()? {
            if field.number == 1 {
                key = field.bytes()?.bytes;
            }
        }
        Ok(Self { key, slice })
    }

    fn value(&self) -> Result<Scalar<'a>, DecodeError> {
        let mut value = Scalar::Other;
        let mut reader = Reader::new("KeyValue", self.slice);
        while let Some(field) = reader.field()? {
            if field.number == 2 {
                read_value(field.bytes()?, &mut value)?;
            }
        }
        Ok(value)
    }

    /// The last `AnyValue` that it holds, if it can be read.
    pub(crate) fn any_value(&self) -> Option<Slice<'a>> {
        let mut value = None;
        let mut reader = Reader::new("KeyValue", self.slice);
        while let Ok(Some(field)) = reader.field() {
            if field.number == 2 {
                value = field.bytes().ok();
            }
        }
        value
    }
}

/// An `AnyValue`, as far as it can identify something.
#[derive(Clone, Copy)]
enum Scalar<'a> {
    Text(&'a [u8]),
    Bool(bool),
    Int(i64),
    Other,
}

impl Scalar<'_> {
    fn as_key(self) -> Option<String> {
        match self {
            Scalar::Text(text) => (1..=TEXT_BYTES_MAX).contains(&text.len()).then(|| bounded(text)),
            Scalar::Bool(value) => Some(value.to_string()),
            Scalar::Int(value) => Some(value.to_string()),
            Scalar::Other => None,
        }
    }
}

pub(crate) fn for_each_attribute<'a>(
    message: &'static str,
    slice: Slice<'a>,
    number: u32,
    mut visit: impl FnMut(Attribute<'a>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let mut reader = Reader::new(message, slice);
    while let Some(field) = reader.field()? {
        if field.number == number {
            visit(Attribute::read(field.bytes()?)?)?;
        }
    }
    Ok(())
}

/// Of several members of the oneof the last one holds.
fn read_value<'a>(slice: Slice<'a>, value: &mut Scalar<'a>) -> Result<(), DecodeError> {
    let mut reader = Reader::new("AnyValue", slice);
    while let Some(field) = reader.field()? {
        *value = match field.number {
            1 => Scalar::Text(field.bytes()?.bytes),
            2 => Scalar::Bool(field.varint()? != 0),
            3 => Scalar::Int(field.varint()?.cast_signed()),
            4..=8 => Scalar::Other,
            _ => continue,
        };
    }
    Ok(())
}
