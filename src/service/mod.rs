//! gRPC: convert in, call the registry, convert out. One type serves every service; a line an RPC.

mod advisor;
mod backup;
mod check;
mod checks;
mod import;
mod lists;
mod past;
mod receipt;
mod status;
mod watch;

pub use advisor::{compare_costs, estimate_hosting, recommend_route};
pub use backup::RestoreTarget;
pub use check::check_eligibility;
pub use checks::Checks;
pub use receipt::Signing;

use std::sync::Arc;

use prost::Message as _;
use tonic::{Request, Response, Status, Streaming, async_trait};

use crate::convert::{self, status::status};
use crate::pb::weighbridge::v1 as pb;
use crate::registry::{
    DeploymentFilter, NamedPage, Registry, RegistryError, RequestId, Update, beside, validate_policies,
};

/// Every service of the package, on one registry.
#[derive(Clone)]
pub struct Services {
    registry: Arc<Registry>,
    restore: Option<RestoreTarget>,
    security: pb::SecurityStatus,
    signing: Option<Arc<Signing>>,
}

impl Services {
    /// Serves a registry.
    #[must_use]
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry, restore: None, security: pb::SecurityStatus::default(), signing: None }
    }

    /// The same services, which can restore a backup.
    #[must_use]
    pub fn with_restore(self, restore: Option<RestoreTarget>) -> Self {
        Self { restore, ..self }
    }

    /// The same services, which sign receipts.
    #[must_use]
    pub fn with_signing(self, signing: Option<Arc<Signing>>) -> Self {
        Self { signing, ..self }
    }

    /// The same services, which say who is let in.
    #[must_use]
    pub fn with_security(self, security: pb::SecurityStatus) -> Self {
        Self { security, ..self }
    }
}

type Answer<T> = Result<Response<T>, Status>;

fn answer<T>(result: Result<T, RegistryError>) -> Answer<T> {
    result.map(Response::new).map_err(|error| failed(&error))
}

/// What a client is told of an error; the rest is said in the log, once.
fn failed(error: &RegistryError) -> Status {
    let told = status(error);
    // What the client is not told is said here, once; why watches end was said where it began.
    let expected = matches!(
        error,
        RegistryError::Stopping { .. } | RegistryError::WatchTooOld { .. } | RegistryError::WatchClosed { .. }
    );
    if matches!(told.code(), tonic::Code::Internal | tonic::Code::Unavailable) && !expected {
        tracing::error!(%error, "a request could not be answered");
    }
    told
}

#[async_trait]
impl pb::model_service_server::ModelService for Services {
    async fn get_model(&self, request: Request<pb::GetModelRequest>) -> Answer<pb::Model> {
        let pb::GetModelRequest { name, as_of_revision, as_of_time } = request.into_inner();
        let (view, refused) = past::view(&self.registry, as_of_revision, as_of_time).await?;
        answer(past::joined(refused, self.registry.model_on(&view.snapshot, &name)))
    }

    async fn list_models(&self, request: Request<pb::ListModelsRequest>) -> Answer<pb::ListModelsResponse> {
        lists::models(&self.registry, request.into_inner()).await
    }

    async fn compare_models(&self, request: Request<pb::CompareModelsRequest>) -> Answer<pb::CompareModelsResponse> {
        answer(self.registry.compare_models(&request.into_inner().models))
    }

    async fn aggregate_models(
        &self,
        request: Request<pb::AggregateModelsRequest>,
    ) -> Answer<pb::AggregateModelsResponse> {
        lists::aggregate_models(&self.registry, request.into_inner()).await
    }

    async fn batch_get_models(
        &self,
        request: Request<pb::BatchGetModelsRequest>,
    ) -> Answer<pb::BatchGetModelsResponse> {
        let pb::BatchGetModelsRequest { parent, names, as_of_revision, as_of_time } = request.into_inner();
        let (view, refused) = past::view(&self.registry, as_of_revision, as_of_time).await?;
        let found = self.registry.batch_models(&view.snapshot, &parent, &names);
        answer(past::joined(refused, found.map(|models| pb::BatchGetModelsResponse { models })))
    }

