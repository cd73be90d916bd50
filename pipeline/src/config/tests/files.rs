//! Several files, globs and directories.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;

const SOURCE: &str = "type: cfg_source\n";
const SINK: &str = "type: cfg_sink\ninputs: [in]\nname: x\nencoding: {codec: json}\n";

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn file(folder: &TempDir, name: &str) -> ConfigPath {
    ConfigPath::File { path: folder.path().join(name), format: None }
}

fn dir(folder: &TempDir) -> ConfigPath {
    ConfigPath::Dir(folder.path().to_owned())
}

/// The errors, with the temporary folder left out.
fn refused(folder: &TempDir, paths: &[ConfigPath]) -> Vec<String> {
    let prefix = format!("{}/", folder.path().display());
    let errors = load(paths, &no_env).map(|_| ()).unwrap_err();
    lines(&errors).into_iter().map(|line| line.replace(&prefix, "")).collect()
}

fn ids(loaded: &Loaded) -> String {
    let config = &loaded.config;
    let keys = config.sources.keys().chain(config.transforms.keys()).chain(config.sinks.keys());
    keys.map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn source(id: &str) -> String {
    format!("sources:\n  {id}: {{type: cfg_source}}\n")
}

fn sink(id: &str) -> String {
    format!("sinks:\n  {id}: {{type: cfg_sink, inputs: [in], {NAMED}}}\n")
}

#[test]
fn several_files_are_appended_and_globs_are_sorted() {
    let folder = folder(&[
        ("b.yaml", &sink("out")),
        ("a.yaml", &source("in")),
        ("c.toml", "[sinks.c]\ntype='cfg_sink'\ninputs=['in']\nname='x'\nencoding={codec='x'}\n"),
        ("d.conf", "[sinks.d]\ntype='cfg_sink'\ninputs=['in']\nname='x'\nencoding={codec='x'}\n"),
    ]);
    assert_eq!(ids(&load(&[file(&folder, "*")], &no_env).unwrap()), "in out c d");
    let twice = [file(&folder, "a.yaml"), file(&folder, "[ab].yaml")];
    assert_eq!(ids(&load(&twice, &no_env).unwrap()), "in out");
}

#[test]
fn a_format_can_be_forced() {
    let text = format!("{}{}", source("in"), sink("out"));
    let folder = folder(&[("a.txt", &text)]);
    let path = folder.path().join("a.txt");
    assert!(load(&[ConfigPath::File { path: path.clone(), format: Some(Format::Yaml) }], &no_env).is_ok());
    assert!(load(&[ConfigPath::File { path, format: None }], &no_env).is_err());
}

#[test]
fn two_files_may_not_contradict_each_other() {
    for (one, other, expected) in [
        (&*source("in"), &*source("in"), "b.yaml:2: sources.in: duplicate source id found: in"),
        ("data_dir: /a", "data_dir: /b", "b.yaml:1: data_dir: conflicting values for 'data_dir' found"),
        (
            "wildcard_matching: strict",
            "wildcard_matching: relaxed",
            "conflicting values for 'wildcard_matching' found",
        ),
        (
            "acknowledgements: true",
            "acknowledgements: false",
            "conflicting values for 'acknowledgements' found",
        ),
        (
            "proxy: {http: a}",
            "proxy: {http: b}",
            "b.yaml:1: proxy.http: conflicting values for 'proxy.http' found",
        ),
        (
            "api: {address: '127.0.0.1:1'}",
            "api: {address: '127.0.0.1:2'}",
            "b.yaml:1: api.address: Conflicting `api` address: 127.0.0.1:1, 127.0.0.1:2 .",
        ),
    ] {
        let rest = format!("{}{}", source("in"), sink("out"));
        let folder = folder(&[("a.yaml", one), ("b.yaml", other), ("c.yaml", &rest)]);
        let errors = refused(&folder, &[file(&folder, "*.yaml")]);
        assert!(errors[0].contains(expected), "{errors:?}");
    }
}

#[test]
fn globals_of_several_files_are_joined() {
    let folder = folder(&[
        (
            "a.yaml",
            "data_dir: /a\nhealthchecks: {enabled: false}\napi: {enabled: true}\nproxy: {no_proxy: [a]}\n",
        ),
        (
            "b.yaml",
            "data_dir: /a\nhealthchecks: {require_healthy: true}\napi: {address: '127.0.0.1:5'}\nproxy: {no_proxy: [b, a]}\n",
        ),
        ("c.yaml", &format!("{}{}", source("in"), sink("out"))),
    ]);
    let config = load(&[file(&folder, "*.yaml")], &no_env).unwrap().config;
    assert_eq!(config.healthchecks, HealthcheckOptions { enabled: false, require_healthy: true });
    assert_eq!(config.api, ApiOptions { enabled: true, address: "127.0.0.1:5".parse().unwrap() });
    assert_eq!(config.global.proxy.no_proxy, ["a", "b"]);
}

#[test]
fn a_directory_is_merged_and_its_folders_hold_components() {
    let folder = folder(&[
        ("a.yaml", "data_dir: /a\nsinks:\n  out: {type: cfg_sink, inputs: [in], name: old}\n"),
        (
            "b.toml",
            "data_dir = '/b'\n[sinks.out]\ninputs = ['r.x']\nname = 'new'\nencoding = {codec = 'json'}\n",
        ),
        (".hidden.yaml", "nonsense: true"),
        ("notes.txt", "not a configuration"),
        ("sources/in.yaml", SOURCE),
        ("sources/deeper/no.yaml", SOURCE),
        ("transforms/r.json", r#"{"type": "cfg_route", "inputs": ["in"], "ports": ["x"]}"#),
        ("transforms/deep/er/p.yaml", "type: cfg_pass\ninputs: [in]\n"),
        ("sinks/more.yaml", &SINK.replace("[in]", "[p]")),
        ("other/ignored.yaml", "nonsense: true"),
    ]);
    let loaded = load(&[dir(&folder)], &no_env).unwrap();
    assert_eq!(ids(&loaded), "in r p out more");
    assert_eq!(loaded.config.global.data_dir(), Path::new("/b"));
    let out = &loaded.config.sinks[0];
    assert_eq!(lines(&out.inputs), ["in", "r.x"]);
    assert!(format!("{:?}", out.inner).contains("name: \"new\""));
}

#[test]
fn mistakes_in_a_directory_name_their_file_and_line() {
    let folder = folder(&[
        ("a.yaml", "data_dir: x\napi: {enabled: true}\n"),
        ("b.yaml", "\ndata_dir: 5\n"),
        ("sources/in.yaml", SOURCE),
        ("sinks/out.yaml", "type: cfg_sink\ninputs:\n  - in\n  - nope\nname: x\nencoding: {codec: json}\n"),
        ("sinks/out2.toml", "type = 'cfg_sink'\ninputs = ['in']\nname = 5\nencoding = {codec = 'x'}\n"),
        ("sinks/dup.toml", SINK),
        ("sinks/dup.yaml", SINK),
    ]);
    let errors = refused(&folder, &[dir(&folder)]);
    for expected in [
        "b.yaml:2: data_dir: Incompatible types at path \"$.data_dir\", expected \"string\" received \"integer\".",
        "sinks/dup.yaml: duplicate sink id found: dup (it is also",
        "sinks/out2.toml:3: sinks.out2.name: invalid type: integer `5`, expected a string",
    ] {
        assert!(errors.iter().any(|error| error.contains(expected)), "{expected}\n{errors:#?}");
    }
    // The graph is not judged while a file is missing from it.
    assert!(!errors.iter().any(|error| error.contains("nope")), "{errors:#?}");
    fs::remove_file(folder.path().join("b.yaml")).unwrap();
    fs::remove_file(folder.path().join("sinks/dup.toml")).unwrap();
    let errors = refused(&folder, &[dir(&folder)]);
    assert!(errors[1].starts_with("sinks/out.yaml:4: sinks.out.inputs[1]: Input \"nope\""), "{errors:#?}");
}

#[test]
fn nothing_found_is_told() {
    let folder = folder(&[("a.yaml", ""), ("empty/x.txt", "")]);
    assert_eq!(refused(&folder, &[]), ["No configuration file was given."]);
    for path in ["nope.yaml", "*.json"] {
        let errors = refused(&folder, &[file(&folder, path)]);
        assert!(errors[0].starts_with("Config file not found in path."), "{errors:?}");
    }
    let empty = ConfigPath::Dir(folder.path().join("empty"));
    assert!(refused(&folder, &[empty])[0].starts_with("Config file not found in path."));
    let missing = ConfigPath::Dir(folder.path().join("nope"));
    assert!(refused(&folder, &[missing])[0].starts_with("Could not read config dir"));
    let given_as_file = ConfigPath::File { path: folder.path().to_owned(), format: None };
    assert!(refused(&folder, &[given_as_file])[0].ends_with("is a directory; give it with `-C`."));
}

#[test]
fn a_bad_file_is_told_with_its_line_and_without_its_content() {
    let folder = folder(&[("a.yaml", "a: [hunter2\nb: hunter2: x\n"), ("b.toml", "password = hunter2\n")]);
    let errors = refused(&folder, &[file(&folder, "*")]);
    assert_eq!(errors.len(), 2, "{errors:#?}");
    assert!(errors[0].starts_with("a.yaml:2: ") && errors[1].starts_with("b.toml:1: "), "{errors:#?}");
    assert!(!errors.join("\n").contains("hunter2"));
    fs::write(folder.path().join("c.yaml"), b"a: \xff\n").unwrap();
    assert_eq!(
        refused(&folder, &[file(&folder, "c.yaml")]),
        ["c.yaml: is not UTF-8 text: the byte at position 3 is wrong"]
    );
}
