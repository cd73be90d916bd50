//! What depends on environment variables. Each test runs itself once more in a process of its own, with stand-ins for
//! the services that hand out credentials, so that neither other tests nor the developer's own account get in its way.

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

/// Plays the security token service.
async fn token_service() -> Loopback {
    Loopback::start(|asked| {
        let body = String::from_utf8(asked.body.to_vec()).unwrap();
        let action = body.split('&').find_map(|part| part.strip_prefix("Action=")).unwrap();
        let xml = format!(
            "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>\
             <AssumedRoleUser><Arn>arn:aws:sts::111122223333:assumed-role/w/s</Arn>\
             <AssumedRoleId>X:s</AssumedRoleId></AssumedRoleUser>\
             <Credentials><AccessKeyId>ASIAROLE000000000001</AccessKeyId>\
             <SecretAccessKey>rolesecret</SecretAccessKey><SessionToken>roletoken</SessionToken>\
             <Expiration>2026-01-01T01:00:00Z</Expiration></Credentials></{action}Result></{action}Response>"
        );
        Reply::Answer(200, vec![("content-type", "text/xml".to_owned())], xml)
    })
    .await
}

fn token_request(sts: &Loopback, parts: &[&str]) {
    sts.look(|asked| {
        let body = String::from_utf8(asked[0].body.to_vec()).unwrap();
        for part in parts {
            assert!(body.contains(part), "{body}");
        }
    });
}

#[tokio::test]
async fn a_role_is_assumed_with_the_configured_key() {
    let (sts, server) = (token_service().await, kinesis().await);
    let variables = [("AWS_ENDPOINT_URL_STS", &*sts.url()), ("KINESIS", &*server.url())];
    if inside("a_role_is_assumed_with_the_configured_key", &variables).await {
        let auth = json!({
            "access_key_id": "AKIDBASE0000000001", "secret_access_key": "s",
            "assume_role": "arn:aws:iam::111122223333:role/w",
            "external_id": "outside", "session_name": "mine", "region": "eu-central-1"
        });
        return puts(&client_of(auth).await).await;
    }
    token_request(
        &sts,
        &[
            "Action=AssumeRole&",
            "RoleArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fw",
            "ExternalId=outside",
            "RoleSessionName=mine",
        ],
    );
    signed_with(&sts, "AKIDBASE0000000001/20260101/eu-central-1/sts");
    signed_with(&server, "ASIAROLE000000000001");
    server.look(|asked| assert_eq!(asked[0].header("x-amz-security-token"), "roletoken"));
}

