//! Globals: everything at the top of a configuration that is not a component.
//! In: the top level of one document after another. Out: one set of options; two documents may not contradict each other.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::document::Document;
use super::error::{Finding, Trail, did_you_mean};
use super::fields::{Fields, Report, Unknown};
use super::{AcknowledgementsConfig, ApiOptions, GlobalOptions, HealthcheckOptions, ProxyConfig};

/// Keys of components.
const COMPONENTS: [&str; 3] = ["sources", "transforms", "sinks"];
/// Keys that work.
const USED: [&str; 6] = ["data_dir", "acknowledgements", "proxy", "healthchecks", "api", "wildcard_matching"];
/// Vector's keys whose absence changes what a pipeline does.
const UNSUPPORTED: [(&str, &str); 3] = [
    ("enrichment_tables", "remove it, and what looks tables up"),
    ("secret", "put secrets into environment variables, `${NAME}`"),
    ("provider", "give the configuration as files"),
];

/// Vector's keys that have no effect here, with the values that say nothing.
fn ignored() -> Vec<(&'static str, Vec<Value>)> {
    vec![
        ("tests", vec![json!([])]),
        ("timezone", vec![json!("local")]),
        ("log_schema", vec![json!({})]),
        ("schema", vec![json!({}), json!({"enabled": false}), json!({"log_namespace": false})]),
        ("telemetry", vec![json!({})]),
        ("expire_metrics", vec![]),
        ("expire_metrics_secs", vec![json!(300), json!(300.0)]),
        ("expire_metrics_per_metric_set", vec![json!([])]),
        ("buffer_utilization_ewma_half_life_seconds", vec![json!(5), json!(5.0)]),
        ("latency_ewma_alpha", vec![json!(0.9)]),
        ("metrics_storage_refresh_period", vec![]),
    ]
}

/// What the documents so far say.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Globals {
    data_dir: Option<PathBuf>,
    acknowledgements: Option<bool>,
    proxy: ProxyConfig,
    require_healthy: bool,
    healthchecks_off: bool,
    api_enabled: bool,
    api_address: Option<SocketAddr>,
    relaxed: Option<bool>,
}

impl Globals {
    /// Reads the top level of `document` and joins it with what was read before.
    pub(super) fn read(&mut self, document: &Document, report: &mut Report) {
        let root = Value::Object(document.tree.clone());
        let Some(fields) = Fields::of(document, Trail::default(), &root, report) else { return };
        find_unknown(document, report);
        self.read_plain(&fields, report);
        self.read_api(&fields, report);

        if let Some(checks) = fields.get("healthchecks").and_then(|_| fields.fields("healthchecks", report)) {
            self.healthchecks_off |= checks.bool("enabled", report) == Some(false);
            self.require_healthy |= checks.bool("require_healthy", report) == Some(true);
            checks.unknown(&["enabled", "require_healthy"], Unknown::Refused, report);
        }
        if let Some(proxy) = read_proxy(&fields, report) {
            self.proxy.enabled &= proxy.enabled;
            agree(&mut self.proxy.http, proxy.http, "proxy.http", report);
            agree(&mut self.proxy.https, proxy.https, "proxy.https", report);
            let new = proxy.no_proxy.into_iter().filter(|host| !self.proxy.no_proxy.contains(host));
            self.proxy.no_proxy.extend(new.collect::<Vec<_>>());
        }
    }

    fn read_plain(&mut self, fields: &Fields<'_>, report: &mut Report) {
        let data_dir = fields.text("data_dir", report).map(PathBuf::from);
        agree(&mut self.data_dir, data_dir, "data_dir", report);

        let enabled = match fields.get("acknowledgements") {
            None | Some(Value::Null) => None,
            Some(Value::Object(_)) => fields.fields("acknowledgements", report).and_then(|map| {
                map.unknown(&["enabled"], Unknown::Warned, report);
                map.get("enabled").filter(|value| !value.is_null()).and_then(|_| map.bool("enabled", report))
            }),
            Some(_) => fields.bool("acknowledgements", report),
        };
        agree(&mut self.acknowledgements, enabled, "acknowledgements", report);

        let known = [("strict", false), ("relaxed", true)];
        let relaxed = fields.one_of("wildcard_matching", &known, report);
        agree(&mut self.relaxed, relaxed, "wildcard_matching", report);
    }

