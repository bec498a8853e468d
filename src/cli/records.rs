//! Records for commands that read several of them: from a server, or from the built-in catalog in this process.

use std::sync::Arc;

use jiff::Timestamp;
use tonic::{Response, Status};

use super::Failure;
use super::client::{Channel, ServerArguments};
use crate::convert::status::status;
use crate::pb::weighbridge::v1 as pb;
use crate::pb::weighbridge::v1::license_service_client::LicenseServiceClient;
use crate::pb::weighbridge::v1::model_service_client::ModelServiceClient;
use crate::registry::Registry;
use crate::store::MemoryStore;

/// The built-in catalog, as a server without any other record holds it.
pub(super) async fn built_in() -> Result<Registry, Failure> {
    let registry = Registry::open(Arc::new(MemoryStore::new()), Arc::new(Timestamp::now)).await;
    registry.map_err(|e| Failure::new(e.to_string()))
}

/// A connection to a server's records.
pub(super) struct Served {
    channel: Channel,
}

impl Served {
    pub(super) async fn connect(server: &ServerArguments) -> Result<Self, Failure> {
        Ok(Self { channel: server.connect().await? })
    }

    pub(super) async fn license(&self, name: String) -> Result<pb::License, Status> {
        let mut client = LicenseServiceClient::new(self.channel.clone());
        client.get_license(pb::GetLicenseRequest { name, ..Default::default() }).await.map(Response::into_inner)
    }

    async fn compare_licenses(&self, names: Vec<String>) -> Result<pb::CompareLicensesResponse, Status> {
        let mut client = LicenseServiceClient::new(self.channel.clone());
        client.compare_licenses(pb::CompareLicensesRequest { names }).await.map(Response::into_inner)
    }

    pub(super) async fn model(&self, name: String) -> Result<pb::Model, Status> {
        let mut client = ModelServiceClient::new(self.channel.clone());
        client.get_model(pb::GetModelRequest { name, ..Default::default() }).await.map(Response::into_inner)
    }

    pub(super) async fn resolve(&self, alias: String) -> Result<pb::ResolveModelResponse, Status> {
        let mut client = ModelServiceClient::new(self.channel.clone());
        client.resolve_model(pb::ResolveModelRequest { alias, ..Default::default() }).await.map(Response::into_inner)
    }
}

/// Licenses by name.
pub(super) enum Licenses {
    BuiltIn(Box<Registry>),
    Served(Served),
}

impl Licenses {
    pub(super) async fn open(offline: bool, server: &ServerArguments) -> Result<Self, Failure> {
        if offline {
            return Ok(Self::BuiltIn(Box::new(built_in().await?)));
        }
        Ok(Self::Served(Served::connect(server).await?))
    }

    pub(super) async fn compare(&self, names: Vec<String>) -> Result<pb::CompareLicensesResponse, Status> {
        match self {
            Self::BuiltIn(registry) => registry.compare_licenses(&names).map_err(|error| status(&error)),
            Self::Served(served) => served.compare_licenses(names).await,
        }
    }
}
