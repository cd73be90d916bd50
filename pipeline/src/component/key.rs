//! Names of components and outputs, and what flows between them.
//! In: ids from configuration files. Out: keys that the topology wires by.
//! Never: checks that a name exists; see `config`.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The id of a component in the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ComponentKey(String);

impl ComponentKey {
    /// The id as text.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0
    }

    /// The name of this component's output `port`.
    #[must_use]
    pub fn port(&self, port: &str) -> String {
        format!("{}.{port}", self.0)
    }

    /// The id as text.
    #[must_use]
    pub fn into_id(self) -> String {
        self.0
    }
}

impl From<&str> for ComponentKey {
    fn from(id: &str) -> Self {
        Self(id.to_owned())
    }
}

impl From<String> for ComponentKey {
    fn from(id: String) -> Self {
        Self(id)
    }
}

impl fmt::Display for ComponentKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// One output of one component; shows as `id` or `id.port`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutputId {
    /// The component.
    pub component: ComponentKey,
    /// The port; `None` is the primary output.
    pub port: Option<String>,
}

impl OutputId {
    /// The primary output of `component`.
    #[must_use]
    pub fn primary(component: ComponentKey) -> Self {
        Self { component, port: None }
    }
}

impl fmt::Display for OutputId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.port {
            None => self.component.fmt(formatter),
            Some(port) => write!(formatter, "{}.{port}", self.component),
        }
    }
}

/// Kinds of events. Only logs flow here; the type leaves room for Vector's other two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DataType {
    /// Log events.
    Log,
}

/// What a component takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    data_type: DataType,
}

impl Input {
    /// Takes `data_type`.
    #[must_use]
    pub fn new(data_type: DataType) -> Self {
        Self { data_type }
    }

    /// Takes logs.
    #[must_use]
    pub fn log() -> Self {
        Self::new(DataType::Log)
    }

    /// Takes everything.
    #[must_use]
    pub fn all() -> Self {
        Self::log()
    }

    /// What it takes.
    #[must_use]
    pub fn data_type(&self) -> DataType {
        self.data_type
    }
}

/// One output of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceOutput {
    /// The port; `None` is the primary output.
    pub port: Option<String>,
    /// What comes out.
    pub ty: DataType,
}

impl SourceOutput {
    /// The primary output, of logs.
    #[must_use]
    pub fn new_logs() -> Self {
        Self { port: None, ty: DataType::Log }
    }

    /// The same by a named port.
    #[must_use]
    pub fn with_port(mut self, port: impl Into<String>) -> Self {
        self.port = Some(port.into());
        self
    }
}

/// One output of a transform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransformOutput {
    /// The port; `None` is the primary output.
    pub port: Option<String>,
    /// What comes out.
    pub ty: DataType,
}

impl TransformOutput {
    /// The primary output.
    #[must_use]
    pub fn new(ty: DataType) -> Self {
        Self { port: None, ty }
    }

    /// The same by a named port.
    #[must_use]
    pub fn with_port(mut self, port: impl Into<String>) -> Self {
        self.port = Some(port.into());
        self
    }
}

/// Transport of a claimed port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// Something that only one component may own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// A listening address.
    Port(SocketAddr, Protocol),
    /// An open file descriptor, e.g. 0 for standard input.
    Fd(u32),
    /// A disk buffer, by sink id.
    DiskBuffer(String),
    /// A file that it writes, and with it the one into which it rotates: the same name with `.1` after it.
    RotatedFile(PathBuf),
}

impl Resource {
    /// A listening TCP address.
    #[must_use]
    pub fn tcp(address: SocketAddr) -> Self {
        Self::Port(address, Protocol::Tcp)
    }

    /// A file, however its path is spelled: relative, with `.` or with doubled separators. Links are not followed.
    #[must_use]
    pub fn rotated_file(path: &Path) -> Self {
        Self::RotatedFile(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(address, protocol) => write!(formatter, "{protocol} {address}"),
            Self::Fd(fd) => write!(formatter, "file descriptor {fd}"),
            Self::DiskBuffer(id) => write!(formatter, "disk buffer {id:?}"),
            Self::RotatedFile(path) => write!(formatter, "file {}", path.display()),
        }
    }
}
