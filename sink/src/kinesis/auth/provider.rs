//! Provider: from the `auth` options to the SDK's credential providers.
//! In: `AwsAuthentication`, our HTTP client, the region. Out: a provider for `cache`.
//! Never: puts a secret into a message.

use std::time::Duration;

use aws_config::{
    BehaviorVersion, SdkConfig, default_provider::credentials::DefaultCredentialsChain, imds,
    profile::ProfileFileCredentialsProvider, provider_config::ProviderConfig, sts::AssumeRoleProvider,
};
use aws_credential_types::{
    Credentials,
    provider::{SharedCredentialsProvider, error::CredentialsError},
};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_types::region::Region;
use futures::future::BoxFuture;

use super::{AwsAuthentication, ImdsOptions, cache::CredentialsSource};
use crate::kinesis::{
    http::{HttpClient, chain},
    put::clock::ServiceClock,
};

/// What the providers need besides the options.
#[derive(Clone, Debug)]
pub(in crate::kinesis) struct Surroundings {
    /// Environment and profile, as the SDK read them.
    pub(in crate::kinesis) sdk: SdkConfig,
    pub(in crate::kinesis) http: HttpClient,
    pub(in crate::kinesis) clock: ServiceClock,
    /// The stream's region.
    pub(in crate::kinesis) region: String,
}

/// The options with their surroundings: a source for the cache.
pub(in crate::kinesis) struct Providers {
    auth: AwsAuthentication,
    around: Surroundings,
}

impl Providers {
    pub(in crate::kinesis) fn new(auth: AwsAuthentication, around: Surroundings) -> Self {
        Self { auth, around }
    }

    fn sts_region(&self, region: Option<&String>) -> Region {
        Region::new(region.unwrap_or(&self.around.region).clone())
    }

    fn provider_config(&self, region: Option<&String>) -> ProviderConfig {
        ProviderConfig::without_region()
            .with_region(Some(self.sts_region(region)))
            .with_behavior_version(Some(BehaviorVersion::latest()))
            .with_http_client(self.around.http.clone())
            .with_time_source(self.around.clock.clone())
            .with_sleep_impl(TokioSleep::new())
            .with_use_fips(self.around.sdk.use_fips())
            .with_use_dual_stack(self.around.sdk.use_dual_stack())
    }

    async fn chain(&self, options: ImdsOptions, region: Option<&String>) -> SharedCredentialsProvider {
        let config = self.provider_config(region);
        let client = imds::Client::builder()
            .configure(&config)
            .max_attempts(options.max_attempts.max(1))
            .connect_timeout(Duration::from_secs(options.connect_timeout_seconds))
            .read_timeout(Duration::from_secs(options.read_timeout_seconds))
            .build();
        let chain = DefaultCredentialsChain::builder()
            .configure(config)
            .region(self.sts_region(region))
            .imds_client(client)
            .build()
            .await;
        SharedCredentialsProvider::new(chain)
    }

    // The names that replace these live in a crate of the SDK's insides.
    #[allow(deprecated)]
    fn file(&self, path: &str, profile: &str, region: Option<&String>) -> SharedCredentialsProvider {
        use aws_config::profile::profile_file::{ProfileFileKind, ProfileFiles};
        let files = ProfileFiles::builder().with_file(ProfileFileKind::Credentials, path).build();
        let provider = ProfileFileCredentialsProvider::builder()
            .configure(&self.provider_config(region))
            .profile_files(files)
            .profile_name(profile)
            .build();
        SharedCredentialsProvider::new(provider)
    }

    async fn role(
        &self,
        arn: &str,
        external_id: Option<&String>,
        session_name: Option<&String>,
        region: Option<&String>,
        base: SharedCredentialsProvider,
    ) -> SharedCredentialsProvider {
        let mut role = AssumeRoleProvider::builder(arn)
            .configure(&self.around.sdk)
            .region(self.sts_region(region))
            .session_name(session_name.map_or("afluente", String::as_str));
        if let Some(id) = external_id {
            role = role.external_id(id);
        }
        SharedCredentialsProvider::new(role.build_from_provider(base).await)
    }

    async fn build(&self) -> SharedCredentialsProvider {
        match &self.auth {
            AwsAuthentication::AccessKey {
                access_key_id,
                secret_access_key,
                session_token,
                assume_role,
                external_id,
                region,
                session_name,
            } => {
                let keys = Credentials::from_keys(
                    access_key_id.expose(),
                    secret_access_key.expose(),
                    session_token.as_ref().map(|token| token.expose().to_owned()),
                );
                let keys = SharedCredentialsProvider::new(keys);
                match assume_role {
                    None => keys,
                    Some(arn) => {
                        self.role(arn, external_id.as_ref(), session_name.as_ref(), region.as_ref(), keys)
                            .await
                    }
                }
            }
            AwsAuthentication::File { credentials_file, profile, region } => {
                self.file(credentials_file, profile, region.as_ref())
            }
            AwsAuthentication::Role { assume_role, external_id, imds, region, session_name, .. } => {
                let base = self.chain(*imds, region.as_ref()).await;
                self.role(assume_role, external_id.as_ref(), session_name.as_ref(), region.as_ref(), base)
                    .await
            }
            AwsAuthentication::Default { imds, region, .. } => self.chain(*imds, region.as_ref()).await,
        }
    }
}

impl CredentialsSource for Providers {
    fn provider(&self) -> BoxFuture<'_, SharedCredentialsProvider> {
        Box::pin(self.build())
    }

    fn explain(&self, error: &CredentialsError) -> String {
        let (what, advice) = match &self.auth {
            AwsAuthentication::AccessKey { assume_role: None, .. } => (
                "the configured access key".to_owned(),
                "check auth.access_key_id and auth.secret_access_key",
            ),
            AwsAuthentication::AccessKey { assume_role: Some(role), .. } => (
                format!("the role {role} (assumed with the configured access key)"),
                "check that the key may call sts:AssumeRole on the role, that the role trusts the key's user, and auth.external_id",
            ),
            AwsAuthentication::File { credentials_file, profile, .. } => (
                format!("the profile `{profile}` of {credentials_file}"),
                "check auth.credentials_file, auth.profile and that this user may read the file",
            ),
            AwsAuthentication::Role { assume_role, .. } => (
                format!("the role {assume_role} (assumed with what the default chain finds)"),
                "check that there are base credentials, that they may call sts:AssumeRole on the role, and that the role trusts them",
            ),
            AwsAuthentication::Default { .. } => (
                "the default chain (environment, profile, web identity, container, instance metadata)"
                    .to_owned(),
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, a role for the instance or container, or the sink's auth options",
            ),
        };
        match error {
            CredentialsError::CredentialsNotLoaded(_) => format!("no credentials from {what}: {advice}"),
            CredentialsError::ProviderTimedOut(after) => format!(
                "no credentials from {what} within {:?}: check that the service that hands them out can be reached, or raise auth.load_timeout_secs",
                after.timeout_duration()
            ),
            other => format!("no credentials from {what}: {}; {advice}", chain(other)),
        }
    }
}
