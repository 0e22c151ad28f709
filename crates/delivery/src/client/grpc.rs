//! OTLP/gRPC. The message is framed here, so that it is compressed off the runtime and copied once.

use ::http::{
    HeaderMap, HeaderValue, Request, Response,
    header::{CONTENT_TYPE, TE},
};
use bytes::Bytes;
use http_body_util::Full;
use otlp_proto::{raw::RawCodec, status};
use state_core::Signal;
use tonic::{
    Code, ConnectError, Status, Streaming,
    body::Body,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint as Address, Identity},
};
use tonic_types::StatusExt as _;
use tower::ServiceExt as _;

use super::{
    ANSWER_BYTES_MAX, Answer, CONNECT_TIMEOUT, USER_AGENT, answer::bounded, body, causes, root_cause,
};
use crate::endpoint::{Endpoint, TlsFiles};

/// Before a message: whether it is compressed, and its length.
const FRAME_HEAD_BYTES: usize = 5;

/// A client over gRPC.
pub(super) struct Grpc {
    address: Address,
    channel: Channel,
    path: &'static str,
    headers: HeaderMap,
}

impl Grpc {
    pub(super) fn new(endpoint: &Endpoint, signal: Signal) -> Result<Self, String> {
        let mut address = Address::from_shared(endpoint.url.clone())
            .and_then(|address| address.user_agent(USER_AGENT))
            .map_err(|error| error.to_string())?
            .connect_timeout(CONNECT_TIMEOUT.min(endpoint.timeout));
        if endpoint.is_encrypted() {
            let tls = tls(&endpoint.tls)?;
            // Says now what would be wrong with every connection.
            address = address.tls_config(tls).map_err(|error| root_cause(&error))?;
        }
        let path = match signal {
            Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        };
        Ok(Self { channel: address.connect_lazy(), address, path, headers: headers(endpoint) })
    }

    /// Leaves the connection as it is, and makes another one when it is needed.
    pub(super) fn reconnect(&mut self) {
        self.channel = self.address.connect_lazy();
    }

    pub(super) async fn send(&self, endpoint: &Endpoint, payloads: Vec<Bytes>) -> Answer {
        let mut message = match body::encode(payloads, endpoint.compression, FRAME_HEAD_BYTES).await {
            Ok(message) => message,
            Err(error) => return super::not_encoded(&error),
        };
        let Ok(length) = u32::try_from(message.len() - FRAME_HEAD_BYTES) else {
            let message = "a message of more than 4 GiB cannot be framed".to_owned();
            return Answer::Refused { reason: "too_large", message, is_too_large: true };
        };
        message[0] = u8::from(body::coding(endpoint.compression).is_some());
        message[1..FRAME_HEAD_BYTES].copy_from_slice(&length.to_be_bytes());

        let mut request = Request::post(self.path);
        if let Some(headers) = request.headers_mut() {
            headers.clone_from(&self.headers);
        }
        let body = Body::new(Full::new(Bytes::from(message)));
        let request = request.body(body).expect("a path and headers make a request");
        match self.channel.clone().oneshot(request).await {
            Ok(response) => match read(response).await {
                Ok(response) => Answer::taken(&response),
                Err(status) => judge(&status),
            },
            Err(error) => {
                let is_unreachable = causes(&error).any(|cause| cause.is::<ConnectError>());
                Answer::failed(if is_unreachable { "connect" } else { "transport" }, root_cause(&error))
            }
        }
    }
}

fn tls(files: &TlsFiles) -> Result<ClientTlsConfig, String> {
    let mut tls = match files.ca.as_str() {
        "" => ClientTlsConfig::new().with_native_roots(),
        ca => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(super::read("ca", ca)?)),
    };
    if !files.certificate.is_empty() {
        let certificate = super::read("certificate", &files.certificate)?;
        tls = tls.identity(Identity::from_pem(certificate, super::read("key", &files.key)?));
    }
    Ok(tls)
}

/// Those of every request.
fn headers(endpoint: &Endpoint) -> HeaderMap {
    let mut headers = endpoint.headers.clone();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    if let Some(coding) = body::coding(endpoint.compression) {
        headers.insert("grpc-encoding", HeaderValue::from_static(coding));
    }
    let timeout = format!("{}m", endpoint.timeout.as_millis());
    headers.insert("grpc-timeout", timeout.parse().expect("digits and a letter are a value"));
    headers
}

/// The message of an answer, or its status.
async fn read(response: Response<Body>) -> Result<Bytes, Status> {
    let (head, body) = response.into_parts();
    // A status among the headers means that there is nothing else.
    if let Some(status) = Status::from_header_map(&head.headers) {
        return if status.code() == Code::Ok { Ok(Bytes::new()) } else { Err(status) };
    }
    let mut answers = Streaming::new_response(RawCodec, body, head.status, None, Some(ANSWER_BYTES_MAX));
    let message = answers.message().await?.unwrap_or_default();
    // Where the status is.
    answers.trailers().await?;
    Ok(message)
}

fn judge(status: &Status) -> Answer {
    let (reason, message) = (status::label(status.code()), bounded(status.message()));
    if status::is_retryable(status) {
        let retry_after = status.get_details_retry_info().and_then(|info| info.retry_delay);
        return Answer::Failed { reason, message, retry_after };
    }
    Answer::Refused { reason, message, is_too_large: status.code() == Code::ResourceExhausted }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn the_code_says_whether_to_come_back_and_the_details_when() {
        let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(7)));
        for code in [Code::Unavailable, Code::ResourceExhausted] {
            let answer = judge(&Status::with_error_details(code, "busy", details.clone()));
            let Answer::Failed { retry_after, .. } = answer else { panic!("{code:?}: {answer:?}") };
            assert_eq!(retry_after, Some(Duration::from_secs(7)), "{code:?}");
        }
        let answer = judge(&Status::unavailable("gone"));
        assert!(
            matches!(answer, Answer::Failed { reason: "unavailable", retry_after: None, .. }),
            "{answer:?}"
        );
    }

    #[test]
    fn what_is_too_large_or_wrong_is_refused() {
        let answer = judge(&Status::resource_exhausted("more than 4 MiB"));
        assert!(matches!(answer, Answer::Refused { is_too_large: true, .. }), "{answer:?}");
        let answer = judge(&Status::unauthenticated("who?"));
        let expected =
            Answer::Refused { reason: "unauthenticated", message: "who?".to_owned(), is_too_large: false };
        assert_eq!(answer, expected);
    }
}
