//! `local-kinesis`: the embedded Kinesis on a port, until a signal comes.
//! In: a port and streams. Out: the endpoint and how to point a configuration at it, on standard output.
//! Never: keeps anything beyond its end.

use std::net::{IpAddr, Ipv4Addr};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::{Exit, say, tell};
use crate::local::{LocalKinesis, NewStream, REGION};

/// Options of `local-kinesis`.
#[derive(Args, Debug)]
pub(crate) struct LocalKinesisArgs {
    /// The port; 0 takes a free one.
    #[arg(long, default_value_t = 4567)]
    port: u16,
    /// The address. Others than loopback let anyone in: the service takes all credentials.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    /// Streams to create.
    #[arg(long, value_name = "NAME:SHARDS", default_value = "profiles:4")]
    stream: Vec<NewStream>,
}

/// Serves a local Kinesis.
pub(crate) async fn local_kinesis(args: LocalKinesisArgs) -> Exit {
    let (mut interrupt, mut terminate) =
        match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
            (Ok(interrupt), Ok(terminate)) => (interrupt, terminate),
            (Err(error), _) | (_, Err(error)) => {
                tell(format_args!("x signals cannot be listened to: {error}"));
                return Exit::Failed;
            }
        };
    let local = match LocalKinesis::start((args.address, args.port).into(), &args.stream).await {
        Ok(local) => local,
        Err(sentence) => {
            tell(format_args!("x {sentence}"));
            return Exit::Failed;
        }
    };
    say(format_args!("Kinesis listens on {}", local.endpoint()));
    for stream in &args.stream {
        let plural = if stream.shards == 1 { "" } else { "s" };
        say(format_args!("  stream {} with {} shard{plural}", stream.name, stream.shards));
    }
    if let Some(stream) = args.stream.first() {
        say(format_args!(
            "Point a sink at it:\n\n\
             sinks:\n  \
               kinesis:\n    \
                 type: aws_kinesis_streams\n    \
                 inputs: [\"*\"]\n    \
                 stream_name: {}\n    \
                 region: {REGION}\n    \
                 endpoint: {}\n    \
                 auth: {{access_key_id: local, secret_access_key: local}}\n    \
                 encoding: {{codec: json}}\n\n\
             Ctrl-C ends it; nothing is kept.",
            stream.name,
            local.endpoint()
        ));
    }
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Exit::Done
}
