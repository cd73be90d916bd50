//! Answer: what goes back over the wire, right or wrong on purpose.
//! In: a status, a body, an error code.  Out: an HTTP response of the JSON 1.1 protocol.
//! Never: decides which answer (see `service`).

use std::borrow::Cow;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::Response;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};

/// An error of the whole request.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: Cow<'static, str>,
    pub(super) message: String,
}

impl Refusal {
    /// 400 with this code.
    pub(super) fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { status: 400, code: code.into(), message: message.into() }
    }

    pub(super) fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationException", message)
    }

    pub(super) fn into_answer(self) -> Answer {
        let body = serde_json::json!({"__type": self.code, "message": self.message});
        Answer {
            status: self.status,
            code: Some(self.code.into()),
            body: body.to_string().into(),
            cut: false,
        }
    }
}

/// An answer before it becomes HTTP.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) code: Option<Box<str>>,
    pub(super) body: Bytes,
    /// Announce more bytes than there are, then break the connection.
    pub(super) cut: bool,
}

impl Answer {
    pub(super) fn ok(body: impl Into<Bytes>) -> Self {
        Self::plain(200, body)
    }

    /// A status and a body without the service's error shape.
    pub(super) fn plain(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, code: None, body: body.into(), cut: false }
    }

    pub(super) fn into_response(self, request_id: &str) -> Response<AnswerBody> {
        let mut response =
            Response::new(AnswerBody { missing: if self.cut { 64 } else { 0 }, data: Some(self.body) });
        *response.status_mut() = self.status.try_into().unwrap();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
        headers.insert("x-amzn-requestid", request_id.parse().unwrap());
        if self.status == 413 {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// A body in one piece, which may end before its announced length.
#[derive(Debug)]
pub(super) struct AnswerBody {
    data: Option<Bytes>,
    missing: u64,
}

impl AnswerBody {
    pub(super) fn whole(data: impl Into<Bytes>) -> Self {
        Self { data: Some(data.into()), missing: 0 }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(match self.data.take() {
            Some(data) => Some(Ok(Frame::data(data))),
            None if self.missing > 0 => Some(Err(std::io::ErrorKind::BrokenPipe.into())),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.missing == 0 && self.data.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        let here = self.data.as_ref().map_or(0, |data| data.len() as u64);
        SizeHint::with_exact(here + self.missing)
    }
}
