//! What every HTTP request passes on its way in: the door, which says no in the form of either API.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header::WWW_AUTHENTICATE},
    middleware::Next,
    response::Response,
};
use tonic::Status;

use crate::{query, receive, server::Gateway};

/// Lets a request in, or answers 400, 401, 403 or 503 in the form of the API that it is for.
pub(crate) async fn enter(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    let entered = match gateway.door.enter(request.headers()) {
        Ok(entered) => entered,
        Err(status) => return refuse(&request, status),
    };
    let response = next.run(entered.count(request).map(Body::new)).await;
    // In flight until it is answered, and not only until it is read.
    drop(entered);
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
