//! Endpoint: which region, which address.
//! In: the options, the environment and profile as the SDK reads them. Out: one `Endpoint`.
//! Never: guesses a region for AWS's own endpoints.

use aws_config::{
    BehaviorVersion, SdkConfig, environment::EnvironmentVariableRegionProvider,
    meta::region::RegionProviderChain, profile::ProfileFileRegionProvider,
};
use aws_types::{region::Region, service_config::ServiceConfigKey};
use http::Uri;

use super::{BuildError, clock::ServiceClock};
use crate::kinesis::http::HttpClient;

/// The region that requests to an endpoint outside AWS are signed for when nobody names one. Emulators take any.
const REGION_OF_EMULATORS: &str = "us-east-1";

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Scheme, host and port; the path is `/` unless the user gave one.
    pub uri: Uri,
    /// The region that requests are signed for.
    pub region: String,
    /// True if the address was given (option, environment or profile) rather than derived from the region.
    /// Such an endpoint may be an emulator that does not know every part of the API.
    pub custom: bool,
}

impl Endpoint {
    /// Whether it is AWS's own: the region's address, or another one that AWS gives (VPC endpoint, FIPS, dual stack).
    pub(in crate::kinesis) fn is_aws(&self) -> bool {
        !self.custom || self.uri.host().is_some_and(|host| region_in_host(host).is_some())
    }
}

/// The dual-stack and plain suffixes of AWS's partitions, by the region prefixes that select them. The first that fits
/// counts; the last is everything else. From the SDK's partition list, `aws-sdk-kinesis` 1.130.
const PARTITIONS: [Partition; 8] = [
    Partition {
        prefixes: &["cn-"],
        name: "aws-cn",
        plain: "amazonaws.com.cn",
        dual: "api.amazonwebservices.com.cn",
    },
    Partition { prefixes: &["us-gov-"], name: "aws-us-gov", plain: "amazonaws.com", dual: "api.aws" },
    Partition { prefixes: &["us-iso-"], name: "aws-iso", plain: "c2s.ic.gov", dual: "api.aws.ic.gov" },
    Partition { prefixes: &["us-isob-"], name: "aws-iso-b", plain: "sc2s.sgov.gov", dual: "api.aws.scloud" },
    Partition {
        prefixes: &["eu-isoe-"],
        name: "aws-iso-e",
        plain: "cloud.adc-e.uk",
        dual: "api.cloud-aws.adc-e.uk",
    },
    Partition {
        prefixes: &["us-isof-", "eu-isof-"],
        name: "aws-iso-f",
        plain: "csp.hci.ic.gov",
        dual: "api.aws.hci.ic.gov",
    },
    Partition {
        prefixes: &["eusc-"],
        name: "aws-eusc",
        plain: "amazonaws.eu",
        dual: "api.amazonwebservices.eu",
    },
    Partition { prefixes: &[""], name: "aws", plain: "amazonaws.com", dual: "api.aws" },
];

struct Partition {
    prefixes: &'static [&'static str],
    name: &'static str,
    plain: &'static str,
    dual: &'static str,
}

fn partition(region: &str) -> &'static Partition {
    let fits = |partition: &&Partition| partition.prefixes.iter().any(|prefix| region.starts_with(prefix));
    PARTITIONS.iter().find(fits).unwrap_or(&PARTITIONS[PARTITIONS.len() - 1])
}

/// The partition's name, as ARNs carry it: `aws`, `aws-cn`, `aws-us-gov`, …
#[must_use]
pub fn partition_name(region: &str) -> &'static str {
    partition(region).name
}

/// AWS's own address for a region.
fn aws_host(region: &str, fips: bool, dual_stack: bool) -> String {
    let partition = partition(region);
    let suffix = if dual_stack { partition.dual } else { partition.plain };
    // GovCloud's ordinary endpoint is the FIPS one.
    let name =
        if fips && (dual_stack || partition.name != "aws-us-gov") { "kinesis-fips" } else { "kinesis" };
    format!("{name}.{region}.{suffix}")
}