    async fn create_model(&self, request: Request<pb::CreateModelRequest>) -> Answer<pb::Model> {
        answer(self.registry.create_model(request.into_inner()).await)
    }

    async fn update_model(&self, request: Request<pb::UpdateModelRequest>) -> Answer<pb::Model> {
        answer(self.registry.update_model(request.into_inner()).await)
    }

    async fn delete_model(&self, request: Request<pb::DeleteModelRequest>) -> Answer<()> {
        answer(self.registry.delete_model(request.into_inner()).await)
    }

    async fn list_model_revisions(
        &self,
        request: Request<pb::ListModelRevisionsRequest>,
    ) -> Answer<pb::ListModelRevisionsResponse> {
        let pb::ListModelRevisionsRequest { name, page_size, page_token } = request.into_inner();
        answer(self.registry.model_revisions(&name, &lists::page(page_size, page_token)).await)
    }

    async fn resolve_model(&self, request: Request<pb::ResolveModelRequest>) -> Answer<pb::ResolveModelResponse> {
        let pb::ResolveModelRequest { alias, as_of_revision, as_of_time } = request.into_inner();
        let (view, refused) = past::view(&self.registry, as_of_revision, as_of_time).await?;
        answer(past::joined(refused, self.registry.resolve_on(&view.snapshot, &alias)))
    }

    async fn get_model_lineage(
        &self,
        request: Request<pb::GetModelLineageRequest>,
    ) -> Answer<pb::GetModelLineageResponse> {
        answer(self.registry.model_lineage(&request.into_inner().model))
    }

    async fn assess_openness(&self, request: Request<pb::AssessOpennessRequest>) -> Answer<pb::AssessOpennessResponse> {
        answer(self.registry.assess_openness(&request.into_inner().model))
    }

    async fn import_models(
        &self,
        request: Request<Streaming<pb::ImportModelsRequest>>,
    ) -> Answer<pb::ImportModelsResponse> {
        import::import_models(&self.registry, request.into_inner()).await
    }

    type WatchModelsStream = watch::Watched<pb::WatchModelsResponse>;

    async fn watch_models(&self, request: Request<pb::WatchModelsRequest>) -> Answer<Self::WatchModelsStream> {
        answer(self.registry.watch_models(request.into_inner()).await.map(watch::watched))
    }
}

#[async_trait]
impl pb::offering_service_server::OfferingService for Services {
    async fn get_provider(&self, request: Request<pb::GetProviderRequest>) -> Answer<pb::Provider> {
        answer(self.registry.provider(&request.into_inner().name))
    }

    async fn list_providers(&self, request: Request<pb::ListProvidersRequest>) -> Answer<pb::ListProvidersResponse> {
        let pb::ListProvidersRequest { page_size, page_token } = request.into_inner();
        answer(self.registry.list_providers(&lists::page(page_size, page_token)))
    }

    async fn get_offering(&self, request: Request<pb::GetOfferingRequest>) -> Answer<pb::Offering> {
        answer(self.registry.offering(&request.into_inner().name))
    }

    async fn list_offerings(&self, request: Request<pb::ListOfferingsRequest>) -> Answer<pb::ListOfferingsResponse> {
        lists::offerings(&self.registry, request.into_inner()).await
    }
}

#[async_trait]
impl pb::license_service_server::LicenseService for Services {
    async fn get_license(&self, request: Request<pb::GetLicenseRequest>) -> Answer<pb::License> {
        let pb::GetLicenseRequest { name, as_of_revision, as_of_time } = request.into_inner();
        let (view, refused) = past::view(&self.registry, as_of_revision, as_of_time).await?;
        answer(past::joined(refused, self.registry.license_on(&view.snapshot, &name)))
    }

