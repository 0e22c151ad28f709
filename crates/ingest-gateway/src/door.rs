//! What every HTTP request passes on its way in: the door, which says no in the form of either API.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{
        HeaderValue, StatusCode, Version,
        header::{EXPECT, WWW_AUTHENTICATE},
    },
    middleware::Next,
    response::Response,
};
use tonic::Status;

use crate::{query, receive, rest::Rest, server::Gateway};

/// Lets a request in, or answers 400, 401, 403 or 503 in the form of the API that it is for.
///
/// What is left of a request by then is read and thrown away, up to the size of the largest one.
pub(crate) async fn enter(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    // HTTP/2 tells a client to stop, and one that waits for "100 Continue" has not begun.
    let is_sending = request.version() < Version::HTTP_2 && !request.headers().contains_key(EXPECT);
    let (head, body) = request.into_parts();
    let rest = Rest::of(body);
    let request = Request::from_parts(head, Body::new(rest.clone()));
    let response = match gateway.door.enter(request.headers()) {
        Err(status) => refuse(&request, status),
        Ok(entered) => {
            let response = next.run(entered.count(request).map(Body::new)).await;
            // In flight until it is decided, and not only until it is read. The rest takes no room.
            drop(entered);
            response
        }
    };
    if is_sending {
        rest.drain(gateway.http.max_body_bytes).await;
    }
    response
}

fn refuse(request: &Request, status: Status) -> Response {
    let mut response = match is_query(request.uri().path()) {
        true => query::refused(status),
        false => receive::refused(request.headers(), status),
    };
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Whether a path is one of the query API, whose errors have another form than OTLP's.
pub(crate) fn is_query(path: &str) -> bool {
    path.starts_with("/api/")
}
