//! Tests of the graph: inputs, ports, wildcards, cycles, and the words of each error.

use proptest::prelude::*;

use super::*;

fn source(key: &str) -> Node {
    Node {
        kind: ComponentKind::Source,
        key: key.into(),
        outputs: Some(vec![None]),
        inputs: None,
        resources: Vec::new(),
        masks: Masks::default(),
    }
}

fn reads(kind: ComponentKind, key: &str, inputs: &[&str], outputs: Option<Vec<Option<String>>>) -> Node {
    let inputs = inputs.iter().map(|input| (*input).to_owned()).collect();
    Node { kind, outputs, inputs: Some(inputs), ..source(key) }
}

fn transform(key: &str, inputs: &[&str]) -> Node {
    reads(ComponentKind::Transform, key, inputs, Some(vec![None]))
}

fn route(key: &str, inputs: &[&str], ports: &[&str]) -> Node {
    let ports = ports.iter().map(|port| Some((*port).to_owned())).collect();
    reads(ComponentKind::Transform, key, inputs, Some(ports))
}

fn sink(key: &str, inputs: &[&str]) -> Node {
    reads(ComponentKind::Sink, key, inputs, Some(Vec::new()))
}

fn run(nodes: &[Node], relaxed: bool) -> (Inputs, Vec<String>, Vec<String>) {
    let mut report = Report::default();
    let inputs = wire(nodes, relaxed, &mut report);
    let told = |findings: Vec<Finding>| {
        let line = |finding: Finding| match finding.hint {
            Some(hint) => format!("{}: {} ({hint})", finding.trail, finding.message),
            None => format!("{}: {}", finding.trail, finding.message),
        };
        findings.into_iter().map(line).collect()
    };
    (inputs, told(report.errors), told(report.warnings))
}

fn inputs_of(inputs: &Inputs, kind: ComponentKind, key: &str) -> Vec<String> {
    inputs[&(kind, key.into())].iter().map(ToString::to_string).collect()
}

#[test]
fn ids_ports_and_wildcards_are_resolved_in_order() {
    let nodes = [
        source("in1"),
        source("in2"),
        route("r", &["in*"], &["a", "b"]),
        transform("t", &["*"]),
        sink("out", &["r.*", "t", "r.b"]),
        sink("any", &["?"]),
    ];
    let (inputs, errors, warnings) = run(&nodes, false);
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(inputs_of(&inputs, ComponentKind::Transform, "r"), ["in1", "in2"]);
    assert_eq!(inputs_of(&inputs, ComponentKind::Transform, "t"), ["in1", "in2", "r.a", "r.b"]);
    assert_eq!(inputs_of(&inputs, ComponentKind::Sink, "out"), ["r.a", "r.b", "t"]);
    assert_eq!(inputs_of(&inputs, ComponentKind::Sink, "any"), ["t"]);
}

#[test]
fn mistakes_are_told_in_vectors_words() {
    let route = || route("r", &["in"], &["a"]);
    for (nodes, expected) in [
        (
            vec![source("in"), sink("out", &["im"])],
            "sinks.out.inputs[0]: Input \"im\" for sink \"out\" doesn't match any components. (did you mean `in`?)",
        ),
        (
            vec![source("in"), transform("t", &["nope"]), sink("out", &["t"])],
            "transforms.t.inputs[0]: Input \"nope\" for transform \"t\" doesn't match any components. (there are: in)",
        ),
        (
            vec![source("in"), route(), sink("out", &["r", "r.a"])],
            "sinks.out.inputs[0]: Input \"r\" for sink \"out\" doesn't match any components. (the outputs of `r` are `r.a`)",
        ),
        (
            vec![source("in"), sink("out", &["in"]), sink("b", &["out"])],
            "sinks.b.inputs[0]: Input \"out\" for sink \"b\" doesn't match any components. (`out` is a sink; only sources and transforms have outputs)",
        ),
        (
            vec![source("in"), sink("out", &["in", "zz*"])],
            "sinks.out.inputs[1]: Input \"zz*\" for sink \"out\" doesn't match any components. (there are: in)",
        ),
        (vec![source("in"), sink("out", &[])], "sinks.out.inputs: Sink \"out\" has no inputs"),
        (
            vec![source("in"), transform("t", &[]), sink("out", &["t", "in"])],
            "transforms.t.inputs: Transform \"t\" has no inputs",
        ),
        (
            vec![source("a"), sink("out", &["a", "a"])],
            "sinks.out.inputs[0]: Sink \"out\" has input \"a\" duplicated 2 times",
        ),
        (
            vec![source("in"), sink("in", &["in"])],
            "sinks.in: More than one component with name \"in\" (source, sink).",
        ),
        (
            vec![source("a.b"), sink("out", &["a.b"])],
            "sources.a.b: Component name \"a.b\" should not contain a \".\"",
        ),
        (
            vec![source("in"), transform("a", &["in", "b"]), transform("b", &["a"]), sink("out", &["b"])],
            "transforms.b.inputs: Cyclic dependency detected in the chain [ b -> a -> b ]",
        ),
        (
            vec![source("in"), transform("a", &["in", "a"]), sink("out", &["a"])],
            "transforms.a.inputs: Cyclic dependency detected in the chain [ a -> a ]",
        ),
        (
            vec![
                source("in"),
                transform("one", &["in", "three"]),
                transform("two", &["one"]),
                transform("three", &["two"]),
                sink("out", &["three"]),
            ],
            "transforms.three.inputs: Cyclic dependency detected in the chain [ three -> one -> two -> three ]",
        ),
    ] {
        let (_, errors, _) = run(&nodes, false);
        assert_eq!(errors, [expected]);
    }
}

