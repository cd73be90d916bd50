//! Every other way to credentials: keys, files, roles, web identity, container; and their end in mid-run.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use aws_smithy_async::time::{SharedTimeSource, TimeSource};

use super::*;

/// Plays the security token service.
async fn token_service() -> Loopback {
    token_service_of(&[("ASIAROLE000000000001", "2026-01-01T01:00:00Z")]).await
}

/// Plays the security token service: the n-th answer is the n-th key and its end, the last one for ever.
async fn token_service_of(keys: &'static [(&str, &str)]) -> Loopback {
    let answered = AtomicUsize::new(0);
    Loopback::start(move |asked| {
        let body = String::from_utf8(asked.body.to_vec()).unwrap();
        let action = body.split('&').find_map(|part| part.strip_prefix("Action=")).unwrap();
        let (key, end) = keys[answered.fetch_add(1, Ordering::SeqCst).min(keys.len() - 1)];
        let xml = format!(
            "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>\
             <AssumedRoleUser><Arn>arn:aws:sts::111122223333:assumed-role/w/s</Arn>\
             <AssumedRoleId>X:s</AssumedRoleId></AssumedRoleUser>\
             <Credentials><AccessKeyId>{key}</AccessKeyId>\
             <SecretAccessKey>rolesecret</SecretAccessKey><SessionToken>roletoken</SessionToken>\
             <Expiration>{end}</Expiration></Credentials></{action}Result></{action}Response>"
        );
        Reply::Answer(200, vec![("content-type", "text/xml".to_owned())], xml)
    })
    .await
}

/// What the `nth` question to the token service said.
fn token_request(sts: &Loopback, nth: usize, parts: &[&str]) {
    sts.look(|asked| {
        let body = String::from_utf8(asked[nth].body.to_vec()).unwrap();
        for part in parts {
            assert!(body.contains(part), "{body}");
        }
    });
}

