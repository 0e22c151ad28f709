//! What spans are called and what they say, by OpenTelemetry's semantic conventions.

use ::http::{HeaderMap, Method, StatusCode, Uri, header::HOST, uri::Authority};
use opentelemetry::Value;

use super::Span;

/// gRPC codes that say of a server that it has failed, and not its client: UNKNOWN, DEADLINE_EXCEEDED,
/// UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
const SERVER_ERRORS: [i32; 6] = [2, 4, 12, 13, 14, 15];

/// What the attributes may name; other methods could be as many as clients like.
const METHODS: [Method; 9] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::CONNECT,
    Method::OPTIONS,
    Method::TRACE,
    Method::PATCH,
];

impl Span {
    /// Describes a gRPC call by the path of its method, `/package.Service/Method`.
    pub fn describe_rpc(&self, path: &str) {
        if !self.is_recording() {
            return;
        }
        let name = path.trim_start_matches('/');
        self.rename(name.to_owned());
        self.set("rpc.system", "grpc");
        if let Some((service, method)) = name.split_once('/') {
            self.set("rpc.service", service.to_owned());
            self.set("rpc.method", method.to_owned());
        }
    }

    /// Says how a gRPC call was answered by this process.
    pub fn answered_rpc(&self, code: i32) {
        self.end_rpc(code, SERVER_ERRORS.contains(&code));
    }

    /// Says how a gRPC call of this process was answered.
    pub fn got_rpc(&self, code: i32) {
        self.end_rpc(code, code != 0);
    }

    fn end_rpc(&self, code: i32, is_failure: bool) {
        self.set("rpc.grpc.status_code", i64::from(code));
        if is_failure {
            self.fail(code.to_string());
        }
    }

    /// Describes an HTTP request to this process. `route` is what its path was recognised as.
    pub fn describe_http(&self, method: &Method, uri: &Uri, route: Option<&str>, scheme: &'static str) {
        if !self.is_recording() {
            return;
        }
        let method = if METHODS.contains(method) { method.as_str() } else { "_OTHER" };
        self.rename(route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}")));
        self.set("http.request.method", method.to_owned());
        self.set("url.scheme", scheme);
        self.set("url.path", uri.path().to_owned());
        if let Some(route) = route {
            self.set("http.route", route.to_owned());
        }
    }

    /// Says how an HTTP request was answered by this process.
    pub fn answered_http(&self, status: StatusCode) {
        self.set("http.response.status_code", i64::from(status.as_u16()));
        if status.is_server_error() {
            self.fail(status.as_str().to_owned());
        }
    }

    /// Says by what name a client has found this process: the authority of its request, or the header `host`.
    pub fn describe_server(&self, uri: &Uri, headers: &HeaderMap) {
        let host = || headers.get(HOST).and_then(|host| host.to_str().ok());
        let Some(authority) = uri.authority().map(Authority::as_str).or_else(host) else { return };
        let (host, port) = authority.rsplit_once(':').unwrap_or((authority, ""));
        match port.parse::<u16>() {
            Ok(port) => {
                self.set("server.address", host.to_owned());
                self.set("server.port", i64::from(port));
            }
            // Without a port; the colon may be one of an IPv6 address.
            Err(_) => self.set("server.address", authority.to_owned()),
        }
    }

    /// Describes an operation of a database, over so many items where it takes several at once.
    pub fn describe_database(&self, system: &'static str, operation: &'static str, items: Option<usize>) {
        self.rename(operation.to_owned());
        self.set("db.system.name", system);
        self.set("db.operation.name", operation);
        if let Some(items) = items {
            self.set("db.operation.batch.size", Value::from(i64::try_from(items).unwrap_or(i64::MAX)));
        }
    }
}
