//! Builder: documents to a checked configuration.
//! In: interpolated trees. Out: a [`Config`] with warnings, or all mistakes of all stages that could still be judged.
//! Never: reads files or the environment, builds a component.

use std::net::SocketAddr;
use std::time::Duration;

use indexmap::IndexMap;
use indexmap::map::Entry;
use serde_json::{Map, Value};

use super::component::{self, Loadable};
use super::document::{Document, Masks};
use super::error::{ConfigError, ConfigWarning, Finding, Trail};
use super::fields::{Fields, Report, Unknown};
use super::globals::{Globals, read_proxy};
use super::graph::{self, Inputs, Node, section};
use super::loading::{LoadOptions, Loaded, LoadedTransform};
use super::{
    BufferConfig, Config, GlobalOptions, ProxyConfig, SinkHealthcheckOptions, SinkOuter, SourceOuter,
    TransformOuter, buffer,
};
use crate::component::{
    ComponentKey, ComponentKind, OutputId, Resource, SinkConfig, SourceConfig, TransformConfig,
    TransformContext,
};

/// One component as far as it could be read.
struct Draft<T> {
    inner: Option<T>,
    inputs: Option<Vec<String>>,
    proxy: ProxyConfig,
    buffer: BufferConfig,
    healthcheck: SinkHealthcheckOptions,
    masks: Masks,
}

type Drafts<T> = IndexMap<ComponentKey, Draft<T>>;

/// Builds the configuration. `errors` are those of reading; `incomplete` says that a file is missing from `documents`.
pub(super) fn build(
    documents: &[Document],
    mut errors: Vec<ConfigError>,
    incomplete: bool,
    environment: &ProxyConfig,
    options: &LoadOptions,
) -> Result<Loaded, Vec<ConfigError>> {
    let mut warnings = Vec::new();
    let mut globals = Globals::default();
    let mut sources: Drafts<Box<dyn SourceConfig>> = Drafts::new();
    let mut transforms: Drafts<Box<dyn TransformConfig>> = Drafts::new();
    let mut sinks: Drafts<Box<dyn SinkConfig>> = Drafts::new();
    for document in documents {
        let mut report = Report::default();
        globals.read(document, &mut report);
        read_section(document, &mut sources, &mut report);
        read_section(document, &mut transforms, &mut report);
        read_section(document, &mut sinks, &mut report);
        settle(report, &mut errors, &mut warnings, &|finding| document.error(finding));
    }

    let global = globals.options(environment);
    let api = globals.api();
    let nodes: Vec<Node> = source_nodes(&sources)
        .chain(transform_nodes(&transforms, &global))
        .chain(sink_nodes(&sinks))
        .collect();
    let mut report = Report::default();
    let mut inputs = Inputs::new();
    if !incomplete {
        if !options.allow_empty {
            check_not_empty(sources.is_empty(), sinks.is_empty(), &mut report);
        }
        inputs = graph::wire(&nodes, globals.relaxed(), &mut report);
        graph::check_resources(&owners(&nodes, api.enabled.then_some(api.address)), &mut report);
    }
    settle(report, &mut errors, &mut warnings, &|finding| place(documents, finding));
    if !errors.is_empty() {
        return Err(errors);
    }

    let config = Config {
        healthchecks: globals.healthchecks(),
        api,
        sources: finish(sources, |_, inner, draft| SourceOuter {
            inner,
            proxy: draft.proxy.merge(&global.proxy),
        }),
        transforms: finish(transforms, |key, inner, _| TransformOuter {
            inner,
            inputs: take(&mut inputs, ComponentKind::Transform, key),
        }),
        sinks: finish(sinks, |key, inner, draft| SinkOuter {
            inner,
            inputs: take(&mut inputs, ComponentKind::Sink, key),
            buffer: draft.buffer.clone(),
            healthcheck: draft.healthcheck.clone(),
            proxy: draft.proxy.merge(&global.proxy),
        }),
        global,
    };
    let mut report = Report::default();
    warn_of_deaf_sources(&config, &mut report);
    settle(report, &mut errors, &mut warnings, &|finding| place(documents, finding));
    Ok(Loaded { config, warnings })
}

/// Puts findings where they belong, with file and line.
fn settle(
    report: Report,
    errors: &mut Vec<ConfigError>,
    warnings: &mut Vec<ConfigWarning>,
    place: &dyn Fn(Finding) -> ConfigError,
) {
    errors.extend(report.errors.into_iter().map(place));
    warnings.extend(report.warnings.into_iter().map(|finding| {
        let ConfigError { place, message, hint } = place(finding);
        ConfigWarning { place, message, hint }
    }));
}

