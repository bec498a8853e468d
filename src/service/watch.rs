//! `WatchModels`, `WatchLicenses`: the messages of a watch as a stream.

use std::pin::Pin;

use tokio_stream::{Stream, StreamExt as _};
use tonic::Status;

use super::failed;
use crate::registry::Watching;

/// The stream of a watch.
pub(super) type Watched<R> = Pin<Box<dyn Stream<Item = Result<R, Status>> + Send>>;

pub(super) fn watched<R: Send + 'static>(watching: Watching<R>) -> Watched<R> {
    Box::pin(watching.map(|message| message.map_err(|error| failed(&error))))
}
