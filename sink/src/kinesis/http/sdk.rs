//! SDK: lets the AWS credential providers use our client.
//! In: their small requests (STS, SSO, instance metadata, containers). Out: the answers, whole.
//! Never: used for PutRecords.

use std::time::Duration;

use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
        runtime_components::RuntimeComponents,
    },
    http::StatusCode,
};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;

use super::{CONNECT_TIMEOUT, FailureKind, HttpClient, SendError};

/// How long an answer may take where the provider says nothing. Chosen, not measured; `load_timeout_secs` ends it earlier.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
struct ForSdk {
    client: HttpClient,
    timeout: Duration,
}

impl aws_smithy_runtime_api::client::http::HttpClient for HttpClient {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        let timeout = settings.connect_timeout().unwrap_or(CONNECT_TIMEOUT)
            + settings.read_timeout().unwrap_or(READ_TIMEOUT);
        let client = match settings.connect_timeout() {
            Some(limit) => self.connecting_within(limit),
            None => self.clone(),
        };
        SharedHttpConnector::new(ForSdk { client, timeout })
    }
}

impl HttpConnector for ForSdk {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Self { client, timeout } = self.clone();
        HttpConnectorFuture::new(async move {
            let (head, body) =
                request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?.into_parts();
            let Some(body) = body.bytes() else {
                return Err(ConnectorError::user("streaming bodies are not supported here".into()));
            };
            let body = Bytes::copy_from_slice(body);
            let answer = client.send(head, body, timeout).await.map_err(connector_error)?;
            let (head, body) = answer.into_parts();
            let status = StatusCode::try_from(head.status.as_u16())
                .map_err(|error| ConnectorError::user(error.into()))?;
            let mut answer = HttpResponse::new(status, SdkBody::from(body));
            for (name, value) in &head.headers {
                if let Ok(value) = value.to_str() {
                    answer.headers_mut().append(name.as_str().to_owned(), value.to_owned());
                }
            }
            Ok(answer)
        })
    }
}

fn connector_error(error: SendError) -> ConnectorError {
    let (kind, message) = (error.kind, error.message.into());
    match kind {
        FailureKind::Timeout => ConnectorError::timeout(message),
        FailureKind::Protocol | FailureKind::Signing | FailureKind::Credentials => {
            ConnectorError::other(message, None)
        }
        _ => ConnectorError::io(message),
    }
}