/// The finding with the file, of all documents, that says most of its path.
fn place(documents: &[Document], finding: Finding) -> ConfigError {
    let best = documents.iter().map(|document| (document.depth(&finding.trail), document));
    // The first one wins where several are as good.
    let best = best.reduce(|best, next| if next.0 > best.0 { next } else { best });
    match best {
        Some((depth, document)) if depth > 0 || documents.len() == 1 => document.error(finding),
        _ => Document::default().error(finding),
    }
}

/// What a component's kind adds when it is read.
trait Section: Loadable {
    fn read_wrapper(draft: &mut Draft<Self>, fields: &Fields<'_>, document: &Document, report: &mut Report);
}

impl Section for Box<dyn SourceConfig> {
    fn read_wrapper(draft: &mut Draft<Self>, fields: &Fields<'_>, _: &Document, report: &mut Report) {
        draft.proxy = read_proxy(fields, report).unwrap_or_default();
    }
}

impl Section for Box<dyn TransformConfig> {
    fn read_wrapper(draft: &mut Draft<Self>, fields: &Fields<'_>, document: &Document, report: &mut Report) {
        draft.inputs = read_inputs(fields, document, report);
        if fields.bool("measure_cpu_usage", report) == Some(true) {
            report.warn(fields.trail.key("measure_cpu_usage"), "`measure_cpu_usage` has no effect here");
        }
    }
}

impl Section for Box<dyn SinkConfig> {
    fn read_wrapper(draft: &mut Draft<Self>, fields: &Fields<'_>, document: &Document, report: &mut Report) {
        draft.inputs = read_inputs(fields, document, report);
        draft.proxy = read_proxy(fields, report).unwrap_or_default();
        draft.healthcheck = read_healthcheck(fields, report);
        if let Some(value) = fields.get("buffer") {
            draft.buffer = buffer::read(document, &fields.trail.key("buffer"), value, report);
        }
    }
}

fn read_section<T: Section>(document: &Document, drafts: &mut Drafts<T>, report: &mut Report) {
    let name = section(T::KIND);
    let Some(value) = document.tree.get(name) else { return };
    let trail = Trail::of(&[name]);
    let Value::Object(components) = value else {
        let found = document.describe(&trail, value);
        report.error(trail, format!("invalid type: {found}, expected a map from names to components"));
        return;
    };
    for (id, body) in components {
        let trail = trail.key(id);
        let Entry::Vacant(slot) = drafts.entry(id.as_str().into()) else {
            report.error(trail, format!("duplicate {} id found: {id}", T::KIND.as_str()));
            continue;
        };
        let mut draft = Draft {
            inner: None,
            inputs: None,
            proxy: ProxyConfig::default(),
            buffer: BufferConfig::default(),
            healthcheck: SinkHealthcheckOptions::default(),
            masks: document.masks(&trail, body),
        };
        if let (Some(fields), Value::Object(map)) = (Fields::of(document, trail.clone(), body, report), body)
        {
            draft.inner = component::load(document, &trail, map, report);
            T::read_wrapper(&mut draft, &fields, document, report);
        }
        slot.insert(draft);
    }
}

fn read_inputs(fields: &Fields<'_>, document: &Document, report: &mut Report) -> Option<Vec<String>> {
    if fields.get("inputs").is_none() {
        report.error(fields.trail.clone(), "missing field `inputs`");
    }
    let inputs = fields.texts("inputs", report)?;
    (!document.vars.broken_below(&fields.trail.key("inputs"))).then_some(inputs)
}

fn read_healthcheck(fields: &Fields<'_>, report: &mut Report) -> SinkHealthcheckOptions {
    let mut options = SinkHealthcheckOptions::default();
    match fields.get("healthcheck") {
        None => {}
        Some(Value::Object(_)) => {
            if let Some(check) = fields.fields("healthcheck", report) {
                check.unknown(&["enabled", "timeout", "uri"], Unknown::Warned, report);
                options.enabled = check.bool("enabled", report).unwrap_or(true);
                options.uri = check.text("uri", report).map(str::to_owned);
                let given = check.number("timeout", report);
                let timeout = given.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default());
                match timeout {
                    Some(Duration::ZERO) => check.wrong("timeout", "a positive number of seconds", report),
                    Some(timeout) => options.timeout = timeout,
                    None => {}
                }
            }
        }
        Some(_) => options.enabled = fields.bool("healthcheck", report).unwrap_or(true),
    }
    if let Some(uri) = fields.text("healthcheck_uri", report) {
        let message = "`healthcheck_uri` is deprecated; use `healthcheck.uri`";
        report.warn(fields.trail.key("healthcheck_uri"), message);
        options.uri.get_or_insert_with(|| uri.to_owned());
    }
    options
}

