//! Credentials: every source that the `auth` option knows signs the requests of the real program, and one that ends in
//! mid-run costs nothing.

use std::io::Write;
use std::time::Duration;

use super::pipeline::{Pipeline, event, events, tagger, tags};
use super::support::aws_stand_ins::{CredentialServer, Credentials};
use super::support::{Fault, FaultServer, FaultServerBuilder};

const EVENTS: u64 = 1000;
const KEYS: u64 = 100;
const ROLE: &str = "arn:aws:iam::111122223333:role/writer";

fn server() -> FaultServerBuilder {
    FaultServer::builder().stream("profiles", 2).keep_tags(tagger)
}

/// Runs the program with this `auth` option and environment; its requests must be signed with `key` alone.
fn signs_with(key: &str, auth: &str, variables: &[(&str, &str)]) {
    let kinesis = server().only_access_key(key).start_on_thread();
    Pipeline::stdin(&kinesis, "")
        .auth(auth)
        .variables(variables)
        .run(events(EVENTS, KEYS))
        .assert_delivered(EVENTS);
    kinesis.ledger().audit(tags(EVENTS, KEYS)).assert_kept();
    assert!(kinesis.requests().writes().all(|request| &*request.access_key == key));
}

#[test]
fn a_key_a_file_and_the_environment_sign() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("credentials");
    let profiles = "[default]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key = s\n\
                    [other]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = s\n";
    std::fs::write(&file, profiles).unwrap();
    let file = file.to_str().unwrap();
    let key = [("AWS_ACCESS_KEY_ID", "AKIAENV"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_SESSION_TOKEN", "t")];
    signs_with("AKIAKEY", "{access_key_id: AKIAKEY, secret_access_key: s, session_token: t}", &[]);
    signs_with("AKIADEFAULT", &format!("{{credentials_file: {file}}}"), &[]);
    signs_with("AKIAOTHER", &format!("{{credentials_file: {file}, profile: other}}"), &[]);
    signs_with("AKIAENV", "{}", &key);
    signs_with("AKIAOTHER", "{}", &[("AWS_SHARED_CREDENTIALS_FILE", file), ("AWS_PROFILE", "other")]);
}

#[test]
fn a_role_signs_whether_assumed_with_a_key_with_the_environment_or_with_a_web_identity() {
    let kinesis = server().start_on_thread();
    let sts = kinesis.block_on(CredentialServer::sts(Credentials::named("ASIAROLE")));
    let endpoint = sts.endpoint();
    let sts_variable = ("AWS_ENDPOINT_URL_STS", &*endpoint);
    let role = format!("assume_role: '{ROLE}', external_id: outside, session_name: mine");
    let key = [sts_variable, ("AWS_ACCESS_KEY_ID", "AKIAENV"), ("AWS_SECRET_ACCESS_KEY", "s")];
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "the-web-token").unwrap();
    let web =
        [sts_variable, ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()), ("AWS_ROLE_ARN", ROLE)];
    signs_with(
        "ASIAROLE",
        &format!("{{access_key_id: AKIABASE, secret_access_key: s, {role}}}"),
        &[sts_variable],
    );
    signs_with("ASIAROLE", &format!("{{{role}, region: eu-central-1}}"), &key);
    signs_with("ASIAROLE", "{}", &web);
    let asked = sts.asked();
    let signed = |number: usize| asked[number].authorization.as_deref().unwrap_or_default();
    assert!(signed(0).contains("AKIABASE/") && signed(0).contains("/us-east-1/sts/"), "{}", signed(0));
    assert!(signed(1).contains("AKIAENV/") && signed(1).contains("/eu-central-1/sts/"), "{}", signed(1));
    for question in &asked[..2] {
        assert_eq!(question.form["RoleArn"], ROLE);
        assert_eq!((&*question.form["ExternalId"], &*question.form["RoleSessionName"]), ("outside", "mine"));
    }
    assert_eq!(asked[2].form["WebIdentityToken"], "the-web-token");
    assert_eq!(asked.len(), 3, "once a run");
}

#[test]
fn a_container_and_an_instance_sign() {
    let kinesis = server().start_on_thread();
    let container = kinesis.block_on(CredentialServer::container(Credentials::named("ASIACONTAINER")));
    container.require_token("the-pass");
    let url = format!("{}/credentials", container.endpoint());
    let variables =
        [("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*url), ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "the-pass")];
    signs_with("ASIACONTAINER", "{}", &variables);
    let imds = kinesis.block_on(CredentialServer::imds(Credentials::named("ASIAIMDS")));
    let endpoint = imds.endpoint();
    let variables =
        [("AWS_EC2_METADATA_SERVICE_ENDPOINT", &*endpoint), ("AWS_EC2_METADATA_DISABLED", "false")];
    signs_with(
        "ASIAIMDS",
        "{imds: {max_attempts: 2, connect_timeout_seconds: 5, read_timeout_seconds: 5}}",
        &variables,
    );
    signs_with("ASIAIMDS", "{load_timeout_secs: 20}", &variables);
}

#[test]
fn credentials_that_end_in_mid_run_are_replaced_and_nothing_is_lost() {
    // Called expired by the service long before their own end, for good: only new ones help.
    let kinesis = server().fault(Fault::credentials_expire().requests(3, 3)).start_on_thread();
    let sts = kinesis.block_on(CredentialServer::sts(Credentials::named("ASIAFIRST")));
    let pipeline = Pipeline::stdin(&kinesis, "")
        .auth(&format!("{{access_key_id: AKIABASE, secret_access_key: s, assume_role: '{ROLE}'}}"))
        .variables(&[("AWS_ENDPOINT_URL_STS", &sts.endpoint())]);
    sts.then_give(Credentials::named("ASIASECOND"));
    pipeline.run(events(5 * EVENTS, KEYS)).assert_delivered(5 * EVENTS);
    kinesis.ledger().audit(tags(5 * EVENTS, KEYS)).assert_kept();
    let requests = kinesis.requests();
    let last = requests.writes().last().unwrap();
    assert_eq!((&*last.access_key, requests.key_overlaps()), ("ASIASECOND", 0));
}

#[test]
fn credentials_that_live_for_seconds_are_renewed_over_and_over() {
    // Closer than ten seconds to their end they are not used: these serve for two.
    let kinesis = server().start_on_thread();
    let fresh = || Credentials::named("ASIASHORT").lasting(Duration::from_secs(12));
    let sts = kinesis.block_on(CredentialServer::sts(fresh()));
    let pipeline = Pipeline::stdin(&kinesis, "")
        .auth(&format!("{{access_key_id: AKIABASE, secret_access_key: s, assume_role: '{ROLE}'}}"))
        .variables(&[("AWS_ENDPOINT_URL_STS", &sts.endpoint())]);
    let mut running = pipeline.start(&[]);
    let mut input = running.stdin();
    let mut sent = 0;
    // One event after the other until the stand-in was asked three times.
    while sts.asked().len() < 3 {
        sts.give(fresh());
        writeln!(input, "{}", event(sent % KEYS, sent / KEYS)).unwrap();
        sent += 1;
        kinesis.block_on(kinesis.wait_for_stored(sent as usize));
    }
    drop(input);
    running.wait().assert_delivered(sent);
    kinesis.ledger().audit(tags(sent, KEYS)).assert_kept();
    assert!(kinesis.requests().writes().all(|request| request.status == Some(200)), "none was refused");
}
