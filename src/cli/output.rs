//! What commands print.

use std::io::{self, IsTerminal as _, Write as _};

use prost::Message;
use serde_json::Value;

use super::{Failure, Format};
use crate::convert::descriptor;
use crate::convert::text::{self, WriteStyle};

/// Where and how a command prints.
#[derive(Debug)]
pub(super) struct Output {
    format: Format,
    color: bool,
}

/// A style of the terminal; nothing where the output is no terminal.
#[derive(Clone, Copy, Debug)]
pub(super) enum Style {
    Good,
    Warn,
    Bad,
    Dim,
    Bold,
}

impl Output {
    pub(super) fn new(format: Format) -> Self {
        let color = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { format, color }
    }

    pub(super) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    pub(super) fn is_sarif(&self) -> bool {
        self.format == Format::Sarif
    }

    /// Prints a message in its JSON form.
    pub(super) fn json<M: Message>(&self, name: &str, message: &M) -> Result<(), Failure> {
        let value = to_json(name, message)?;
        self.value(&value)
    }

    /// Prints a JSON value.
    pub(super) fn value(&self, value: &Value) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(|e| Failure::new(e.to_string()))?;
        self.line(&text)
    }

    /// Prints a schema.
    pub(super) fn schema(&self, schema: Option<Value>) -> Result<(), Failure> {
        self.value(&schema.ok_or_else(|| Failure::new("the descriptor of the message is missing"))?)
    }

    /// Prints a line. A closed pipe ends the output quietly, as other commands do.
    pub(super) fn line(&self, text: &str) -> Result<(), Failure> {
        self.line_for_reader(text).map(|_| ())
    }

    /// Prints a line, and tells whether somebody still reads: without that an output without end would go on for nobody.
    pub(super) fn line_for_reader(&self, text: &str) -> Result<bool, Failure> {
        let mut stdout = io::stdout().lock();
        match writeln!(stdout, "{text}") {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Failure::new(format!("standard output could not be written: {error}"))),
        }
    }

    /// A text in a style.
    pub(super) fn styled(&self, style: Style, text: &str) -> String {
        if !self.color {
            return text.to_owned();
        }
        let code = match style {
            Style::Good => "32",
            Style::Warn => "33",
            Style::Bad => "31",
            Style::Dim => "2",
            Style::Bold => "1",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// A message as JSON.
pub(super) fn to_json<M: Message>(name: &str, message: &M) -> Result<Value, Failure> {
    let descriptor = descriptor(name).ok_or_else(|| Failure::new(format!("no descriptor of {name}")))?;
    text::write_of(message, &descriptor, &WriteStyle::default()).map_err(|e| Failure::new(e.to_string()))
}

/// Says on standard error why a command failed.
pub(super) fn complain(message: &str) {
    let mut stderr = io::stderr().lock();
    let _ = writeln!(stderr, "error: {message}");
}

/// Says something on standard error.
pub(super) fn note(message: &str) {
    let mut stderr = io::stderr().lock();
    let _ = writeln!(stderr, "{message}");
}