    async fn list_licenses(&self, request: Request<pb::ListLicensesRequest>) -> Answer<pb::ListLicensesResponse> {
        lists::licenses(&self.registry, request.into_inner()).await
    }

    async fn create_license(&self, request: Request<pb::CreateLicenseRequest>) -> Answer<pb::License> {
        answer(self.registry.create_license(request.into_inner()).await)
    }

    async fn update_license(&self, request: Request<pb::UpdateLicenseRequest>) -> Answer<pb::License> {
        answer(self.registry.update_license(request.into_inner()).await)
    }

    async fn delete_license(&self, request: Request<pb::DeleteLicenseRequest>) -> Answer<()> {
        answer(self.registry.delete_license(request.into_inner()).await)
    }

    async fn list_license_revisions(
        &self,
        request: Request<pb::ListLicenseRevisionsRequest>,
    ) -> Answer<pb::ListLicenseRevisionsResponse> {
        let pb::ListLicenseRevisionsRequest { name, page_size, page_token } = request.into_inner();
        answer(self.registry.license_revisions(&name, &lists::page(page_size, page_token)).await)
    }

    async fn compare_licenses(
        &self,
        request: Request<pb::CompareLicensesRequest>,
    ) -> Answer<pb::CompareLicensesResponse> {
        answer(self.registry.compare_licenses(&request.into_inner().names))
    }

    type WatchLicensesStream = watch::Watched<pb::WatchLicensesResponse>;

    async fn watch_licenses(&self, request: Request<pb::WatchLicensesRequest>) -> Answer<Self::WatchLicensesStream> {
        answer(self.registry.watch_licenses(request.into_inner()).await.map(watch::watched))
    }
}

#[async_trait]
impl pb::eligibility_service_server::EligibilityService for Services {
    async fn check_eligibility(
        &self,
        request: Request<pb::CheckEligibilityRequest>,
    ) -> Answer<pb::CheckEligibilityResponse> {
        check_eligibility(&self.registry, request.into_inner()).await.map(Response::new)
    }

    async fn batch_check_eligibility(
        &self,
        request: Request<pb::BatchCheckEligibilityRequest>,
    ) -> Answer<pb::BatchCheckEligibilityResponse> {
        // On the wire these bytes are the answer (`Checks`).
        let answer = check::batch(self.registry.clone(), request.into_inner()).await?;
        let answer = pb::BatchCheckEligibilityResponse::decode(answer.slice(check::PREFIX_BYTES..));
        answer.map(Response::new).map_err(|error| Status::internal(error.to_string()))
    }

    async fn list_eligible_models(
        &self,
        request: Request<pb::ListEligibleModelsRequest>,
    ) -> Answer<pb::ListEligibleModelsResponse> {
        check::list_eligible_models(&self.registry, request.into_inner()).await.map(Response::new)
    }

    async fn get_decision(&self, request: Request<pb::GetDecisionRequest>) -> Answer<pb::Decision> {
        answer(self.registry.decision(&request.into_inner().name))
    }

    async fn get_decision_receipt(&self, request: Request<pb::GetDecisionReceiptRequest>) -> Answer<pb::Envelope> {
        receipt::receipt(&self.registry, self.signing.as_deref(), &request.into_inner())
    }

    async fn list_decisions(&self, request: Request<pb::ListDecisionsRequest>) -> Answer<pb::ListDecisionsResponse> {
        let pb::ListDecisionsRequest { page_size, page_token, model, verdicts } = request.into_inner();
        answer(self.registry.list_decisions(&model, &verdicts, &lists::page(page_size, page_token)))
    }
}

#[async_trait]
impl pb::advisor_service_server::AdvisorService for Services {
    async fn estimate_hosting(
        &self,
        request: Request<pb::EstimateHostingRequest>,
    ) -> Answer<pb::EstimateHostingResponse> {
        estimate_hosting(&self.registry, request.into_inner()).await.map(Response::new)
    }

    async fn compare_costs(&self, request: Request<pb::CompareCostsRequest>) -> Answer<pb::CompareCostsResponse> {
        compare_costs(&self.registry, request.into_inner()).await.map(Response::new)
    }

