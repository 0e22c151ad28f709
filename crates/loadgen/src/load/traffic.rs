//! Seeded traffic: every request is a pure function of seed, profile and number.
//!
//! So a checker can compute what was sent, and what a trace must hold, instead of remembering it:
//! a trace holds the [items](Traffic::items) of all requests that were accepted. Requests are made
//! from templates, so that making one costs little more than copying it.

mod content;
mod encoding;
mod envelope;
mod part;
mod template;
mod templates;

use std::ops::Sub;

use bytes::{BufMut as _, Bytes};

pub use encoding::Encoding;
pub use part::Item;

use super::profile::Profile;
use crate::request::Signal;
use content::{Content, Contents, SERVICES};
use envelope::Envelope;
use part::Key;
use templates::Templates;

/// Makes requests.
#[derive(Debug)]
pub struct Traffic {
    key: Key,
    contents: Contents,
    encoding: Encoding,
    templates: Templates,
    /// Of each service for spans and for log records.
    envelopes: Vec<[Envelope; 2]>,
}

/// A request, encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its place in the traffic.
    pub number: u64,
    /// What it carries.
    pub signal: Signal,
    /// An encoded `ExportTraceServiceRequest` or `ExportLogsServiceRequest`.
    pub body: Bytes,
    /// How much it carries.
    pub size: Size,
}

/// How much a request carries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Spans in it.
    pub spans: u64,
    /// Log records in it.
    pub logs: u64,
    /// Traces that begin with it: their root is in it for the first time.
    pub traces: u64,
}

impl Traffic {
    /// # Errors
    /// When the templates cannot be encoded.
    pub fn new(seed: u64, profile: Profile, encoding: Encoding) -> anyhow::Result<Self> {
        let envelopes = SERVICES.iter().map(|service| {
            let envelope = |signal| Envelope::new(service, signal, encoding);
            Ok([envelope(Signal::Traces)?, envelope(Signal::Logs)?])
        });
        Ok(Self {
            key: Key::new(seed),
            contents: Contents::new(profile),
            encoding,
            templates: Templates::new(encoding)?,
            envelopes: envelopes.collect::<anyhow::Result<_>>()?,
        })
    }

    /// Makes a request; any number gives one, and in any order.
    #[must_use]
    pub fn request(&self, number: u64) -> Request {
        let content = self.contents.get(self.key, number);
        let (signal, size) = (content.signal, content.size());
        let items = (size.spans + size.logs) as usize;
        let envelope = &self.envelopes[content.service][match signal {
            Signal::Traces => 0,
            Signal::Logs => 1,
        }];
        // One byte more for what stands between two.
        let mut body = envelope.begin(items * (self.templates.len_max(signal) + 1));
        for (place, item) in content.items(self.key).enumerate() {
            if self.encoding == Encoding::Json && place > 0 {
                body.put_u8(b',');
            }
            self.templates.append(signal, &item, &mut body);
        }
        Request { number, signal, body: envelope.end(body), size }
    }

    /// How much a request carries, without making it.
    #[must_use]
    pub fn size(&self, number: u64) -> Size {
        self.contents.get(self.key, number).size()
    }

    /// The spans of a request, or its log records.
    #[must_use]
    pub fn items(&self, number: u64) -> (Signal, Vec<Item>) {
        let content = self.contents.get(self.key, number);
        (content.signal, content.items(self.key).collect())
    }
}

impl Sub for Size {
    type Output = Self;

    /// What has come since an earlier size.
    fn sub(self, earlier: Self) -> Self {
        Self {
            spans: self.spans - earlier.spans,
            logs: self.logs - earlier.logs,
            traces: self.traces - earlier.traces,
        }
    }
}

impl Content {
    fn size(&self) -> Size {
        let parts = || self.parts.iter();
        match self.signal {
            Signal::Traces => Size {
                spans: parts().map(|part| u64::from(part.spans)).sum(),
                traces: parts().filter(|part| part.caller.is_none() && !self.is_repeated).count() as u64,
                ..Size::default()
            },
            Signal::Logs => Size { logs: parts().map(|part| u64::from(part.logs)).sum(), ..Size::default() },
        }
    }

    fn items(&self, key: Key) -> impl Iterator<Item = Item> {
        let (spans, logs) = match self.signal {
            Signal::Traces => (self.parts.as_slice(), [].as_slice()),
            Signal::Logs => ([].as_slice(), self.parts.as_slice()),
        };
        let spans = spans.iter().flat_map(move |part| part.spans(key));
        spans.chain(logs.iter().flat_map(move |part| part.logs(key)))
    }
}

#[cfg(test)]
mod tests;