/// The region in an AWS host name: `kinesis.eu-west-1.amazonaws.com`, `vpce-1-2.kinesis.eu-west-1.vpce.amazonaws.com`.
fn region_in_host(host: &str) -> Option<&str> {
    let mut labels = host.split('.');
    labels.find(|label| {
        label.strip_prefix("kinesis").is_some_and(|rest| rest.is_empty() || rest == "-fips")
            || label.ends_with("kinesis") && label.contains('-')
    })?;
    let region = labels.next()?;
    let known = PARTITIONS.iter().any(|partition| {
        host.ends_with(&format!(".{}", partition.plain)) || host.ends_with(&format!(".{}", partition.dual))
    });
    let shaped = region.split('-').count() >= 3 && region.ends_with(|c: char| c.is_ascii_digit());
    (known && shaped).then_some(region)
}

fn checked(endpoint: &str) -> Result<Uri, BuildError> {
    // What stands before an `@` may be a password.
    let shown = endpoint.rsplit('@').next().unwrap_or_default();
    let refuse = |problem| BuildError::Endpoint { endpoint: shown.to_owned(), problem };
    let uri: Uri = endpoint.parse().map_err(|_| refuse("it is not a URL"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(refuse("it does not start with http:// or https://"));
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(refuse("it has no host"));
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(refuse("it carries a user name; credentials belong into auth"));
    }
    if uri.query().is_some() {
        return Err(refuse("it has a query"));
    }
    Ok(uri)
}

/// Reads environment and profile, and decides. Asks the network (instance metadata) only for a region that
/// nothing else names, and never when the endpoint is outside AWS.
pub(super) async fn resolve(
    region: Option<&str>,
    endpoint: Option<&str>,
    http: &HttpClient,
    clock: &ServiceClock,
) -> Result<(Endpoint, SdkConfig), BuildError> {
    let given = endpoint.map(checked).transpose()?;
    // Without the network first: what the options, the environment and the profile say.
    let named = RegionProviderChain::first_try(region.map(|name| Region::new(name.to_owned())))
        .or_else(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new());
    let sdk = load(http, clock, Some(named)).await;
    let address = match given {
        Some(uri) => Some(uri),
        None => from_environment(&sdk).as_deref().map(checked).transpose()?,
    };
    let sdk = match (sdk.region(), &address) {
        (Some(_), _) => sdk,
        (None, Some(uri)) => {
            let region = uri.host().and_then(region_in_host).unwrap_or(REGION_OF_EMULATORS);
            tracing::debug!(region, endpoint = %uri, "no region is configured; requests are signed for this one");
            sdk.into_builder().region(Region::new(region.to_owned())).build()
        }
        (None, None) => load(http, clock, None).await,
    };
    let region =
        sdk.region().map(ToString::to_string).filter(|name| !name.is_empty()).ok_or(BuildError::NoRegion)?;
    if !region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        return Err(BuildError::Region(region));
    }
    let custom = address.is_some();
    let uri = match address {
        Some(uri) => uri,
        None => {
            let host = aws_host(
                &region,
                sdk.use_fips().unwrap_or_default(),
                sdk.use_dual_stack().unwrap_or_default(),
            );
            checked(&format!("https://{host}/"))?
        }
    };
    Ok((Endpoint { uri, region, custom }, sdk))
}

async fn load(http: &HttpClient, clock: &ServiceClock, region: Option<RegionProviderChain>) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http.clone())
        .time_source(clock.clone())
        .no_credentials();
    if let Some(region) = region {
        loader = loader.region(region);
    }
    loader.load().await
}

