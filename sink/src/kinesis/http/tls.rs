//! TLS: what a user writes under `tls`, turned into one rustls configuration.
//! In: `TlsConfig` and the machine's trusted roots. Out: `rustls::ClientConfig` with the ring provider.
//! Never: prints a key, skips a check that the user did not switch off by name.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::auth::Secret;

/// TLS options, with Vector's names.
///
/// Every `*_file` may hold a path or the PEM text itself. `*_path` is accepted as another name for each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// Whether the server's certificate is checked at all. `false` lets anyone in the middle read and write: for tests only.
    pub verify_certificate: bool,
    /// Whether the certificate must be issued for the host that is called.
    pub verify_hostname: bool,
    /// Protocols offered in the handshake, in order of preference. Unset: `http/1.1` alone, which is faster here
    /// because requests are large and a pool of connections carries them side by side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpn_protocols: Option<Vec<String>>,
    /// Certificates that are trusted in addition to the machine's own, as PEM.
    #[serde(alias = "ca_path", skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// Our own certificate chain, as PEM, for endpoints that ask for one. Needs `key_file`.
    #[serde(alias = "crt_path", skip_serializing_if = "Option::is_none")]
    pub crt_file: Option<String>,
    /// The private key of `crt_file`, as unencrypted PEM.
    #[serde(alias = "key_path", skip_serializing_if = "Option::is_none")]
    pub key_file: Option<Secret>,
    /// Pass phrase of `key_file`. Encrypted keys are not supported: setting it on an unencrypted key does nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_pass: Option<Secret>,
    /// The name that is asked for and verified in place of the endpoint's host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            verify_certificate: true,
            verify_hostname: true,
            alpn_protocols: None,
            ca_file: None,
            crt_file: None,
            key_file: None,
            key_pass: None,
            server_name: None,
        }
    }
}

/// Why the `tls` options cannot be used. The user must change them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file is not readable.
    #[error("tls.{option}: cannot read {path}")]
    Read {
        /// The option that names the file.
        option: &'static str,
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file or inline text holds no usable PEM.
    #[error("tls.{option}: {problem}")]
    Pem {
        /// The option.
        option: &'static str,
        /// What is wrong and what to do.
        problem: String,
    },
    /// Options that need each other.
    #[error("tls: {0}")]
    Options(&'static str),
    /// A name that is no host name.
    #[error("tls.server_name: `{0}` is not a host name or address")]
    ServerName(String),
    /// Certificate and key do not go together, or the provider refuses them.
    #[error("tls: the certificate, key or protocol versions were refused")]
    Refused(#[source] rustls::Error),
}

/// A rustls configuration and the name to verify, if the user gave one.
pub(super) struct TlsSettings {
    pub(super) client: Arc<ClientConfig>,
    pub(super) server_name: Option<ServerName<'static>>,
    /// True if nothing at all is trusted, so that every handshake will fail: worth a better message then.
    pub(super) no_roots: bool,
}

impl TlsConfig {
    /// Reads the files and builds the client side. Blocking, for start-up.
    pub(super) fn build(&self) -> Result<TlsSettings, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        if self.verify_certificate {
            // Unreadable system certificates are common and harmless: the ones we need may be among the rest.
            let native = rustls_native_certs::load_native_certs();
            for error in &native.errors {
                tracing::debug!(%error, "a system certificate could not be loaded");
            }
            roots.add_parsable_certificates(native.certs);
        }
        if let Some(ca) = &self.ca_file {
            for certificate in certificates("ca_file", ca)? {
                roots.add(certificate).map_err(TlsError::Refused)?;
            }
        }
        let no_roots = self.verify_certificate && roots.is_empty();

        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Refused)?;
        let builder = if !self.verify_certificate {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone { provider }))
        } else if !self.verify_hostname && !roots.is_empty() {
            let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| TlsError::Pem { option: "ca_file", problem: error.to_string() })?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyName { inner }))
        } else {
            builder.with_root_certificates(roots)
        };
        let mut client = match (&self.crt_file, &self.key_file) {
            (Some(crt), Some(key)) => builder
                .with_client_auth_cert(certificates("crt_file", crt)?, private_key(key.expose())?)
                .map_err(TlsError::Refused)?,
            (None, None) => builder.with_no_client_auth(),
            (Some(_), None) => {
                return Err(TlsError::Options("crt_file needs key_file, the private key that belongs to it"));
            }
            (None, Some(_)) => {
                return Err(TlsError::Options("key_file needs crt_file, the certificate that belongs to it"));
            }
        };
        client.alpn_protocols = match &self.alpn_protocols {
            Some(protocols) => protocols.iter().map(|name| name.as_bytes().to_vec()).collect(),
            None => vec![b"http/1.1".to_vec()],
        };
        let server_name = match &self.server_name {
            Some(name) => {
                Some(ServerName::try_from(name.clone()).map_err(|_| TlsError::ServerName(name.clone()))?)
            }
            None => None,
        };
        Ok(TlsSettings { client: Arc::new(client), server_name, no_roots })
    }
}

fn pem_bytes(option: &'static str, value: &str) -> Result<Vec<u8>, TlsError> {
    if value.contains("-----BEGIN ") {
        return Ok(value.as_bytes().to_vec());
    }
    std::fs::read(Path::new(value)).map_err(|source| TlsError::Read {
        option,
        path: value.to_owned(),
        source,
    })
}

fn certificates(option: &'static str, value: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = pem_bytes(option, value)?;
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(&bytes).collect::<Result<_, _>>().map_err(|error| TlsError::Pem {
            option,
            problem: format!("not readable as PEM ({error}); PKCS#12 and DER are not supported"),
        })?;
    if found.is_empty() {
        return Err(TlsError::Pem {
            option,
            problem:
                "holds no `-----BEGIN CERTIFICATE-----`; PKCS#12 and DER are not supported, convert it to PEM"
                    .to_owned(),
        });
    }
    Ok(found)
}

fn private_key(value: &str) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = pem_bytes("key_file", value)?;
    if let Ok(key) = PrivateKeyDer::from_pem_slice(&bytes) {
        // A legacy encrypted key keeps the plain label and says so in its headers.
        if memchr::memmem::find(&bytes, b"Proc-Type: 4,ENCRYPTED").is_none() {
            return Ok(key);
        }
    }
    let encrypted = memchr::memmem::find(&bytes, b"ENCRYPTED").is_some();
    let problem = if encrypted {
        "the private key is encrypted, which is not supported: decrypt it with `openssl pkey -in KEY -out PLAIN`, \
         keep the result readable by this user alone, and leave key_pass out"
    } else {
        "holds no private key in PEM (PKCS#8, PKCS#1 or SEC1)"
    };
    Err(TlsError::Pem { option: "key_file", problem: problem.to_owned() })
}

/// Accepts every certificate: `verify_certificate: false`.
#[derive(Debug)]
struct Anyone {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Checks the chain but not the name: `verify_hostname: false`.
#[derive(Debug)]
struct AnyName {
    inner: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use rustls::CertificateError::{NotValidForName, NotValidForNameContext};
        // The name is the last thing checked, so everything else has passed when this is the error.
        match self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp, now) {
            Err(rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })) => {
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
