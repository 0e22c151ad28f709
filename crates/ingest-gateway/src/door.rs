//! What every HTTP request passes on its way in: who sends it, and whether there is room for it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use access::{Admitted, Denied, Overload};
use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header::WWW_AUTHENTICATE},
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::Status;

use crate::{query, receive, server::Gateway, status};

/// Lets a request in, or answers 401, 403 or 503 in the form of the API that it is for. Whose
/// request it is goes along as its extension [`access::Caller`].
pub(crate) async fn enter(State(gateway): State<Arc<Gateway>>, mut request: Request, next: Next) -> Response {
    let caller = match gateway.guard.admit(request.headers()) {
        Ok(caller) => caller,
        Err(denied) => return deny(&request, &denied),
    };
    let admitted = match gateway.admission.enter() {
        Ok(admitted) => Arc::new(admitted),
        Err(overload) => return refuse(&request, overloaded(&overload)),
    };
    request.extensions_mut().insert(caller);
    let counted = Arc::clone(&admitted);
    let response = next.run(request.map(|body| Body::new(Counted { body, admitted: counted }))).await;
    // In flight until it is answered, and not only until it is read.
    drop(admitted);
    response
}

/// 503: there may be room in a second, or at another gateway.
pub(crate) fn overloaded(overload: &Overload) -> Status {
    status::unavailable(format!("http.limits.{overload}"))
}

fn deny(request: &Request, denied: &Denied) -> Response {
    let status = match denied {
        Denied::Unauthenticated(_) => Status::unauthenticated(denied.to_string()),
        Denied::Forbidden { .. } | Denied::NoTenants => Status::permission_denied(denied.to_string()),
        Denied::Invalid(_) => Status::invalid_argument(denied.to_string()),
    };
    let mut response = refuse(request, status);
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn refuse(request: &Request, status: Status) -> Response {
    match is_query(request.uri().path()) {
        true => query::refused(status),
        false => receive::refused(request.headers(), status),
    }
}

/// Whether a path is one of the query API, whose errors have another form than OTLP's.
pub(crate) fn is_query(path: &str) -> bool {
    path.starts_with("/api/")
}

/// A body whose bytes are in flight as soon as they have come.
struct Counted {
    body: Body,
    admitted: Arc<Admitted>,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && let Err(overload) = self.admitted.add(data.len())
        {
            return Poll::Ready(Some(Err(axum::Error::new(overload))));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