    fn read_api(&mut self, fields: &Fields<'_>, report: &mut Report) {
        let Some(api) = fields.get("api").and_then(|_| fields.fields("api", report)) else { return };
        self.api_enabled |= api.bool("enabled", report) == Some(true);
        let known = ["enabled", "address", "playground", "graphql"];
        api.unknown(&known, Unknown::Refused, report);
        for old in ["playground", "graphql"] {
            if api.get(old).is_some() {
                report.warn(api.trail.key(old), format!("`{old}` has no effect here: there is no GraphQL"));
            }
        }
        let Some(text) = api.text("address", report) else { return };
        let Ok(address) = text.parse::<SocketAddr>() else {
            api.wrong("address", "an IP address and port such as \"127.0.0.1:8686\"", report);
            return;
        };
        match self.api_address {
            Some(other) if other != address => {
                report.error(
                    api.trail.key("address"),
                    format!("Conflicting `api` address: {other}, {address} ."),
                );
            }
            _ => self.api_address = Some(address),
        }
    }

    /// The options in force, with `environment` as the weakest of the proxies.
    pub(super) fn options(&self, environment: &ProxyConfig) -> GlobalOptions {
        GlobalOptions {
            data_dir: self.data_dir.clone(),
            acknowledgements: self.acknowledgements.map(AcknowledgementsConfig::from).unwrap_or_default(),
            proxy: self.proxy.merge(environment),
        }
    }

    pub(super) fn healthchecks(&self) -> HealthcheckOptions {
        HealthcheckOptions { enabled: !self.healthchecks_off, require_healthy: self.require_healthy }
    }

    pub(super) fn api(&self) -> ApiOptions {
        let default = ApiOptions::default();
        ApiOptions { enabled: self.api_enabled, address: self.api_address.unwrap_or(default.address) }
    }

    /// Whether a wildcard may match nothing.
    pub(super) fn relaxed(&self) -> bool {
        self.relaxed.unwrap_or(false)
    }
}

/// `proxy` of a component or of the whole.
pub(super) fn read_proxy(fields: &Fields<'_>, report: &mut Report) -> Option<ProxyConfig> {
    fields.get("proxy")?;
    let proxy = fields.fields("proxy", report)?;
    proxy.unknown(&["enabled", "http", "https", "no_proxy"], Unknown::Refused, report);
    Some(ProxyConfig {
        enabled: proxy.bool("enabled", report).unwrap_or(true),
        http: proxy.text("http", report).map(str::to_owned),
        https: proxy.text("https", report).map(str::to_owned),
        no_proxy: proxy.texts("no_proxy", report).unwrap_or_default(),
    })
}

/// Takes `new` unless it contradicts what an earlier document said.
fn agree<T: PartialEq>(old: &mut Option<T>, new: Option<T>, name: &str, report: &mut Report) {
    match (&old, new) {
        (_, None) => {}
        (Some(old), Some(new)) if *old != new => {
            let keys: Vec<_> = name.split('.').collect();
            report.error(Trail::of(&keys), format!("conflicting values for '{name}' found"));
        }
        (_, Some(new)) => *old = Some(new),
    }
}

fn find_unknown(document: &Document, report: &mut Report) {
    let ignored = ignored();
    for (key, value) in &document.tree {
        let trail = Trail::of(&[key]);
        let name = key.as_str();
        let says_nothing = value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
        if COMPONENTS.contains(&name) || USED.contains(&name) {
        } else if let Some((_, instead)) = UNSUPPORTED.iter().find(|(known, _)| *known == name) {
            if !says_nothing {
                let finding = Finding::new(trail, format!("`{name}` is not supported"));
                report.errors.push(finding.hint((*instead).to_owned()));
            }
        } else if let Some((_, defaults)) = ignored.iter().find(|(known, _)| *known == name) {
            if !says_nothing && !defaults.contains(value) {
                report.warn(trail, format!("`{name}` is not supported and has no effect here"));
            }
        } else {
            let known: Vec<_> = COMPONENTS.iter().chain(&USED).copied().collect();
            let message = format!("unknown field `{name}`, expected {}", super::fields::expected(&known));
            let all = known.iter().copied().chain(ignored.iter().map(|(known, _)| *known));
            let finding = Finding::new(trail, message).hint(did_you_mean(name, all));
            report.errors.push(finding);
        }
    }
}