#[tokio::test]
async fn a_role_is_assumed_with_the_configured_key() {
    let (sts, server) = (token_service().await, kinesis().await);
    let variables = [("AWS_ENDPOINT_URL_STS", &*sts.url()), ("KINESIS", &*server.url())];
    if inside("credentials::a_role_is_assumed_with_the_configured_key", &variables).await {
        let auth = json!({
            "access_key_id": "AKIDBASE0000000001", "secret_access_key": "s",
            "assume_role": "arn:aws:iam::111122223333:role/w",
            "external_id": "outside", "session_name": "mine", "region": "eu-central-1"
        });
        return puts(&client_of(auth).await).await;
    }
    token_request(
        &sts,
        0,
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
    if inside("credentials::a_role_is_assumed_over_the_default_chain", &variables).await {
        let role = json!({"assume_role": "arn:aws:iam::111122223333:role/w"});
        puts(&client_of(role).await).await;
        let role = json!({"assume_role": "arn:aws:iam::111122223333:role/w", "external_id": "outside",
                          "session_name": "mine", "region": "eu-central-1", "load_timeout_secs": 30});
        return puts(&client_of(role).await).await;
    }
    token_request(&sts, 0, &["RoleSessionName=afluente"]);
    token_request(&sts, 1, &["RoleSessionName=mine", "ExternalId=outside"]);
    signed_with(&sts, "AKIDENV00000000001/20260101/eu-west-1/sts");
    sts.look(|asked| assert!(asked[1].header("authorization").contains("/eu-central-1/sts")));
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
    if inside("credentials::a_denied_role_is_explained_without_the_secret", &variables).await {
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

/// The relative form of the address (`AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`) is always of 169.254.170.2: no stand-in can have it.
#[tokio::test]
async fn a_container_gives_credentials_to_who_shows_its_token_from_the_environment_or_a_file() {
    let container = Loopback::start(|asked| {
        let key = match asked.header("authorization") {
            "from-the-environment" => "ASIACONTAINER0000001",
            "from-a-file" => "ASIACONTAINER0000002",
            _ => return Reply::Answer(401, Vec::new(), String::new()),
        };
        Reply::ok(&format!(
            r#"{{"AccessKeyId":"{key}","SecretAccessKey":"s","Token":"t","Expiration":"2026-01-01T06:00:00Z"}}"#
        ))
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "from-a-file").unwrap();
    let url = format!("{}/credentials", container.url());
    for (variable, value, key) in [
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "from-the-environment", "ASIACONTAINER0000001"),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.to_str().unwrap(), "ASIACONTAINER0000002"),
    ] {
        let server = kinesis().await;
        let variables =
            [("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*url), (variable, value), ("KINESIS", &*server.url())];
        let name = "credentials::a_container_gives_credentials_to_who_shows_its_token_from_the_environment_or_a_file";
        if inside(name, &variables).await {
            return puts(&client_of(json!({})).await).await;
        }
        signed_with(&server, key);
    }
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
    if inside("credentials::a_web_identity_becomes_a_role", &variables).await {
        return puts(&client_of(json!({})).await).await;
    }
    token_request(&sts, 0, &["Action=AssumeRoleWithWebIdentity&", "WebIdentityToken=the-web-token"]);
    signed_with(&server, "ASIAROLE000000000001");
}

#[tokio::test]
async fn nothing_to_sign_with_is_a_sentence_that_says_where_credentials_may_come_from() {
    let variables = [("KINESIS", "http://127.0.0.1:9")];
    if inside(
        "credentials::nothing_to_sign_with_is_a_sentence_that_says_where_credentials_may_come_from",
        &variables,
    )
    .await
    {
        let found = failure(client_of(json!({})).await.put_records(Bytes::from_static(b"{}")).await);
        assert_eq!((found.kind, found.may_be_stored), (FailureKind::Credentials, false));
        assert!(found.message.contains("set AWS_ACCESS_KEY_ID"), "{}", found.message);
    }
}

#[tokio::test]
async fn the_environment_gives_a_key_and_its_session_token() {
    let server = kinesis().await;
    let variables = [
        ("KINESIS", &*server.url()),
        ("AWS_ACCESS_KEY_ID", "ASIAENV00000000001"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
        ("AWS_SESSION_TOKEN", "envtoken"),
    ];
    if inside("credentials::the_environment_gives_a_key_and_its_session_token", &variables).await {
        return puts(&client_of(json!({})).await).await;
    }
    signed_with(&server, "ASIAENV00000000001");
    server.look(|asked| assert_eq!(asked[0].header("x-amz-security-token"), "envtoken"));
}

/// Profiles: a plain one, one that assumes a role, one that asks a process.
const PROFILES: &str = r#"
[default]
aws_access_key_id = AKIDDEFAULT00000001
aws_secret_access_key = s

[base]
aws_access_key_id = AKIDBASE0000000001
aws_secret_access_key = s
aws_session_token = basetoken

[role]
role_arn = arn:aws:iam::111122223333:role/w
source_profile = base
external_id = outside

[process]
credential_process = echo '{"Version": 1, "AccessKeyId": "AKIDPROCESS00000001", "SecretAccessKey": "s"}'
"#;

#[tokio::test]
async fn a_credentials_file_gives_any_of_its_profiles() {
    let (sts, server) = (token_service().await, kinesis().await);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("credentials");
    std::fs::write(&path, PROFILES).unwrap();
    let variables = [
        ("KINESIS", &*server.url()),
        ("AWS_ENDPOINT_URL_STS", &*sts.url()),
        ("CREDENTIALS", path.to_str().unwrap()),
    ];
    if inside("credentials::a_credentials_file_gives_any_of_its_profiles", &variables).await {
        let path = var("CREDENTIALS");
        for auth in [
            json!({"credentials_file": path}),
            json!({"credentials_file": path, "profile": "base"}),
            json!({"credentials_file": path, "profile": "role", "region": "eu-central-1"}),
            json!({"credentials_file": path, "profile": "process"}),
        ] {
            puts(&client_of(auth).await).await;
        }
        return;
    }
    server.look(|asked| {
        let keys =
            ["AKIDDEFAULT00000001", "AKIDBASE0000000001", "ASIAROLE000000000001", "AKIDPROCESS00000001"];
        for (asked, key) in asked.iter().zip(keys) {
            assert!(asked.header("authorization").contains(key), "{}", asked.header("authorization"));
        }
        assert_eq!((asked.len(), asked[1].header("x-amz-security-token")), (4, "basetoken"));
    });
    token_request(&sts, 0, &["Action=AssumeRole&", "ExternalId=outside"]);
    signed_with(&sts, "AKIDBASE0000000001/20260101/eu-central-1/sts");
}

#[tokio::test]
async fn the_default_chain_takes_the_profile_that_the_environment_names() {
    let server = kinesis().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("credentials");
    std::fs::write(&path, PROFILES).unwrap();
    let variables = [
        ("KINESIS", &*server.url()),
        ("AWS_SHARED_CREDENTIALS_FILE", path.to_str().unwrap()),
        ("AWS_PROFILE", "base"),
    ];
    if inside("credentials::the_default_chain_takes_the_profile_that_the_environment_names", &variables).await
    {
        return puts(&client_of(json!({})).await).await;
    }
    signed_with(&server, "AKIDBASE0000000001");
}

/// A clock that the test moves.
#[derive(Clone, Debug)]
struct HandClock(Arc<Mutex<SystemTime>>);

impl TimeSource for HandClock {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }
}

#[tokio::test]
async fn credentials_that_end_in_mid_run_are_replaced_before_a_request_is_signed_with_them() {
    let sts = token_service_of(&[
        ("ASIAFIRST00000000001", "2026-01-01T01:00:00Z"),
        ("ASIASECOND0000000002", "2026-01-01T02:00:00Z"),
    ])
    .await;
    let server = kinesis().await;
    let variables = [("AWS_ENDPOINT_URL_STS", &*sts.url()), ("KINESIS", &*server.url())];
    let name =
        "credentials::credentials_that_end_in_mid_run_are_replaced_before_a_request_is_signed_with_them";
    if inside(name, &variables).await {
        let auth = json!({"access_key_id": "AKIDBASE0000000001", "secret_access_key": "s",
                          "assume_role": "arn:aws:iam::111122223333:role/w"});
        let settings =
            ClientSettings { auth: serde_json::from_value(auth).unwrap(), ..settings(&var("KINESIS")) };
        let now = Arc::new(Mutex::new(SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)));
        let client = KinesisClient::with_clock(settings, SharedTimeSource::new(HandClock(Arc::clone(&now))))
            .await
            .unwrap();
        for _ in 0..3 {
            puts(&client).await;
            *now.lock().unwrap() += Duration::from_secs(1795);
        }
        return;
    }
    server.look(|asked| {
        let keys = ["ASIAFIRST00000000001", "ASIAFIRST00000000001", "ASIASECOND0000000002"];
        assert_eq!(asked.len(), keys.len());
        for (asked, key) in asked.iter().zip(keys) {
            assert!(asked.header("authorization").contains(key), "{}", asked.header("authorization"));
        }
    });
    assert_eq!(sts.count(), 2);
}
