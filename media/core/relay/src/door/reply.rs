//! The answers that the door gives itself.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{
    Response, StatusCode,
    header::{self, HeaderName, HeaderValue},
};

/// The body of any answer: made here, or streamed from upstream.
pub(super) type Body = BoxBody<Bytes, hyper::Error>;

/// Lets pages of other origins play (Fetch standard).
pub(super) const ANY_ORIGIN: HeaderValue = HeaderValue::from_static("*");

/// A body of bytes at hand.
pub(super) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// An error for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    message: &'static str,
    header: Option<(HeaderName, &'static str)>,
}

impl Problem {
    /// `code` is for programs, `message` for people; both are plain ASCII without quotes.
    pub(super) const fn new(status: StatusCode, code: &'static str, message: &'static str) -> Self {
        Self { status, code, message, header: None }
    }

    /// Adds what the status asks to be said beside it.
    pub(super) fn with(self, name: HeaderName, value: &'static str) -> Self {
        Self { header: Some((name, value)), ..self }
    }
}

impl From<Problem> for Response<Body> {
    fn from(problem: Problem) -> Self {
        let Problem { status, code, message, header } = problem;
        let mut response =
            Response::new(full(format!("{{\"error_code\":\"{code}\",\"error_msg\":\"{message}\"}}\n")));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY_ORIGIN);
        headers.extend(header.map(|(name, value)| (name, HeaderValue::from_static(value))));
        response
    }
}

/// Media or a playlist; `max_age_s` 0 forbids to keep it.
pub(super) fn media(media_type: &'static str, max_age_s: u32, body: Body) -> Response<Body> {
    let cache = if max_age_s == 0 { "no-store".to_owned() } else { format!("max-age={max_age_s}") };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.extend(HeaderValue::try_from(cache).map(|cache| (header::CACHE_CONTROL, cache)));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY_ORIGIN);
    response
}

/// The answer to a browser that asks whether it may (Fetch standard, CORS preflight), and to any other OPTIONS.
pub(super) fn options() -> Response<Body> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::ALLOW, "GET, HEAD, OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "X-Auth-Token, Range, *"),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY_ORIGIN);
    response
}
