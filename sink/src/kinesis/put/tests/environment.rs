//! What depends on environment variables: region and endpoint here, credentials in the files
//! below. Each test runs itself once more in a process of its own, with stand-ins for
//! the services that hand out credentials, so that neither other tests nor the developer's own account get in its way.

mod credentials;
mod instance_metadata;

use std::process::Command;

use super::*;

const CHILD: &str = "AFLUENTE_TEST_CHILD";

fn var(name: &str) -> String {
    std::env::var(name).unwrap()
}

/// True in the inner process. In the outer one: runs the inner with these variables, and is false.
async fn inside(test: &str, variables: &[(&str, &str)]) -> bool {
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let home = tempfile::tempdir().unwrap();
    let module = module_path!().split_once("::").unwrap().1;
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("{module}::{test}")]);
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy().to_ascii_uppercase();
        if name_text.starts_with("AWS_") || name_text.ends_with("_PROXY") {
            command.env_remove(&name);
        }
    }
    command.env(CHILD, "1").env("HOME", home.path());
    if !variables.iter().any(|(name, _)| name.starts_with("AWS_EC2_METADATA")) {
        command.env("AWS_EC2_METADATA_DISABLED", "true");
    }
    command.envs(variables.iter().copied());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    false
}

async fn client_of(auth: serde_json::Value) -> KinesisClient {
    let settings =
        ClientSettings { auth: serde_json::from_value(auth).unwrap(), ..settings(&var("KINESIS")) };
    client(settings).await
}

async fn kinesis() -> Loopback {
    Loopback::start(|_| Reply::ok("{}")).await
}

async fn puts(client: &KinesisClient) {
    let attempt = client.put_records(Bytes::from_static(b"{}")).await;
    assert!(matches!(attempt, Attempt::Answer(_)), "{attempt:?}");
}

fn signed_with(server: &Loopback, key: &str) {
    server.look(|asked| {
        let authorization = asked[0].header("authorization");
        assert!(authorization.contains(key), "{authorization}");
    });
}

#[tokio::test]
async fn the_environment_names_region_and_endpoint_when_the_options_do_not() {
    let variables = [
        ("AWS_REGION", "sa-east-1"),
        ("AWS_ENDPOINT_URL", "http://everything.example:1"),
        ("AWS_ENDPOINT_URL_KINESIS", "http://kinesis.example:2"),
    ];
    if inside("the_environment_names_region_and_endpoint_when_the_options_do_not", &variables).await {
        let silent = ClientSettings { region: None, endpoint: None, ..settings("") };
        let found = client(silent).await.endpoint().clone();
        assert_eq!((found.region.as_str(), found.custom), ("sa-east-1", true));
        assert_eq!(found.uri, "http://kinesis.example:2/");
        let told = client(settings("http://option.example:3")).await.endpoint().clone();
        assert_eq!(
            (told.region.as_str(), told.uri),
            ("eu-west-1", "http://option.example:3/".parse().unwrap())
        );
    }
}

#[tokio::test]
async fn the_region_is_taken_from_an_aws_host_and_emulators_need_none() {
    if inside("the_region_is_taken_from_an_aws_host_and_emulators_need_none", &[]).await {
        for (endpoint, region) in [
            ("https://vpce-1-2.kinesis.eu-west-2.vpce.amazonaws.com", "eu-west-2"),
            ("http://127.0.0.1:4567", "us-east-1"),
        ] {
            let client = client(ClientSettings { region: None, ..settings(endpoint) }).await;
            assert_eq!((client.endpoint().region.as_str(), client.endpoint().custom), (region, true));
        }
    }
}

#[tokio::test]
async fn the_regions_own_endpoint_heeds_fips_and_dual_stack() {
    let variables = [("AWS_USE_FIPS_ENDPOINT", "true"), ("AWS_USE_DUALSTACK_ENDPOINT", "true")];
    if inside("the_regions_own_endpoint_heeds_fips_and_dual_stack", &variables).await {
        let found = client(ClientSettings { endpoint: None, ..settings("") }).await.endpoint().clone();
        assert_eq!(
            (found.uri, found.custom),
            ("https://kinesis-fips.eu-west-1.api.aws/".parse().unwrap(), false)
        );
    }
}

#[tokio::test]
async fn no_region_anywhere_is_an_error_that_says_what_to_set() {
    if inside("no_region_anywhere_is_an_error_that_says_what_to_set", &[]).await {
        let nowhere = ClientSettings { region: None, endpoint: None, ..settings("") };
        let error = KinesisClient::new(nowhere).await.unwrap_err().to_string();
        assert!(error.starts_with("Could not determine region from Afluente configuration"), "{error}");
    }
}
