//! Children: the two other processes, this program again.
//! In: options. Out: what they say, one thing after the other, and how the pipeline ended.
//! Holds: both; dropping it ends them. They are in process groups of their own: a Ctrl-C is this process' to act on.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::io::AsyncBufReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::BenchArgs;
use super::sample::Sample;
use super::sink_hole::{Listening, Taken};
use crate::exit::{Exit, tell};

/// How often it is looked whether the pipeline has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Something that was heard.
pub(super) enum Heard {
    Sample(Instant, Sample),
    Taken(Instant, Taken),
    Ended(Exit),
}

/// The two processes.
pub(super) struct Children {
    /// When the pipeline was started.
    pub(super) started: Instant,
    hole: Child,
    pipeline: Child,
    taken: mpsc::UnboundedReceiver<(Instant, Taken)>,
    samples: mpsc::UnboundedReceiver<(Instant, Sample)>,
    ended: Option<ExitStatus>,
}

impl Children {
    pub(super) async fn start(args: &BenchArgs, threads: Option<usize>) -> Result<Self, String> {
        let mut hole = spawn("bench-sink-hole", |command| {
            command.args(args.service.as_args()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        })?;
        let (address, taken) = hear_hole(hole.stdout.take())?;
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(|error| error.to_string())?;
        let samples_to = listener.local_addr().map_err(|error| error.to_string())?;
        let started = Instant::now();
        let mut pipeline = spawn("bench-pipeline", |command| {
            command.args(args.pipeline.as_args());
            command.arg("--endpoint").arg(address.to_string());
            command.arg("--samples-to").arg(samples_to.to_string());
            if let Some(threads) = threads {
                command.arg("--threads").arg(threads.to_string());
            }
            // Events that the user's pipeline writes to standard output are not this program's output.
            command.stdout(Stdio::null()).stderr(Stdio::piped());
        })?;
        forward_words(&mut pipeline);
        let (sender, samples) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            if let Ok((socket, _)) = listener.accept().await {
                hear_samples(socket, &sender).await;
            }
        });
        Ok(Self { started, hole, pipeline, taken, samples, ended: None })
    }

    /// The pipeline's standard input.
    pub(super) fn take_input(&mut self) -> Result<ChildStdin, String> {
        self.pipeline.stdin.take().ok_or_else(|| "the pipeline has no standard input".to_owned())
    }

    /// The next thing that is heard. The end of the pipeline is the last: everything else was heard before.
    pub(super) async fn hear(&mut self) -> Heard {
        loop {
            if let Some(status) = self.ended {
                return self.hear_rest(status).await;
            }
            tokio::select! {
                Some((at, sample)) = self.samples.recv() => {
                    return Heard::Sample(at, sample);
                }
                Some((at, taken)) = self.taken.recv() => return Heard::Taken(at, taken),
                () = tokio::time::sleep(LOOK_EVERY) => {
                    if let Ok(Some(status)) = self.pipeline.try_wait() {
                        self.ended = Some(status);
                    }
                }
            }
        }
    }

    async fn hear_rest(&mut self, status: ExitStatus) -> Heard {
        // The sink-hole tells all and ends when its input does.
        drop(self.hole.stdin.take());
        if status.success() {
            if let Some((at, sample)) = self.samples.recv().await {
                return Heard::Sample(at, sample);
            }
            if let Some((at, taken)) = self.taken.recv().await {
                return Heard::Taken(at, taken);
            }
        }
        Heard::Ended(match status.code() {
            Some(0) => Exit::Done,
            Some(78) => Exit::Config,
            _ => Exit::Failed,
        })
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for child in [&mut self.pipeline, &mut self.hole] {
            if matches!(child.try_wait(), Ok(None)) {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

fn spawn(verb: &str, options: impl FnOnce(&mut Command)) -> Result<Child, String> {
    let program =
        std::env::current_exe().map_err(|error| format!("this program cannot be found: {error}"))?;
    let mut command = Command::new(program);
    command.arg(verb).stdin(Stdio::piped()).process_group(0);
    options(&mut command);
    command.spawn().map_err(|error| format!("a process for {verb} cannot be started: {error}"))
}

/// Where the sink-hole listens, and what it takes from then on.
fn hear_hole(
    out: Option<ChildStdout>,
) -> Result<(SocketAddr, mpsc::UnboundedReceiver<(Instant, Taken)>), String> {
    let broken = || "the sink-hole did not start".to_owned();
    let mut lines = BufReader::new(out.ok_or_else(broken)?).lines();
    let first = lines.next().and_then(Result::ok).ok_or_else(broken)?;
    let listening: Listening = serde_json::from_str(&first).map_err(|_| broken())?;
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let at = Instant::now();
            if let Ok(taken) = serde_json::from_str(&line)
                && sender.send((at, taken)).is_err()
            {
                return;
            }
        }
    });
    Ok((listening.address, receiver))
}

async fn hear_samples(socket: TcpStream, to: &mpsc::UnboundedSender<(Instant, Sample)>) {
    let mut lines = tokio::io::BufReader::new(socket).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let at = Instant::now();
        if let Ok(sample) = serde_json::from_str(&line)
            && to.send((at, sample)).is_err()
        {
            return;
        }
    }
}

/// What the pipeline says goes above the progress line.
fn forward_words(pipeline: &mut Child) {
    let Some(words) = pipeline.stderr.take() else { return };
    std::thread::spawn(move || BufReader::new(words).lines().map_while(Result::ok).for_each(tell));
}
