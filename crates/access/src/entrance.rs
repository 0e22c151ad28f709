//! What every gRPC request passes on its way in: the door.

use std::{
    convert::Infallible,
    future::{Future, ready},
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};

use crate::Door;

/// Health is nobody's data, and is asked for most urgently when there is no room.
const HEALTH: &str = "/grpc.health.v1.Health/";

/// Puts an [`Entrance`] before a service.
#[derive(Clone)]
pub(crate) struct EntranceLayer(pub(crate) Door);

impl<S> Layer<S> for EntranceLayer {
    type Service = Entrance<S>;

    fn layer(&self, service: S) -> Entrance<S> {
        Entrance { door: self.0.clone(), service }
    }
}

/// Answers what the door does not let in before anything of it is read.
#[derive(Clone)]
pub(crate) struct Entrance<S> {
    door: Door,
    service: S,
}

impl<S> Service<Request<Body>> for Entrance<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.uri().path().starts_with(HEALTH) {
            return Box::pin(self.service.call(request));
        }
        match self.door.enter(request.headers()) {
            Ok(entered) => {
                let answering = self.service.call(entered.count(request).map(Body::new));
                // In flight until it is answered, and not only until it is read.
                Box::pin(async move {
                    let answer = answering.await;
                    drop(entered);
                    answer
                })
            }
            Err(status) => Box::pin(ready(Ok(status.into_http()))),
        }
    }
}
