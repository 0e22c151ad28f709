//! What every gRPC request passes on its way in: who sends it, and whether there is room for it.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Code, Status, body::Body};
use tonic_types::{ErrorDetails, StatusExt as _};
use tower::{Layer, Service};

use crate::{Admission, Admitted, Denied, Guard, Overload};

/// When a client should try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Health is nobody's data, and is asked for most urgently when there is no room.
const HEALTH: &str = "/grpc.health.v1.Health/";

/// Puts [`Door`] before a service.
#[derive(Clone)]
pub struct DoorLayer {
    /// Says in whose name a request comes.
    pub guard: Guard,
    /// Says whether there is room for it.
    pub admission: Admission,
    /// The section of the configuration that holds the `limits` of the door, for errors.
    pub section: &'static str,
}

impl<S> Layer<S> for DoorLayer {
    type Service = Door<S>;

    fn layer(&self, service: S) -> Door<S> {
        Door { layer: self.clone(), service }
    }
}

/// Answers UNAUTHENTICATED, PERMISSION_DENIED and UNAVAILABLE before anything is read, and counts
/// what is read as it comes. Whose request it is goes along as its extension [`Caller`](crate::Caller).
#[derive(Clone)]
pub struct Door<S> {
    layer: DoorLayer,
    service: S,
}

impl<S> Service<http::Request<Body>> for Door<S>
where
    S: Service<http::Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let section = self.layer.section;
        if !request.uri().path().starts_with(HEALTH) {
            let admitted = self.layer.guard.admit(request.headers()).map_err(|denied| denial(&denied));
            let admitted = admitted.and_then(|caller| {
                let admitted = self.layer.admission.enter();
                Ok((caller, admitted.map_err(|overload| overloaded(section, &overload))?))
            });
            match admitted {
                Ok((caller, admitted)) => {
                    let admitted = Arc::new(admitted);
                    let counted = Arc::clone(&admitted);
                    request.extensions_mut().insert(caller);
                    let answering = self
                        .service
                        .call(request.map(|body| Body::new(Counted { body, admitted: counted, section })));
                    // In flight until it is answered, and not only until it is read.
                    return Box::pin(async move {
                        let answer = answering.await;
                        drop(admitted);
                        answer
                    });
                }
                Err(status) => return Box::pin(async move { Ok(status.into_http()) }),
            }
        }
        Box::pin(self.service.call(request))
    }
}

fn denial(denied: &Denied) -> Status {
    match denied {
        Denied::Unauthenticated(_) => Status::unauthenticated(denied.to_string()),
        Denied::Forbidden { .. } | Denied::NoTenants => Status::permission_denied(denied.to_string()),
        Denied::Invalid(_) => Status::invalid_argument(denied.to_string()),
    }
}

/// Clients repeat the request, best to another replica.
fn overloaded(section: &str, overload: &Overload) -> Status {
    let details = ErrorDetails::with_retry_info(Some(RETRY_AFTER));
    Status::with_error_details(Code::Unavailable, format!("{section}.limits.{overload}"), details)
}

/// A body whose bytes are in flight as soon as they have come.
struct Counted {
    body: Body,
    admitted: Arc<Admitted>,
    section: &'static str,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && let Err(overload) = self.admitted.add(data.len())
        {
            return Poll::Ready(Some(Err(overloaded(self.section, &overload))));
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