    async fn recommend_route(&self, request: Request<pb::RecommendRouteRequest>) -> Answer<pb::RecommendRouteResponse> {
        recommend_route(&self.registry, request.into_inner()).await.map(Response::new)
    }

    async fn list_accelerators(
        &self,
        _request: Request<pb::ListAcceleratorsRequest>,
    ) -> Answer<pb::ListAcceleratorsResponse> {
        Ok(Response::new(self.registry.accelerators()))
    }
}

#[async_trait]
impl pb::use_profile_service_server::UseProfileService for Services {
    async fn get_use_profile(&self, request: Request<pb::GetUseProfileRequest>) -> Answer<pb::UseProfile> {
        let pb::GetUseProfileRequest { name, as_of_revision, as_of_time } = request.into_inner();
        let (view, refused) = past::view(&self.registry, as_of_revision, as_of_time).await?;
        answer(past::joined(refused, self.registry.named(&view.snapshot, &name)))
    }

    async fn list_use_profiles(
        &self,
        request: Request<pb::ListUseProfilesRequest>,
    ) -> Answer<pb::ListUseProfilesResponse> {
        let pb::ListUseProfilesRequest { page_size, page_token } = request.into_inner();
        let listed = self.registry.list_named(&lists::page(page_size, page_token));
        answer(listed.map(|NamedPage { records: use_profiles, next_page_token, total_size }| {
            pb::ListUseProfilesResponse { use_profiles, next_page_token, total_size }
        }))
    }

    async fn create_use_profile(&self, request: Request<pb::CreateUseProfileRequest>) -> Answer<pb::UseProfile> {
        let request = request.into_inner();
        let id = RequestId::of(&request);
        let pb::CreateUseProfileRequest { use_profile_id, use_profile, validate_only, request_id: _ } = request;
        answer(self.registry.create_named(&id, &use_profile_id, use_profile, validate_only).await)
    }

    async fn update_use_profile(&self, request: Request<pb::UpdateUseProfileRequest>) -> Answer<pb::UseProfile> {
        let request = request.into_inner();
        let id = RequestId::of(&request);
        let pb::UpdateUseProfileRequest {
            use_profile: record,
            update_mask: mask,
            allow_missing,
            validate_only,
            request_id: _,
        } = request;
        answer(self.registry.update_named(&id, Update { record, mask, allow_missing, validate_only }).await)
    }

    async fn delete_use_profile(&self, request: Request<pb::DeleteUseProfileRequest>) -> Answer<()> {
        let request = request.into_inner();
        let id = RequestId::of(&request);
        let pb::DeleteUseProfileRequest { name, etag, validate_only, request_id: _ } = request;
        answer(self.registry.delete_named::<pb::UseProfile>(&id, &name, &etag, validate_only).await)
    }
}

#[async_trait]
impl pb::waiver_service_server::WaiverService for Services {
    async fn get_waiver(&self, request: Request<pb::GetWaiverRequest>) -> Answer<pb::Waiver> {
        let pb::GetWaiverRequest { name, as_of_revision, as_of_time } = request.into_inner();
        let (view, refused) = past::view(&self.registry, as_of_revision, as_of_time).await?;
        answer(past::joined(refused, self.registry.named(&view.snapshot, &name)))
    }

    async fn list_waivers(&self, request: Request<pb::ListWaiversRequest>) -> Answer<pb::ListWaiversResponse> {
        let pb::ListWaiversRequest { page_size, page_token } = request.into_inner();
        let listed = self.registry.list_named(&lists::page(page_size, page_token));
        answer(listed.map(|NamedPage { records: waivers, next_page_token, total_size }| pb::ListWaiversResponse {
            waivers,
            next_page_token,
            total_size,
        }))
    }

