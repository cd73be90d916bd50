//! Health checks: is each sink's destination reachable and usable?
//! In: one future a sink, with its timeout. Out: one log line and one report each; all run side by side.
//! Never: stops a pipeline by itself; see `require_healthy` in `running.rs`.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::component::ComponentKey;
use crate::sink::Healthcheck;

/// A health check that is yet to run.
pub(crate) struct PendingCheck {
    pub(crate) sink: ComponentKey,
    pub(crate) component_type: &'static str,
    pub(crate) timeout: Duration,
    pub(crate) check: Healthcheck,
}

/// How one health check went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthReport {
    /// The sink.
    pub sink: ComponentKey,
    /// What is wrong, in one sentence with its causes, if anything is.
    pub result: Result<(), String>,
}

/// Runs all checks side by side. Reports come in the order in which the checks end.
pub(crate) async fn run_checks(checks: Vec<PendingCheck>) -> Vec<HealthReport> {
    checks.into_iter().map(run_check).collect::<FuturesUnordered<_>>().collect().await
}

async fn run_check(pending: PendingCheck) -> HealthReport {
    let PendingCheck { sink, component_type, timeout, check } = pending;
    let result = match tokio::time::timeout(timeout, check).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(sentence(&*error)),
        Err(_) => Err(format!(
            "no answer within {} seconds; raise `healthcheck.timeout` of this sink if its destination is slow",
            timeout.as_secs_f64()
        )),
    };
    match &result {
        Ok(()) => {
            tracing::info!(component_id = %sink, component_kind = "sink", component_type, "Healthcheck passed.");
        }
        Err(error) => tracing::error!(
            component_id = %sink,
            component_kind = "sink",
            component_type,
            %error,
            "Healthcheck failed."
        ),
    }
    HealthReport { sink, result }
}

/// An error and its causes in one line.
pub(crate) fn sentence(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some libraries already show their cause.
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(sink: &str, check: Healthcheck) -> PendingCheck {
        let timeout = Duration::from_secs(10);
        PendingCheck { sink: sink.into(), component_type: "test", timeout, check }
    }

    #[tokio::test(start_paused = true)]
    async fn checks_run_side_by_side_and_none_longer_than_its_timeout() {
        let started = tokio::time::Instant::now();
        let reports = run_checks(vec![
            pending("silent", Box::pin(std::future::pending())),
            pending("mute", Box::pin(std::future::pending())),
            pending("refused", Box::pin(async { Err("the stream does not exist".into()) })),
            pending("fine", Box::pin(async { Ok(()) })),
        ])
        .await;
        assert_eq!(started.elapsed(), Duration::from_secs(10));
        let result = |sink: &str| reports.iter().find(|report| report.sink.id() == sink).map(|r| &r.result);
        assert_eq!(result("fine"), Some(&Ok(())));
        assert_eq!(result("refused"), Some(&Err("the stream does not exist".to_owned())));
        let silent = result("silent").cloned().and_then(Result::err).unwrap_or_default();
        assert!(silent.starts_with("no answer within 10 seconds"), "{silent}");
    }
}