fn check_not_empty(no_sources: bool, no_sinks: bool, report: &mut Report) {
    for (none, name) in [(no_sources, "sources"), (no_sinks, "sinks")] {
        if none {
            report.error(Trail::of(&[name]), format!("No {name} defined in the config."));
        }
    }
}

fn node<T: Loadable>(
    (key, draft): (&ComponentKey, &Draft<T>),
    outputs: Option<Vec<Option<String>>>,
    resources: Option<Vec<Resource>>,
) -> Node {
    Node {
        kind: T::KIND,
        key: key.clone(),
        outputs,
        inputs: draft.inputs.clone(),
        resources: resources.unwrap_or_default(),
        masks: draft.masks.clone(),
    }
}

fn source_nodes(drafts: &Drafts<Box<dyn SourceConfig>>) -> impl Iterator<Item = Node> {
    drafts.iter().map(|(key, draft)| {
        let inner = draft.inner.as_ref();
        let outputs = inner.map(|source| source.outputs().into_iter().map(|output| output.port).collect());
        node((key, draft), outputs, inner.map(|source| source.resources()))
    })
}

fn transform_nodes(
    drafts: &Drafts<Box<dyn TransformConfig>>,
    global: &GlobalOptions,
) -> impl Iterator<Item = Node> {
    drafts.iter().map(|(key, draft)| {
        let context =
            TransformContext { key: Some(key.clone()), ..TransformContext::new_with_globals(global.clone()) };
        let outputs = draft.inner.as_ref().map(|transform| transform.outputs(&context));
        let outputs = outputs.map(|outputs| outputs.into_iter().map(|output| output.port).collect());
        node((key, draft), outputs, None)
    })
}

fn sink_nodes(drafts: &Drafts<Box<dyn SinkConfig>>) -> impl Iterator<Item = Node> {
    drafts.iter().map(|(key, draft)| {
        let inner = draft.inner.as_ref();
        node((key, draft), inner.map(|_| Vec::new()), inner.map(|sink| sink.resources()))
    })
}

/// Everything that is owned, and by whom.
fn owners(nodes: &[Node], api: Option<SocketAddr>) -> Vec<(ComponentKey, Trail, Resource)> {
    let api = api.map(|address| ("api".into(), Trail::of(&["api", "address"]), Resource::tcp(address)));
    let components = nodes.iter().flat_map(|node| {
        node.resources.iter().map(|resource| (node.key.clone(), node.trail(), resource.clone()))
    });
    api.into_iter().chain(components).collect()
}

fn take(inputs: &mut Inputs, kind: ComponentKind, key: &ComponentKey) -> Vec<OutputId> {
    inputs.remove(&(kind, key.clone())).unwrap_or_default()
}

/// Drafts without errors are complete.
fn finish<T, O>(
    drafts: Drafts<T>,
    mut outer: impl FnMut(&ComponentKey, T, &Draft<T>) -> O,
) -> IndexMap<ComponentKey, O> {
    drafts
        .into_iter()
        .filter_map(|(key, mut draft)| {
            let inner = draft.inner.take()?;
            let outer = outer(&key, inner, &draft);
            Some((key, outer))
        })
        .collect()
}

/// Warns of sources that were told, in so many words, to wait for their events and cannot. Where acknowledgements are on
/// only by default, a source that cannot wait is nobody's mistake.
fn warn_of_deaf_sources(config: &Config, report: &mut Report) {
    let global = &config.global.acknowledgements;
    let asking = config
        .sinks
        .values()
        .filter(|sink| sink.inner.acknowledgements().merge_default(global).get() == Some(true));
    for key in config.sources_upstream_of(asking) {
        if config.sources.get(&key).is_some_and(|source| !source.inner.can_acknowledge()) {
            report.warn(
                Trail::of(&["sources", key.id()]),
                "Source has acknowledgements enabled by a sink, but acknowledgements are not supported by this source. \
                 Silent data loss could occur.",
            );
        }
    }
}

/// One transform by itself, for a verb that runs it without a pipeline.
pub(super) fn build_transform(
    document: &Document,
    mut errors: Vec<ConfigError>,
    default_type: Option<&str>,
) -> Result<LoadedTransform, Vec<ConfigError>> {
    let mut body: Map<String, Value> = document.tree.clone();
    if let (Some(name), false) = (default_type, body.contains_key("type")) {
        body.insert("type".to_owned(), name.into());
    }
    let (mut report, mut warnings) = (Report::default(), Vec::new());
    let transform = component::load(document, &Trail::default(), &body, &mut report);
    settle(report, &mut errors, &mut warnings, &|finding| document.error(finding));
    match transform {
        Some(transform) if errors.is_empty() => Ok(LoadedTransform { transform, warnings }),
        _ => Err(errors),
    }
}