    async fn create_waiver(&self, request: Request<pb::CreateWaiverRequest>) -> Answer<pb::Waiver> {
        let request = request.into_inner();
        let id = RequestId::of(&request);
        let pb::CreateWaiverRequest { waiver_id, waiver, validate_only, request_id: _ } = request;
        answer(self.registry.create_named(&id, &waiver_id, waiver, validate_only).await)
    }

    async fn update_waiver(&self, request: Request<pb::UpdateWaiverRequest>) -> Answer<pb::Waiver> {
        let request = request.into_inner();
        let id = RequestId::of(&request);
        let pb::UpdateWaiverRequest { waiver: record, update_mask: mask, allow_missing, validate_only, request_id: _ } =
            request;
        answer(self.registry.update_named(&id, Update { record, mask, allow_missing, validate_only }).await)
    }

    async fn delete_waiver(&self, request: Request<pb::DeleteWaiverRequest>) -> Answer<()> {
        let request = request.into_inner();
        let id = RequestId::of(&request);
        let pb::DeleteWaiverRequest { name, etag, validate_only, request_id: _ } = request;
        answer(self.registry.delete_named::<pb::Waiver>(&id, &name, &etag, validate_only).await)
    }
}

#[async_trait]
impl pb::policy_service_server::PolicyService for Services {
    async fn get_policy(&self, request: Request<pb::GetPolicyRequest>) -> Answer<pb::Policy> {
        let pb::GetPolicyRequest { name, as_of_revision, as_of_time } = request.into_inner();
        let (view, refused) = past::view(&self.registry, as_of_revision, as_of_time).await?;
        answer(past::joined(refused, self.registry.named(&view.snapshot, &name)))
    }

    async fn list_policies(&self, request: Request<pb::ListPoliciesRequest>) -> Answer<pb::ListPoliciesResponse> {
        let pb::ListPoliciesRequest { page_size, page_token } = request.into_inner();
        let listed = self.registry.list_named(&lists::page(page_size, page_token));
        answer(listed.map(|NamedPage { records: policies, next_page_token, total_size }| pb::ListPoliciesResponse {
            policies,
            next_page_token,
            total_size,
        }))
    }

    async fn create_policy(&self, request: Request<pb::CreatePolicyRequest>) -> Answer<pb::Policy> {
        let request = request.into_inner();
        let id = RequestId::of(&request);
        let pb::CreatePolicyRequest { policy_id, policy, validate_only, request_id: _ } = request;
        answer(self.registry.create_named(&id, &policy_id, policy, validate_only).await)
    }

    async fn update_policy(&self, request: Request<pb::UpdatePolicyRequest>) -> Answer<pb::Policy> {
        let request = request.into_inner();
        let id = RequestId::of(&request);
        let pb::UpdatePolicyRequest { policy: record, update_mask: mask, allow_missing, validate_only, request_id: _ } =
            request;
        answer(self.registry.update_named(&id, Update { record, mask, allow_missing, validate_only }).await)
    }

    async fn delete_policy(&self, request: Request<pb::DeletePolicyRequest>) -> Answer<()> {
        let request = request.into_inner();
        let id = RequestId::of(&request);
        let pb::DeletePolicyRequest { name, etag, validate_only, request_id: _ } = request;
        answer(self.registry.delete_named::<pb::Policy>(&id, &name, &etag, validate_only).await)
    }

    async fn validate_policy(&self, request: Request<pb::ValidatePolicyRequest>) -> Answer<pb::ValidatePolicyResponse> {
        let (snapshot, request) = (self.registry.snapshot(), request.into_inner());
        let validated = beside(move || validate_policies(&request.policies, &snapshot.reference().vocabulary)).await;
        let problems = validated.and_then(|validated| validated);
        answer(problems.map(|problems| pb::ValidatePolicyResponse { problems }))
    }