/// `AWS_ENDPOINT_URL_KINESIS`, `AWS_ENDPOINT_URL`, or the profile's `services` section and `endpoint_url`.
fn from_environment(sdk: &SdkConfig) -> Option<String> {
    let key = ServiceConfigKey::builder()
        .service_id("Kinesis")
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build()
        .ok()?;
    sdk.service_config()
        .and_then(|config| config.load_config(key))
        .or_else(|| sdk.endpoint_url().map(str::to_owned))
        .filter(|url| !url.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn each_partition_has_its_own_names() {
        for (region, fips, dual, host) in [
            ("eu-west-1", false, false, "kinesis.eu-west-1.amazonaws.com"),
            ("us-east-1", true, false, "kinesis-fips.us-east-1.amazonaws.com"),
            ("us-east-1", false, true, "kinesis.us-east-1.api.aws"),
            ("us-east-1", true, true, "kinesis-fips.us-east-1.api.aws"),
            ("cn-north-1", false, false, "kinesis.cn-north-1.amazonaws.com.cn"),
            ("cn-north-1", false, true, "kinesis.cn-north-1.api.amazonwebservices.com.cn"),
            ("us-gov-west-1", false, false, "kinesis.us-gov-west-1.amazonaws.com"),
            ("us-gov-west-1", true, false, "kinesis.us-gov-west-1.amazonaws.com"),
            ("us-iso-east-1", false, false, "kinesis.us-iso-east-1.c2s.ic.gov"),
            ("us-isob-east-1", false, false, "kinesis.us-isob-east-1.sc2s.sgov.gov"),
            ("eusc-de-east-1", false, false, "kinesis.eusc-de-east-1.amazonaws.eu"),
        ] {
            assert_eq!(aws_host(region, fips, dual), host);
        }
    }

    #[test]
    fn an_aws_host_names_its_region_and_others_do_not() {
        for (host, region) in [
            ("kinesis.eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("kinesis-fips.us-east-1.amazonaws.com", Some("us-east-1")),
            ("kinesis.us-gov-west-1.amazonaws.com", Some("us-gov-west-1")),
            ("vpce-0a-b1.kinesis.ap-south-1.vpce.amazonaws.com", Some("ap-south-1")),
            ("111122223333.data-kinesis.eu-west-2.amazonaws.com", Some("eu-west-2")),
            ("localhost", None),
            ("kinesis.internal.example", None),
            ("kinesis.eu-west-1.example.com", None),
        ] {
            assert_eq!(region_in_host(host), region, "{host}");
        }
    }

    #[test]
    fn an_address_that_was_given_is_aws_s_own_only_if_its_host_says_so() {
        let is_aws = |uri: &str, custom| {
            Endpoint { uri: checked(uri).unwrap(), region: "eu-west-1".to_owned(), custom }.is_aws()
        };
        for (uri, aws) in [
            ("https://kinesis.eu-west-1.amazonaws.com/", true),
            ("https://kinesis-fips.us-east-1.api.aws/", true),
            ("https://vpce-0a-b1.kinesis.eu-west-1.vpce.amazonaws.com/", true),
            ("http://localhost:4566", false),
            ("http://127.0.0.1:4567/", false),
            ("https://kinesis.eu-west-1.amazonaws.com.example.com/", false),
            ("https://example.com/kinesis.eu-west-1.amazonaws.com", false),
        ] {
            assert_eq!(is_aws(uri, true), aws, "{uri}");
            assert!(is_aws(uri, false), "{uri}: derived from the region");
        }
    }

    #[test]
    fn a_wrong_endpoint_is_refused_with_the_reason() {
        for (endpoint, part) in [
            ("kinesis.eu-west-1.amazonaws.com", "does not start with http"),
            ("ftp://host/", "does not start with http"),
            ("http://", "not a URL"),
            ("http://joe:pw@host/", "user name"),
            ("http://host/?x=1", "query"),
        ] {
            let error = checked(endpoint).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(checked("http://127.0.0.1:4567").unwrap().path(), "/");
    }
}
