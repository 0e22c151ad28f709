//! The contract of correlation state: [`StateManager`], its types and its errors.
//!
//! Telemetry is opaque here: no OTLP is decoded, no backend is named and no clock is read.
//! A correlation is a grow-only set of [`Fragment`]s, so adding one is idempotent, commutative and
//! associative; what a reader sees, [`CorrelationEntry`] and [`Summary`], is the fold of that set.
#![warn(missing_docs)]

mod cursor;
mod entry;
mod error;
mod fragment;
mod id;
mod ledger;
mod lifecycle;
mod manager;
mod outbox;
mod range;
mod settings;
mod summary;

pub use cursor::Cursor;
pub use entry::{CorrelationEntry, Overrides};
pub use error::{BoxError, Error, Result};
pub use fragment::{Facts, Fragment, FragmentId, Identity, Origin, Root, Signal};
pub use id::{CorrelationId, CorrelationKey, InvalidId, Tenant, TraceId};
pub use ledger::{Account, Expiry, Items, Ledger, Refused};
pub use lifecycle::{Claim, Finish, Finished, Release, Ticket, news};
pub use manager::{Append, Backend, Outcome, Refusal, StateManager};
pub use outbox::{Event, EventId, PutBack, Receiver};
pub use range::{Filter, Page, RangeQuery, unite_pages};
pub use settings::{Limits, Settings};
pub use summary::{Counts, Labels, Status, Summary};
