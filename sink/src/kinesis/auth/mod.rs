//! Auth: who signs the requests.
//! In: what a user writes under `auth`. Out: current credentials, refreshed ahead of their end.
//! `provider` turns the options into the SDK's providers; `cache` keeps what they give.
//! Never: prints a secret, asks twice at once, blocks a request while what it has is still valid.

pub(super) mod cache;
pub(super) mod provider;

use std::{fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Longest time to load credentials where the user says nothing, as in Vector.
pub const LOAD_TIMEOUT: Duration = Duration::from_secs(5);

/// A text that is not shown: `Debug` and `Serialize` write `<secret>` in its place.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("<secret>")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "writeOnly": true})
    }
}

/// Where credentials come from. The keys that are present decide, in this order: `access_key_id`,
/// `credentials_file`, `assume_role`, else the default chain.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum AwsAuthentication {
    /// A fixed access key, and with `assume_role` the role it opens.
    #[serde(rename_all = "snake_case")]
    AccessKey {
        /// The access key's id.
        access_key_id: Secret,
        /// The secret that belongs to it.
        secret_access_key: Secret,
        /// The session token, for temporary keys.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session_token: Option<Secret>,
        /// ARN of a role to assume with the key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        assume_role: Option<String>,
        /// The external id that the role's trust policy asks for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        external_id: Option<String>,
        /// Region of the security token service. Default: the stream's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        region: Option<String>,
        /// Name of the role session, as audit logs show it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session_name: Option<String>,
    },
    /// A shared credentials file.
    #[serde(rename_all = "snake_case")]
    File {
        /// Path of the file.
        credentials_file: String,
        /// The profile to take from it. Default: `default`.
        #[serde(default = "default_profile")]
        profile: String,
        /// Region of the security token service, for profiles that assume a role. Default: the stream's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        region: Option<String>,
    },
    /// A role, assumed with what the default chain finds.
    #[serde(rename_all = "snake_case")]
    Role {
        /// ARN of the role.
        assume_role: String,
        /// The external id that the role's trust policy asks for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        external_id: Option<String>,
        /// Longest time to load credentials, in seconds. Default: 5.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        load_timeout_secs: Option<u64>,
        /// How instance metadata is asked.
        #[serde(default)]
        imds: ImdsOptions,
        /// Region of the security token service. Default: the stream's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        region: Option<String>,
        /// Name of the role session, as audit logs show it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session_name: Option<String>,
    },
    /// The default chain: environment, profile, web identity, container, instance metadata.
    #[serde(rename_all = "snake_case")]
    Default {
        /// Longest time to load credentials, in seconds. Default: 5.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        load_timeout_secs: Option<u64>,
        /// How instance metadata is asked.
        #[serde(default)]
        imds: ImdsOptions,
        /// Region of the security token service, for profiles that assume a role. Default: the stream's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        region: Option<String>,
    },
}

impl Default for AwsAuthentication {
    fn default() -> Self {
        Self::Default { load_timeout_secs: None, imds: ImdsOptions::default(), region: None }
    }
}

fn default_profile() -> String {
    "default".to_owned()
}

/// How the instance metadata service is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ImdsOptions {
    /// Attempts in all, the first included.
    pub max_attempts: u32,
    /// Longest wait for a connection, in seconds.
    pub connect_timeout_seconds: u64,
    /// Longest wait for an answer, in seconds.
    pub read_timeout_seconds: u64,
}

impl Default for ImdsOptions {
    fn default() -> Self {
        Self { max_attempts: 4, connect_timeout_seconds: 1, read_timeout_seconds: 1 }
    }
}

impl AwsAuthentication {
    /// Longest time to load credentials.
    pub(super) fn load_timeout(&self) -> Duration {
        match self {
            Self::Role { load_timeout_secs: Some(seconds), .. }
            | Self::Default { load_timeout_secs: Some(seconds), .. } => Duration::from_secs(*seconds),
            _ => LOAD_TIMEOUT,
        }
    }
}

/// All keys of all variants. One shape read first gives an error that names the key; trying the
/// variants one after the other could only say that none fits.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Flat {
    access_key_id: Option<Secret>,
    secret_access_key: Option<Secret>,
    session_token: Option<Secret>,
    credentials_file: Option<String>,
    profile: Option<String>,
    assume_role: Option<String>,
    external_id: Option<String>,
    load_timeout_secs: Option<u64>,
    imds: Option<ImdsOptions>,
    region: Option<String>,
    session_name: Option<String>,
}

impl Flat {
    /// Refuses keys that the chosen variant does not read: a key that does nothing is a mistake.
    fn refuse<E: de::Error>(&self, chosen: &str, keys: &[&str]) -> Result<(), E> {
        let present = [
            ("access_key_id", self.access_key_id.is_some()),
            ("secret_access_key", self.secret_access_key.is_some()),
            ("session_token", self.session_token.is_some()),
            ("credentials_file", self.credentials_file.is_some()),
            ("profile", self.profile.is_some()),
            ("assume_role", self.assume_role.is_some()),
            ("external_id", self.external_id.is_some()),
            ("load_timeout_secs", self.load_timeout_secs.is_some()),
            ("imds", self.imds.is_some()),
            ("region", self.region.is_some()),
            ("session_name", self.session_name.is_some()),
        ];
        match present.iter().find(|(key, present)| *present && !keys.contains(key)) {
            None => Ok(()),
            Some((key, _)) => Err(E::custom(format!(
                "`auth.{key}` does not go with {chosen}: remove it (possible here: {})",
                keys.join(", ")
            ))),
        }
    }
}

