//! Proxy: which requests go through which proxy.
//! In: the merged `proxy` options and a URI. Out: the proxy to use, or none.
//! Never: sends instance metadata or container credentials through a proxy.

use std::net::IpAddr;

use afluente_pipeline::config::ProxyConfig;
use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

/// Why the `proxy` options cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("proxy.{option}: `{shown}` is not a proxy address: write http://host:port or https://host:port")]
pub struct ProxyError {
    option: &'static str,
    shown: String,
}

/// The rules of one client.
pub(super) struct Proxy {
    rules: Option<Matcher>,
    /// The proxy of this scheme comes from the environment, so that this machine's own addresses are left out.
    from_environment: Schemes,
}

#[derive(Default)]
struct Schemes {
    http: bool,
    https: bool,
}

impl Proxy {
    pub(super) fn new(config: &ProxyConfig) -> Result<Self, ProxyError> {
        Self::with_environment(config, &ProxyConfig::from_env())
    }

    fn with_environment(config: &ProxyConfig, environment: &ProxyConfig) -> Result<Self, ProxyError> {
        if !config.enabled || (config.http.is_none() && config.https.is_none()) {
            return Ok(Self { rules: None, from_environment: Schemes::default() });
        }
        let address = |option, value: &Option<String>| match value.as_deref() {
            None | Some("") => Ok(String::new()),
            Some(value) => usable(option, value).map(|()| value.to_owned()),
        };
        let rules = Matcher::builder()
            .http(address("http", &config.http)?)
            .https(address("https", &config.https)?)
            .no(config.no_proxy.join(","))
            .build();
        let from_environment = Schemes {
            http: config.http.is_some() && config.http == environment.http,
            https: config.https.is_some() && config.https == environment.https,
        };
        Ok(Self { rules: Some(rules), from_environment })
    }

    /// The proxy for this destination.
    pub(super) fn intercept(&self, uri: &Uri) -> Option<Intercept> {
        let rules = self.rules.as_ref()?;
        let from_environment = if uri.scheme_str() == Some("https") {
            self.from_environment.https
        } else {
            self.from_environment.http
        };
        match reach(uri.host()?) {
            Reach::Machine => None,
            Reach::Loopback if from_environment => None,
            _ => rules.intercept(uri),
        }
    }
}

fn usable(option: &'static str, value: &str) -> Result<(), ProxyError> {
    let fine = value.parse::<Uri>().is_ok_and(|uri| {
        uri.authority().is_some() && matches!(uri.scheme_str(), None | Some("http" | "https"))
    });
    if fine {
        return Ok(());
    }
    // What stands before an `@` may be a password.
    let shown = value.rsplit('@').next().unwrap_or_default().to_owned();
    Err(ProxyError { option, shown })
}

/// How far away a host is.
enum Reach {
    /// Link-local: instance metadata (169.254.169.254, fd00:ec2::254) and container credentials. No proxy can reach ours.
    Machine,
    /// This machine. A proxy from the environment is meant for the outside, as in curl's and Go's practice.
    Loopback,
    Elsewhere,
}

fn reach(host: &str) -> Reach {
    if host.eq_ignore_ascii_case("localhost") {
        return Reach::Loopback;
    }
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) if address.is_loopback() => Reach::Loopback,
        Ok(IpAddr::V4(address)) if address.is_link_local() => Reach::Machine,
        Ok(IpAddr::V6(address)) if address.segments()[..2] == [0xfd00, 0x0ec2] => Reach::Machine,
        _ => Reach::Elsewhere,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn config(http: &str, https: &str, no: &[&str]) -> ProxyConfig {
        let set = |value: &str| Some(value.to_owned()).filter(|value| !value.is_empty());
        ProxyConfig {
            enabled: true,
            http: set(http),
            https: set(https),
            no_proxy: no.iter().map(|part| (*part).to_owned()).collect(),
        }
    }

    fn via(proxy: &Proxy, uri: &str) -> Option<String> {
        proxy.intercept(&uri.parse().unwrap()).map(|found| found.uri().to_string())
    }

    #[test]
    fn each_scheme_has_its_own_proxy_and_no_proxy_wins() {
        let none = ProxyConfig::default();
        let rules = config("http://plain:1", "http://secure:2", &[".corp.example", "10.0.0.0/8"]);
        let proxy = Proxy::with_environment(&rules, &none).unwrap();
        assert_eq!(via(&proxy, "http://kinesis.example/").as_deref(), Some("http://plain:1/"));
        assert_eq!(via(&proxy, "https://kinesis.example/").as_deref(), Some("http://secure:2/"));
        assert_eq!(via(&proxy, "https://a.corp.example/"), None);
        assert_eq!(via(&proxy, "http://10.1.2.3/"), None);
    }

    #[test]
    fn metadata_addresses_never_go_through_a_proxy() {
        let proxy = Proxy::with_environment(&config("http://p:1", "", &[]), &ProxyConfig::default()).unwrap();
        for uri in
            ["http://169.254.169.254/latest", "http://169.254.170.2/v2", "http://[fd00:ec2::254]/latest"]
        {
            assert_eq!(via(&proxy, uri), None, "{uri}");
        }
    }

    #[test]
    fn loopback_goes_through_a_configured_proxy_but_not_through_the_environments() {
        let rules = config("http://p:1", "", &[]);
        let written = Proxy::with_environment(&rules, &ProxyConfig::default()).unwrap();
        assert!(via(&written, "http://127.0.0.1:4567/").is_some());
        let inherited = Proxy::with_environment(&rules, &rules).unwrap();
        assert_eq!(via(&inherited, "http://127.0.0.1:4567/"), None);
        assert_eq!(via(&inherited, "http://localhost:4567/"), None);
        assert!(via(&inherited, "http://kinesis.example/").is_some());
    }

    #[test]
    fn switched_off_means_no_proxy() {
        let mut rules = config("http://p:1", "http://p:1", &[]);
        rules.enabled = false;
        let proxy = Proxy::with_environment(&rules, &ProxyConfig::default()).unwrap();
        assert_eq!(via(&proxy, "https://kinesis.example/"), None);
    }

    #[test]
    fn a_wrong_address_is_named_without_its_password() {
        let rules = config("socks5://joe:hunter2@p:1", "", &[]);
        let error = Proxy::with_environment(&rules, &ProxyConfig::default()).err().unwrap().to_string();
        assert!(error.starts_with("proxy.http: `p:1`"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