#[test]
fn an_input_with_two_meanings_is_ambiguous() {
    let nodes = [source("a.b"), route("a", &["a.b"], &["b"]), sink("out", &["a.b"])];
    let (_, errors, _) = run(&nodes, false);
    assert!(
        errors.contains(&"sinks.out.inputs[0]: Input specifier a.b is ambiguous".to_owned()),
        "{errors:?}"
    );
}

#[test]
fn relaxed_wildcards_may_match_nothing_but_names_may_not() {
    let nodes = [source("in"), sink("out", &["in", "zz*"])];
    assert!(run(&nodes, true).1.is_empty());
    assert_eq!(run(&[source("in"), sink("out", &["in", "zz"])], true).1.len(), 1);
}

#[test]
fn loose_ends_are_warned_of() {
    let nodes = [source("in"), source("in2"), route("r", &["in"], &["a", "dropped"]), sink("out", &["r.a"])];
    assert_eq!(
        run(&nodes, false).2,
        [
            "sources.in2: Source \"in2\" has no consumers",
            "transforms.r: Transform \"r.dropped\" has no consumers"
        ]
    );
}

#[test]
fn a_component_that_did_not_load_makes_no_further_noise() {
    let mut broken = route("r", &["in"], &[]);
    broken.outputs = None;
    let nodes = [source("in"), broken, sink("out", &["r.x", "r"]), sink("b", &["r*"]), sink("c", &["zz"])];
    let (_, errors, _) = run(&nodes, false);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("\"zz\""));
}

#[test]
fn two_rings_are_two_errors() {
    let nodes = [
        source("in"),
        transform("a", &["in", "b"]),
        transform("b", &["a"]),
        transform("c", &["d"]),
        transform("d", &["c"]),
        sink("out", &["b"]),
    ];
    assert_eq!(run(&nodes, false).1.len(), 2);
}

#[test]
fn an_address_is_owned_once_also_when_one_of_them_is_all_addresses() {
    let owner = |key: &str, address: &str| {
        let address = address.parse().unwrap_or_else(|_| panic!("an address"));
        (ComponentKey::from(key), Trail::of(&["sources", key]), Resource::tcp(address))
    };
    for (one, other, clashes) in [
        ("0.0.0.0:1", "0.0.0.0:1", true),
        ("0.0.0.0:1", "127.0.0.1:1", true),
        ("[::]:1", "127.0.0.1:1", true),
        ("127.0.0.1:1", "127.0.0.2:1", false),
        ("0.0.0.0:1", "[::1]:1", false),
        ("0.0.0.0:1", "0.0.0.0:2", false),
        ("0.0.0.0:0", "0.0.0.0:0", false),
    ] {
        let mut report = Report::default();
        check_resources(&[owner("a", one), owner("b", other)], &mut report);
        assert_eq!(report.errors.len(), usize::from(clashes), "{one} {other}");
        if clashes {
            let message = format!("Resource `tcp {one}` is claimed by multiple components: {{\"a\", \"b\"}}");
            assert_eq!(report.errors[0].message, message);
        }
    }
}

proptest! {
    #[test]
    fn a_graph_without_errors_has_no_rings(edges in proptest::collection::vec((0..6_usize, 0..7_usize), 0..20)) {
        let mut nodes = vec![source("t6")];
        for id in 0..6 {
            let inputs: BTreeSet<_> = edges.iter().filter(|(to, _)| *to == id).map(|(_, from)| format!("t{from}")).collect();
            let inputs: Vec<_> = inputs.iter().map(String::as_str).collect();
            nodes.push(transform(&format!("t{id}"), &inputs));
        }
        let (inputs, errors, _) = run(&nodes, false);
        // Leaves away what has all its inputs outside the rest, over and over: a ring is what stays.
        let mut rest: HashSet<ComponentKey> = (0..6).map(|id| ComponentKey::from(format!("t{id}"))).collect();
        loop {
            let free = rest.iter().find(|key| {
                inputs[&(ComponentKind::Transform, (*key).clone())].iter().all(|output| !rest.contains(&output.component))
            });
            let Some(free) = free.cloned() else { break };
            rest.remove(&free);
        }
        prop_assert_eq!(rest.is_empty(), !errors.iter().any(|error| error.contains("Cyclic")));
    }
}