#[tokio::test]
async fn a_role_is_assumed_over_the_default_chain() {
    let (sts, server) = (token_service().await, kinesis().await);
    let variables = [
        ("AWS_ENDPOINT_URL_STS", &*sts.url()),
        ("KINESIS", &*server.url()),
        ("AWS_ACCESS_KEY_ID", "AKIDENV00000000001"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
    ];
    if inside("a_role_is_assumed_over_the_default_chain", &variables).await {
        return puts(&client_of(json!({"assume_role": "arn:aws:iam::111122223333:role/w"})).await).await;
    }
    token_request(&sts, &["RoleSessionName=afluente"]);
    signed_with(&sts, "AKIDENV00000000001/20260101/eu-west-1/sts");
    signed_with(&server, "ASIAROLE000000000001");
}

#[tokio::test]
async fn a_denied_role_is_explained_without_the_secret() {
    let sts = Loopback::start(|_| {
        let xml = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>User: \
                   arn:aws:iam::1:user/x is not authorized to perform: sts:AssumeRole</Message></Error></ErrorResponse>";
        Reply::Answer(403, Vec::new(), xml.to_owned())
    })
    .await;
    let variables = [("AWS_ENDPOINT_URL_STS", &*sts.url()), ("KINESIS", "http://127.0.0.1:9")];
    if inside("a_denied_role_is_explained_without_the_secret", &variables).await {
        let auth = json!({"access_key_id": "AKIDBASE0000000001", "secret_access_key": "hunter2",
                          "assume_role": "arn:aws:iam::1:role/w"});
        let found = failure(client_of(auth).await.put_records(Bytes::from_static(b"{}")).await);
        assert_eq!((found.kind, found.may_be_stored), (FailureKind::Credentials, false));
        for part in ["role arn:aws:iam::1:role/w", "not authorized to perform", "auth.external_id"] {
            assert!(found.message.contains(part), "{}", found.message);
        }
        assert!(!found.message.contains("hunter2"), "{}", found.message);
    }
}

#[tokio::test]
async fn instance_metadata_gives_credentials_and_region_where_nothing_else_does() {
    let imds = Loopback::start(|asked| match asked.line.as_str() {
        "PUT /latest/api/token" => Reply::Answer(
            200,
            vec![("x-aws-ec2-metadata-token-ttl-seconds", "600".to_owned())],
            "token".to_owned(),
        ),
        line if line.ends_with("/placement/region") => Reply::ok("ap-south-1"),
        line if line.ends_with("/security-credentials-extended/")
            || line.ends_with("/security-credentials/") =>
        {
            Reply::ok("my-role")
        }
        line if line.contains("security-credentials") => Reply::ok(
            r#"{"Code":"Success","LastUpdated":"2026-01-01T00:00:00Z","Type":"AWS-HMAC",
                "AccessKeyId":"ASIAIMDS000000000001","SecretAccessKey":"s","Token":"t",
                "Expiration":"2026-01-01T06:00:00Z","AccountId":"111122223333"}"#,
        ),
        _ => Reply::Answer(404, Vec::new(), String::new()),
    })
    .await;
    let server = kinesis().await;
    let variables = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", &*imds.url()), ("KINESIS", &*server.url())];
    if inside("instance_metadata_gives_credentials_and_region_where_nothing_else_does", &variables).await {
        puts(&client_of(json!({"load_timeout_secs": 20, "imds": {"max_attempts": 2}})).await).await;
        let nowhere = ClientSettings { region: None, endpoint: None, ..settings("") };
        assert_eq!(client(nowhere).await.endpoint().uri, "https://kinesis.ap-south-1.amazonaws.com/");
        return;
    }
    signed_with(&server, "ASIAIMDS000000000001");
}

#[tokio::test]
async fn a_container_gives_credentials() {
    let container = Loopback::start(|asked| {
        assert_eq!(asked.header("authorization"), "the-pass");
        Reply::ok(
            r#"{"AccessKeyId":"ASIACONTAINER0000001","SecretAccessKey":"s","Token":"t",
                "Expiration":"2026-01-01T06:00:00Z"}"#,
        )
    })
    .await;
    let server = kinesis().await;
    let url = format!("{}/credentials", container.url());
    let variables = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*url),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "the-pass"),
        ("KINESIS", &*server.url()),
    ];
    if inside("a_container_gives_credentials", &variables).await {
        return puts(&client_of(json!({})).await).await;
    }
    signed_with(&server, "ASIACONTAINER0000001");
}

#[tokio::test]
async fn a_web_identity_becomes_a_role() {
    let (sts, server) = (token_service().await, kinesis().await);
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "the-web-token").unwrap();
    let variables = [
        ("AWS_ENDPOINT_URL_STS", &*sts.url()),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
        ("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/pod"),
        ("KINESIS", &*server.url()),
    ];
    if inside("a_web_identity_becomes_a_role", &variables).await {
        return puts(&client_of(json!({})).await).await;
    }
    token_request(&sts, &["Action=AssumeRoleWithWebIdentity&", "WebIdentityToken=the-web-token"]);
    signed_with(&server, "ASIAROLE000000000001");
}

#[tokio::test]
async fn nothing_to_sign_with_is_a_sentence_that_says_where_credentials_may_come_from() {
    let variables = [("KINESIS", "http://127.0.0.1:9")];
    if inside("nothing_to_sign_with_is_a_sentence_that_says_where_credentials_may_come_from", &variables)
        .await
    {
        let found = failure(client_of(json!({})).await.put_records(Bytes::from_static(b"{}")).await);
        assert_eq!((found.kind, found.may_be_stored), (FailureKind::Credentials, false));
        assert!(found.message.contains("set AWS_ACCESS_KEY_ID"), "{}", found.message);
    }
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
