//! Which closes a watcher wants to be told of.

use otlp_proto::correlation::v1::{CloseCause, CorrelationKey, WatchRequest};
use state_core::{Claim, Fragment, Tenant};
use tonic::Status;

use crate::{close::Cause, status};

/// What a close has to be like. What is not given matters to nobody.
#[derive(Debug)]
pub(super) struct Wanted {
    tenant: Tenant,
    service: Option<String>,
    environment: Option<String>,
    cause: Option<Cause>,
    key: Option<(String, String)>,
    has_errors: Option<bool>,
}

impl Wanted {
    /// Reads a request of a caller of this tenant.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a cause that there is not, or a key without name or value: read as if they were
    /// not given, they would let through more than was asked for.
    pub(super) fn new(tenant: Tenant, request: WatchRequest) -> Result<Self, Status> {
        let WatchRequest { service, environment, cause, key, has_errors } = request;
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        let cause = CloseCause::try_from(cause)
            .map_err(|_unknown| status::invalid("cause", "expected COMPLETE, IDLE, MAX_AGE or FULL"))?;
        let key = key.map(|CorrelationKey { name, value }| (name, value));
        if key.as_ref().is_some_and(|(name, value)| name.is_empty() || value.is_empty()) {
            return Err(status::invalid("key", "expected a name and a value"));
        }
        Ok(Self {
            tenant,
            service: given(service),
            environment: given(environment),
            cause: match cause {
                CloseCause::Unspecified => None,
                CloseCause::Complete => Some(Cause::Complete),
                CloseCause::Idle => Some(Cause::Idle),
                CloseCause::MaxAge => Some(Cause::MaxAge),
                CloseCause::Full => Some(Cause::Full),
                CloseCause::Shutdown => Some(Cause::Shutdown),
            },
            key,
            has_errors,
        })
    }

    /// Whether this close is one of them.
    pub(super) fn fits(&self, claim: &Claim, cause: Cause) -> bool {
        let Claim { ticket, entry, .. } = claim;
        let any = |is: &dyn Fn(&Fragment) -> bool| entry.fragments().any(is);
        let involves = |service: &String| {
            let is = |fragment: &Fragment| fragment.facts().origins.iter().any(|it| it.service == *service);
            entry.service == *service || any(&is)
        };
        let carries = |key| any(&|fragment| fragment.facts().keys.contains(key));
        ticket.key.tenant == self.tenant
            && self.cause.is_none_or(|wanted| wanted == cause)
            && self.environment.as_ref().is_none_or(|environment| entry.env == *environment)
            && self.service.as_ref().is_none_or(involves)
            && self.has_errors.is_none_or(|wanted| any(&|it| it.facts().errors > 0) == wanted)
            && self.key.as_ref().is_none_or(carries)
    }
}
