//! The endpoints that hand out credentials.

use std::time::Duration;

use super::support::aws_stand_ins::{CredentialServer, Credentials, IMDS_ROLE};
use super::support::raw_client::{RawAnswer, RawClient};

async fn ask(server: &CredentialServer, method: &str, path: &str, headers: &str, body: &str) -> RawAnswer {
    let mut client = RawClient::connect(server.address()).await.unwrap();
    client.send_raw(method, path, headers, body.as_bytes()).await.unwrap();
    client.receive().await.unwrap()
}

#[tokio::test]
async fn sts_gives_what_it_is_told_and_records_what_it_is_asked() {
    let sts = CredentialServer::sts(Credentials::named("ONE")).await;
    let form = "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fw&RoleSessionName=a+b&ExternalId=x";
    let answer = ask(&sts, "POST", "/", "", form).await;
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("<AssumeRoleResult>"), "{}", answer.text());
    assert!(answer.text().contains("<AccessKeyId>ONE</AccessKeyId>"));
    assert!(answer.text().contains("<SessionToken>token-of-ONE</SessionToken>"));
    sts.give(Credentials::named("TWO").lasting(Duration::from_secs(60)));
    let form = "Action=AssumeRoleWithWebIdentity&RoleArn=r&RoleSessionName=n&WebIdentityToken=jwt";
    let answer = ask(&sts, "POST", "/", "", form).await;
    assert!(answer.text().contains("<AssumeRoleWithWebIdentityResult>"));
    assert!(answer.text().contains("<AccessKeyId>TWO</AccessKeyId>"));
    sts.refuse(Some(403));
    let answer = ask(&sts, "POST", "/", "", form).await;
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("<Code>AccessDenied</Code>"));
    sts.wait_for_questions(3).await;
    let asked = sts.asked();
    assert_eq!(asked[0].form["RoleArn"], "arn:aws:iam::111122223333:role/w");
    assert_eq!(asked[0].form["RoleSessionName"], "a b");
    assert_eq!(asked[0].form["ExternalId"], "x");
    assert_eq!(asked[1].form["WebIdentityToken"], "jwt");
    assert_eq!(asked.iter().map(|q| q.status).collect::<Vec<_>>(), [200, 200, 403]);
}

#[tokio::test]
async fn imds_wants_its_token_first() {
    let imds = CredentialServer::imds(Credentials::named("ROLE")).await;
    let roles = "/latest/meta-data/iam/security-credentials/";
    assert_eq!(ask(&imds, "GET", roles, "", "").await.status, 401);
    let token =
        ask(&imds, "PUT", "/latest/api/token", "x-aws-ec2-metadata-token-ttl-seconds: 60\r\n", "").await;
    let header = format!("x-aws-ec2-metadata-token: {}\r\n", token.text());
    assert_eq!(ask(&imds, "GET", roles, &header, "").await.text(), IMDS_ROLE);
    let path = format!("{roles}{IMDS_ROLE}");
    let answer = ask(&imds, "GET", &path, &header, "").await.json();
    assert_eq!(answer["Code"], "Success");
    assert_eq!(answer["AccessKeyId"], "ROLE");
    imds.set_region("eu-west-1");
    let answer = ask(&imds, "GET", "/latest/meta-data/placement/region", &header, "").await;
    assert_eq!(answer.text(), "eu-west-1");
    assert_eq!(ask(&imds, "GET", "/latest/other", &header, "").await.status, 404);
}

#[tokio::test]
async fn the_container_endpoint_checks_its_token() {
    let container = CredentialServer::container(Credentials::named("TASK")).await;
    assert!(container.endpoint().starts_with("http://127.0.0.1:"));
    let answer = ask(&container, "GET", "/credentials", "", "").await.json();
    assert_eq!(answer["AccessKeyId"], "TASK");
    assert_eq!(answer["Token"], "token-of-TASK");
    container.require_token("letmein");
    assert_eq!(ask(&container, "GET", "/credentials", "", "").await.status, 401);
    let answer = ask(&container, "GET", "/credentials", "authorization: letmein\r\n", "").await;
    assert_eq!(answer.status, 200);
}