impl<'de> Deserialize<'de> for AwsAuthentication {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let flat = Flat::deserialize(deserializer)?;
        if flat.access_key_id.is_some() || flat.secret_access_key.is_some() {
            flat.refuse(
                "an access key",
                &[
                    "access_key_id",
                    "secret_access_key",
                    "session_token",
                    "assume_role",
                    "external_id",
                    "region",
                    "session_name",
                ],
            )?;
            let missing =
                |key| de::Error::custom(format!("`auth.{key}` is missing: an access key has two halves"));
            return Ok(Self::AccessKey {
                access_key_id: flat.access_key_id.ok_or_else(|| missing("access_key_id"))?,
                secret_access_key: flat.secret_access_key.ok_or_else(|| missing("secret_access_key"))?,
                session_token: flat.session_token,
                assume_role: flat.assume_role,
                external_id: flat.external_id,
                region: flat.region,
                session_name: flat.session_name,
            });
        }
        if flat.credentials_file.is_some() {
            flat.refuse("a credentials file", &["credentials_file", "profile", "region"])?;
            return Ok(Self::File {
                credentials_file: flat.credentials_file.unwrap_or_default(),
                profile: flat.profile.unwrap_or_else(default_profile),
                region: flat.region,
            });
        }
        if flat.assume_role.is_some() {
            flat.refuse(
                "a role over the default chain",
                &["assume_role", "external_id", "load_timeout_secs", "imds", "region", "session_name"],
            )?;
            return Ok(Self::Role {
                assume_role: flat.assume_role.unwrap_or_default(),
                external_id: flat.external_id,
                load_timeout_secs: flat.load_timeout_secs,
                imds: flat.imds.unwrap_or_default(),
                region: flat.region,
                session_name: flat.session_name,
            });
        }
        flat.refuse("the default chain", &["load_timeout_secs", "imds", "region"])?;
        Ok(Self::Default {
            load_timeout_secs: flat.load_timeout_secs,
            imds: flat.imds.unwrap_or_default(),
            region: flat.region,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn parse(value: Value) -> Result<AwsAuthentication, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn each_shape_of_vectors_finds_its_variant() {
        use AwsAuthentication::{AccessKey, Default, File, Role};
        assert!(matches!(parse(json!({})).unwrap(), Default { load_timeout_secs: None, .. }));
        assert!(matches!(
            parse(json!({"load_timeout_secs": 10, "imds": {"max_attempts": 5}})).unwrap(),
            Default {
                load_timeout_secs: Some(10),
                imds: ImdsOptions { max_attempts: 5, connect_timeout_seconds: 1, read_timeout_seconds: 1 },
                ..
            }
        ));
        assert!(matches!(parse(json!({"region": "us-west-2"})).unwrap(), Default { region: Some(_), .. }));
        assert!(matches!(
            parse(json!({"assume_role": "root", "external_id": "id", "load_timeout_secs": 10,
                         "session_name": "s", "region": "us-west-2"}))
            .unwrap(),
            Role { load_timeout_secs: Some(10), .. }
        ));
        assert!(matches!(
            parse(json!({"access_key_id": "k", "secret_access_key": "s", "session_token": "t",
                         "assume_role": "r", "external_id": "e", "region": "x", "session_name": "n"}))
            .unwrap(),
            AccessKey { assume_role: Some(_), session_token: Some(_), .. }
        ));
        let file = parse(json!({"credentials_file": "/path"})).unwrap();
        assert!(matches!(&file, File { profile, .. } if profile == "default"));
        assert!(matches!(parse(json!({"credentials_file": "/path", "profile": "foo"})).unwrap(),
            File { profile, .. } if profile == "foo"));
    }

    #[test]
    fn an_error_names_the_key_that_is_wrong() {
        for (value, part) in [
            (json!({"access_key": "k"}), "unknown field `access_key`"),
            (json!({"access_key_id": "k"}), "`auth.secret_access_key` is missing"),
            (json!({"secret_access_key": "k"}), "`auth.access_key_id` is missing"),
            (
                json!({"access_key_id": "k", "secret_access_key": "s", "imds": {}}),
                "`auth.imds` does not go with an access key",
            ),
            (json!({"profile": "x"}), "`auth.profile` does not go with the default chain"),
            (json!({"credentials_file": "f", "assume_role": "r"}), "`auth.assume_role` does not go with"),
            (json!({"session_token": "t"}), "`auth.session_token` does not go with the default chain"),
            (json!({"imds": {"retries": 1}}), "unknown field `retries`"),
        ] {
            let error = parse(value).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn no_secret_is_printed_or_serialized() {
        let auth = parse(json!({"access_key_id": "AKIAHIDDEN", "secret_access_key": "hunter2",
                                "session_token": "hunter3"}))
        .unwrap();
        let shown = format!("{auth:?} {}", serde_json::to_string(&auth).unwrap());
        assert!(!shown.contains("hunter") && !shown.contains("AKIAHIDDEN"), "{shown}");
    }

    #[test]
    fn the_schema_lists_the_keys_of_every_variant() {
        let schema = serde_json::to_string(&schemars::schema_for!(AwsAuthentication)).unwrap();
        for key in
            ["access_key_id", "credentials_file", "assume_role", "load_timeout_secs", "imds", "profile"]
        {
            assert!(schema.contains(key), "{key}");
        }
    }
}