    async fn simulate_policy(&self, request: Request<pb::SimulatePolicyRequest>) -> Answer<pb::SimulatePolicyResponse> {
        let (registry, request) = (self.registry.clone(), request.into_inner());
        let least = convert::moment(request.min_revision, 0, None).map_err(RegistryError::Invalid);
        let (least, _) = least.map_err(|error| failed(&error))?;
        let snapshot = registry.snapshot_from(least).await.map_err(|error| failed(&error))?;
        let simulated = beside(move || registry.simulate_policy(&snapshot, request)).await;
        answer(simulated.and_then(|simulated| simulated))
    }
}

#[async_trait]
impl pb::deployment_service_server::DeploymentService for Services {
    async fn get_deployment(&self, request: Request<pb::GetDeploymentRequest>) -> Answer<pb::Deployment> {
        answer(self.registry.deployment(&request.into_inner().name))
    }

    async fn list_deployments(
        &self,
        request: Request<pb::ListDeploymentsRequest>,
    ) -> Answer<pb::ListDeploymentsResponse> {
        let pb::ListDeploymentsRequest { verdicts, owner, environment, page_size, page_token } = request.into_inner();
        let registry = self.registry.clone();
        let filter = DeploymentFilter { owner, environment };
        let page = lists::page(page_size, page_token);
        let listed = beside(move || registry.list_deployments(&filter, &verdicts, &page)).await;
        let listed = listed.and_then(|listed| listed);
        answer(listed.map(|(page, revision)| pb::ListDeploymentsResponse {
            deployments: page.records,
            next_page_token: page.next_page_token,
            total_size: page.total_size,
            revision: i64::try_from(revision).unwrap_or(i64::MAX),
        }))
    }

    async fn create_deployment(&self, request: Request<pb::CreateDeploymentRequest>) -> Answer<pb::Deployment> {
        let request = request.into_inner();
        let id = RequestId::of(&request);
        let pb::CreateDeploymentRequest { deployment_id, deployment, validate_only, request_id: _ } = request;
        let created = self.registry.create_named(&id, &deployment_id, deployment, validate_only).await;
        answer(created.map(|created| self.registry.judged(&self.registry.snapshot(), created)))
    }

    async fn update_deployment(&self, request: Request<pb::UpdateDeploymentRequest>) -> Answer<pb::Deployment> {
        let request = request.into_inner();
        let id = RequestId::of(&request);
        let pb::UpdateDeploymentRequest {
            deployment: record,
            update_mask: mask,
            allow_missing,
            validate_only,
            request_id: _,
        } = request;
        let updated = self.registry.update_named(&id, Update { record, mask, allow_missing, validate_only }).await;
        answer(updated.map(|updated| self.registry.judged(&self.registry.snapshot(), updated)))
    }

    async fn delete_deployment(&self, request: Request<pb::DeleteDeploymentRequest>) -> Answer<()> {
        let request = request.into_inner();
        let id = RequestId::of(&request);
        let pb::DeleteDeploymentRequest { name, etag, validate_only, request_id: _ } = request;
        answer(self.registry.delete_named::<pb::Deployment>(&id, &name, &etag, validate_only).await)
    }

    type WatchDeploymentsStream = watch::Watched<pb::WatchDeploymentsResponse>;

    async fn watch_deployments(
        &self,
        request: Request<pb::WatchDeploymentsRequest>,
    ) -> Answer<Self::WatchDeploymentsStream> {
        answer(self.registry.watch_deployments(request.into_inner()).await.map(watch::watched))
    }
}

#[async_trait]
impl pb::admin_service_server::AdminService for Services {
    async fn get_status(&self, request: Request<pb::GetStatusRequest>) -> Answer<pb::GetStatusResponse> {
        Ok(Response::new(status::get_status(&self.registry, self.security, request.into_inner())))
    }

    type BackupStream = backup::BackupStream;

    async fn backup(&self, _: Request<pb::BackupRequest>) -> Answer<Self::BackupStream> {
        Ok(backup::backup(&self.registry))
    }

    async fn restore(&self, request: Request<Streaming<pb::RestoreRequest>>) -> Answer<pb::RestoreResponse> {
        backup::restore(self.registry.clone(), self.restore.clone(), request.into_inner()).await
    }
}
