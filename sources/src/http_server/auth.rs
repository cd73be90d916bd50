//! Who may post: HTTP Basic or a bearer token, compared in constant time.
//! In: the `Authorization` header. Out: yes or no.
//! Never: shows a password or token, also not in `Debug` or when the configuration is written out.

use std::fmt;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(String);

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[hidden]")
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("[hidden]")
    }
}

/// `auth`: what a request must carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "strategy", rename_all = "snake_case", deny_unknown_fields)]
pub enum AuthConfig {
    /// `Authorization: Basic` with this name and password.
    Basic {
        /// The name; no colon.
        username: String,
        /// The password.
        password: Secret,
    },
    /// `Authorization: Bearer` with this token.
    Bearer {
        /// The token.
        token: Secret,
    },
}

impl AuthConfig {
    /// One sentence about what cannot be.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            Self::Basic { username, .. } if username.contains(':') => {
                Err("`auth.username` must not contain a colon".to_owned())
            }
            Self::Bearer { token } if token.0.is_empty() => Err("`auth.token` must not be empty".to_owned()),
            _ => Ok(()),
        }
    }
}

/// Judges requests.
#[derive(Clone)]
pub(crate) struct Guard {
    scheme: &'static str,
    expected: Vec<u8>,
}

impl Guard {
    pub(crate) fn new(config: &AuthConfig) -> Self {
        match config {
            AuthConfig::Basic { username, password } => {
                let pair = format!("{username}:{}", password.0);
                let expected = base64_simd::STANDARD.encode_to_string(pair).into_bytes();
                Self { scheme: "Basic", expected }
            }
            AuthConfig::Bearer { token } => Self { scheme: "Bearer", expected: token.0.clone().into_bytes() },
        }
    }

    /// What an answer 401 asks for.
    pub(crate) fn challenge(&self) -> &'static str {
        match self.scheme {
            "Basic" => "Basic realm=\"afluente\", charset=\"UTF-8\"",
            _ => "Bearer realm=\"afluente\"",
        }
    }

    /// Whether the request may pass. Takes as long for a wrong text as for the right one of the same length.
    pub(crate) fn admits(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return false };
        let value = value.as_bytes();
        let Some(space) = value.iter().position(|byte| *byte == b' ') else { return false };
        let (scheme, rest) = value.split_at(space);
        scheme.eq_ignore_ascii_case(self.scheme.as_bytes())
            && bool::from(rest.trim_ascii().ct_eq(&self.expected))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn admits(config: &str, header: &str) -> bool {
        let config: AuthConfig = serde_json::from_str(config).unwrap();
        let headers = [(AUTHORIZATION, header.parse().unwrap())].into_iter().collect();
        Guard::new(&config).admits(&headers)
    }

    #[test]
    fn only_the_right_words_pass() {
        let basic = r#"{"strategy":"basic","username":"aladdin","password":"opensesame"}"#;
        assert!(admits(basic, "Basic YWxhZGRpbjpvcGVuc2VzYW1l"));
        assert!(admits(basic, "basic  YWxhZGRpbjpvcGVuc2VzYW1l"));
        for wrong in ["Basic YWxhZGRpbjpvcGVuc2VzYW1", "Bearer YWxhZGRpbjpvcGVuc2VzYW1l", "Basic", "Basic "] {
            assert!(!admits(basic, wrong), "{wrong}");
        }
        let bearer = r#"{"strategy":"bearer","token":"t0ken"}"#;
        assert!(admits(bearer, "Bearer t0ken") && !admits(bearer, "Bearer t0ken2"));
        assert!(!Guard::new(&serde_json::from_str(bearer).unwrap()).admits(&HeaderMap::new()));
    }

    #[test]
    fn secrets_are_not_shown() {
        let config: AuthConfig = serde_json::from_str(r#"{"strategy":"bearer","token":"t0ken"}"#).unwrap();
        assert!(!format!("{config:?}{}", serde_json::to_string(&config).unwrap()).contains("t0ken"));
    }
}
