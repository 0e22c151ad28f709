//! Places in a list of correlations, which stay valid for any replica and while the list changes.

use std::cmp::Ordering;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Datelike as _, TimeDelta, Utc};

use crate::{CorrelationId, Summary};

/// A place in a list that is ordered by last arrival, newest first, then by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Last arrival of the correlation before the place.
    pub last_updated: DateTime<Utc>,
    /// Its id; `None` is the place before all that arrived last at this time.
    pub correlation_id: Option<CorrelationId>,
}

impl Cursor {
    /// The place right after a correlation.
    pub fn of(summary: &Summary) -> Self {
        Self { last_updated: summary.last_updated, correlation_id: Some(summary.correlation_id.clone()) }
    }

    /// The place before all whose last arrival lies before a time.
    pub fn before(time: DateTime<Utc>) -> Self {
        let last_updated = time.checked_sub_signed(TimeDelta::microseconds(1)).unwrap_or(time);
        Self { last_updated, correlation_id: None }
    }

    /// The place as text, for clients to come back with.
    pub fn to_token(&self) -> String {
        let id = self.correlation_id.as_ref().map_or("", |id| id.as_str());
        URL_SAFE_NO_PAD.encode(format!("{}/{id}", self.last_updated.timestamp_micros()))
    }

    /// The place that [`to_token`](Self::to_token) has written; `None` for any other text.
    pub fn from_token(token: &str) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let (micros, id) = text.split_once('/')?;
        let last_updated = DateTime::from_timestamp_micros(micros.parse().ok()?)?;
        let correlation_id = if id.is_empty() { None } else { Some(id.parse().ok()?) };
        // What RFC 3339 and protobuf can write.
        (1..=9999).contains(&last_updated.year()).then_some(Self { last_updated, correlation_id })
    }
}

impl PartialOrd for Cursor {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Cursor {
    fn cmp(&self, other: &Self) -> Ordering {
        let newest_first = other.last_updated.cmp(&self.last_updated);
        newest_first.then_with(|| self.correlation_id.cmp(&other.correlation_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_back_to_its_place() {
        let last_updated = DateTime::from_timestamp_micros(1_600_000_000_123_456).unwrap();
        for correlation_id in [None, Some("order=7/8 é".parse().unwrap())] {
            let cursor = Cursor { last_updated, correlation_id };
            assert_eq!(Cursor::from_token(&cursor.to_token()), Some(cursor));
        }
    }

    #[test]
    fn a_token_that_was_not_given_out_leads_nowhere() {
        let far = DateTime::<Utc>::MAX_UTC;
        let beyond_the_calendar = Cursor { last_updated: far, correlation_id: None }.to_token();
        for token in ["", "x", "AAAA", "!", &beyond_the_calendar] {
            assert_eq!(Cursor::from_token(token), None, "{token}");
        }
    }
}
