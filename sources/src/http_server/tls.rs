//! TLS: Vector's `tls` options of a server, as a rustls configuration.
//! In: options; files in PEM, or PEM itself. Out: what the listener needs, or one sentence that names the file.
//! Never: shows a key.

use std::path::Path;
use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::auth::Secret;

/// `tls`: how connections are encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// Whether TLS is used.
    pub enabled: bool,
    /// The server's certificate and those between it and its authority: a file, or PEM itself.
    #[serde(alias = "crt_path")]
    pub crt_file: Option<PemSource>,
    /// The certificate's key: a file, or PEM itself. It must not be encrypted.
    #[serde(alias = "key_path")]
    pub key_file: Option<PemSource>,
    /// Not supported: encrypted keys are not read.
    pub key_pass: Option<Secret>,
    /// The authorities that clients' certificates must come from, with `verify_certificate`.
    #[serde(alias = "ca_path")]
    pub ca_file: Option<PemSource>,
    /// Whether clients must show a certificate from `ca_file`. Default: no.
    pub verify_certificate: Option<bool>,
    /// Has no meaning for a server; accepted.
    pub verify_hostname: Option<bool>,
    /// Has no meaning for a server; accepted.
    pub server_name: Option<String>,
    /// Protocols to agree on. Default: `h2`, `http/1.1`.
    pub alpn_protocols: Option<Vec<String>>,
}

/// A path, or PEM itself; not shown, since it may be a key.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct PemSource(String);

impl PemSource {
    fn is_inline(&self) -> bool {
        self.0.contains("-----BEGIN")
    }

    fn name(&self) -> &str {
        if self.is_inline() { "the PEM text in the configuration" } else { &self.0 }
    }

    fn read(&self, option: &str) -> Result<Vec<u8>, String> {
        if self.is_inline() {
            return Ok(self.0.clone().into_bytes());
        }
        std::fs::read(Path::new(&self.0))
            .map_err(|error| format!("`tls.{option}` {:?} cannot be read: {error}", self.0))
    }
}

impl std::fmt::Debug for PemSource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

impl Serialize for PemSource {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl TlsConfig {
    /// What cannot be, without looking at files.
    pub(crate) fn check(&self) -> Vec<String> {
        let mut errors = Vec::new();
        if !self.enabled {
            return errors;
        }
        for (option, value) in [("crt_file", &self.crt_file), ("key_file", &self.key_file)] {
            if value.is_none() {
                errors.push(format!("`tls.enabled` needs `tls.{option}`"));
            }
        }
        if self.key_pass.is_some() {
            errors.push(
                "`tls.key_pass` is not supported: give `tls.key_file` a key that is not encrypted".to_owned(),
            );
        }
        if self.verify_certificate == Some(true) && self.ca_file.is_none() {
            errors.push(
                "`tls.verify_certificate` needs `tls.ca_file`, which says whose clients to trust".to_owned(),
            );
        }
        errors
    }

    /// The server's side of TLS; `None` if it is off.
    ///
    /// # Errors
    /// One sentence that names the option and the file.
    pub(crate) fn build(&self) -> Result<Option<Arc<ServerConfig>>, String> {
        let (true, Some(certificate), Some(key)) = (self.enabled, &self.crt_file, &self.key_file) else {
            return self.check().into_iter().next().map_or(Ok(None), Err);
        };
        let chain = certificates("crt_file", certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&key.read("key_file")?)
            .map_err(|error| format!("`tls.key_file` {} holds no usable private key: {error}", key.name()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?;
        let builder = match (&self.ca_file, self.verify_certificate) {
            (Some(authorities), Some(true)) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates("ca_file", authorities)? {
                    roots.add(authority).map_err(|error| {
                        format!("`tls.ca_file` {} cannot be used: {error}", authorities.name())
                    })?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(
                    verifier.map_err(|error| format!("`tls.ca_file` cannot be used: {error}"))?,
                )
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| {
            format!("`tls.crt_file` and `tls.key_file` do not make a server's identity: {error}")
        })?;
        config.alpn_protocols = match &self.alpn_protocols {
            Some(protocols) => protocols.iter().map(|protocol| protocol.clone().into_bytes()).collect(),
            None => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        };
        Ok(Some(Arc::new(config)))
    }
}

fn certificates(option: &str, source: &PemSource) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = source.read(option)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(format!("`tls.{option}` {} holds no certificate in PEM", source.name())),
        Err(error) => Err(format!("`tls.{option}` {} is not PEM: {error}", source.name())),
    }
}
