//! Pipeline: test events, a configuration, and the program that runs them.
//! In: counts and options. Out: NDJSON, a running child, its words at the end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::Receiver;

use tempfile::TempDir;

use super::books::{Books, Metrics};
use super::support::{FaultServer, Tag, tag};

/// One profile event: the `seq`-th of the profile `key`.
pub(crate) fn event(key: u64, seq: u64) -> String {
    format!(
        r#"{{"_test":{{"seq":{seq}}},"person":{{"name":{{"firstName":"P{key}"}}}},"identityMap":{{"CRMID":[{{"id":"{key}"}}]}}}}"#
    )
}

/// `count` events of `keys` profiles, a line each, in the order in which each profile's must arrive.
pub(crate) fn events(count: u64, keys: u64) -> String {
    let mut text = String::new();
    for n in 0..count {
        text.push_str(&event(n % keys, n / keys));
        text.push('\n');
    }
    text
}

/// What must be stored for `events`.
pub(crate) fn tags(count: u64, keys: u64) -> impl Iterator<Item = Tag> {
    (0..count).map(move |n| tag(&format!("crmid:{}", n % keys), n / keys))
}

/// Reads a stored record's tag: the partition key is the profile's, the sequence is in the export.
pub(crate) fn tagger(key: &str, data: &[u8]) -> Option<Tag> {
    let json: serde_json::Value = serde_json::from_slice(data).ok()?;
    Some(tag(key, json["_test"]["seq"].as_u64()?))
}

/// The `auth` option unless a test says another.
const AUTH: &str = "{access_key_id: AKIATEST, secret_access_key: not-a-secret}";

/// A folder with a configuration.
pub(crate) struct Pipeline {
    /// Checkpoints; removed when the test ends.
    folder: TempDir,
    config: PathBuf,
    variables: Vec<(String, String)>,
}

impl Pipeline {
    /// From `source` (YAML of one source, indented by four) to the stream `profiles` at `endpoint`; `options` are further keys of the sink.
    pub(crate) fn new(endpoint: &str, source: &str, options: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("pipeline.yaml");
        let text = format!(
            r#"
data_dir: {}
sources:
  events:
{source}
transforms:
  export:
    type: profile_export
    inputs: [events]
    attributes: [_test]
sinks:
  kinesis:
    type: aws_kinesis_streams
    inputs: [export]
    stream_name: profiles
    region: us-east-1
    endpoint: {endpoint}
    auth: {AUTH}
    encoding: {{codec: json}}
    healthcheck: false
{options}
"#,
            folder.path().display()
        );
        std::fs::write(&config, text).unwrap();
        Self { folder, config, variables: Vec::new() }
    }

    /// The same with another `auth` option.
    pub(crate) fn auth(self, auth: &str) -> Self {
        self.edit(AUTH, auth)
    }

    /// The same with an address where it answers questions: see [`metrics`].
    pub(crate) fn api(self) -> Self {
        self.edit("data_dir:", "api: {enabled: true, address: '127.0.0.1:0'}\ndata_dir:")
    }

    /// The same with another piece of configuration.
    pub(crate) fn edit(self, from: &str, to: &str) -> Self {
        let text = std::fs::read_to_string(&self.config).unwrap();
        assert!(text.contains(from), "{from}: {text}");
        std::fs::write(&self.config, text.replace(from, to)).unwrap();
        self
    }

    /// The same with variables in the program's environment, which has none of AWS' otherwise.
    pub(crate) fn variables(mut self, variables: &[(&str, &str)]) -> Self {
        self.variables
            .extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self
    }

    /// From standard input.
    pub(crate) fn stdin(kinesis: &FaultServer, options: &str) -> Self {
        Self::new(&kinesis.endpoint(), "    type: stdin", options)
    }

    /// Starts the program.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_afluente"));
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy().to_lowercase();
            if text.starts_with("afluente_") || text.starts_with("aws_") || text.ends_with("_proxy") {
                command.env_remove(&name);
            }
        }
        command.env("HOME", self.folder.path()).env("AWS_EC2_METADATA_DISABLED", "true");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.arg("run").arg("-c").arg(&self.config).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, words) = std::sync::mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Running { child, words, told: String::new() }
    }

    /// Runs the program on `input` to its end.
    pub(crate) fn run(&self, input: String) -> Ended {
        let mut running = self.start(&[]);
        running.feed(input);
        running.wait()
    }
}

/// The program, running. Killed when dropped.
pub(crate) struct Running {
    child: Child,
    words: Receiver<String>,
    /// What was read of `words` so far.
    told: String,
}

/// How it ended. Its books add up, or `wait` would have panicked.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) words: String,
    pub(crate) books: Books,
}

impl Running {
    /// Writes `input` beside everything else, then closes standard input.
    pub(crate) fn feed(&mut self, input: String) {
        let mut stdin = self.stdin();
        std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    }

    pub(crate) fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    /// Sends a signal by name, such as `INT`.
    pub(crate) fn signal(&self, name: &str) {
        let status =
            Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status().unwrap();
        assert!(status.success());
    }

    /// The next line that the program says; `None` at its end.
    fn next_line(&mut self) -> Option<String> {
        let line = self.words.recv().ok()?;
        self.told.push_str(&line);
        self.told.push('\n');
        Some(line)
    }

    /// Where the program answers questions, once it says so.
    pub(crate) fn api_address(&mut self) -> String {
        loop {
            let line = self.next_line().unwrap_or_else(|| panic!("it ended: {}", self.told));
            if let Some((_, address)) = line.split_once("address=") {
                return address.split_whitespace().next().unwrap().to_owned();
            }
        }
    }

    /// Resident memory, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Waits for the end. Whatever happened, promise 1 is checked here: the last line of the run adds up.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Ended {
        drop(self.child.stdin.take());
        while self.next_line().is_some() {}
        let code = self.child.wait().unwrap().code();
        let words = std::mem::take(&mut self.told);
        let books = Books::of_line(&words);
        books.assert_add_up();
        Ended { code, words, books }
    }
}

/// Asks the program at `address` for its metrics.
pub(crate) fn metrics(address: &str) -> Metrics {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Metrics(answer)
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Panics unless the program ended well and its books say that `delivered` events came and were delivered.
    #[track_caller]
    pub(crate) fn assert_delivered(&self, delivered: u64) {
        self.assert_books(delivered, &[("delivered", delivered)]);
    }

    /// Panics unless the program ended well, `received` events came, and this became of them and nothing else.
    #[track_caller]
    pub(crate) fn assert_books(&self, received: u64, fates: &[(&str, u64)]) {
        assert_eq!(self.code, Some(0), "{}", self.words);
        assert_eq!((self.books.received, self.books.fates()), (received, fates.to_vec()), "{}", self.words);
    }
}
