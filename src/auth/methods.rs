//! Which role a method asks for: the one table.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::Role;

/// What a method asks for, and how it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// `/package.Service/Method`.
    pub path: &'static str,
    /// The least role.
    pub role: Role,
    /// How long it may take, and where it is counted.
    pub form: Form,
}

/// How a method is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One request, one answer.
    Unary,
    /// The caller streams.
    Upload,
    /// The server streams for as long as the caller listens.
    Stream,
}

/// Every method of the package.
pub const METHODS: &[Method] = &[
    reader("/weighbridge.v1.EligibilityService/CheckEligibility"),
    reader("/weighbridge.v1.EligibilityService/BatchCheckEligibility"),
    reader("/weighbridge.v1.EligibilityService/ListEligibleModels"),
    reader("/weighbridge.v1.EligibilityService/GetDecision"),
    reader("/weighbridge.v1.EligibilityService/GetDecisionReceipt"),
    reader("/weighbridge.v1.EligibilityService/ListDecisions"),
    reader("/weighbridge.v1.ModelService/GetModel"),
    reader("/weighbridge.v1.ModelService/ListModels"),
    reader("/weighbridge.v1.ModelService/CompareModels"),
    reader("/weighbridge.v1.ModelService/AggregateModels"),
    reader("/weighbridge.v1.ModelService/BatchGetModels"),
    reader("/weighbridge.v1.ModelService/ListModelRevisions"),
    reader("/weighbridge.v1.ModelService/ResolveModel"),
    reader("/weighbridge.v1.ModelService/GetModelLineage"),
    reader("/weighbridge.v1.ModelService/AssessOpenness"),
    stream("/weighbridge.v1.ModelService/WatchModels", Role::Reader),
    editor("/weighbridge.v1.ModelService/CreateModel"),
    editor("/weighbridge.v1.ModelService/UpdateModel"),
    editor("/weighbridge.v1.ModelService/DeleteModel"),
    upload("/weighbridge.v1.ModelService/ImportModels", Role::Editor),
    reader("/weighbridge.v1.OfferingService/GetProvider"),
    reader("/weighbridge.v1.OfferingService/ListProviders"),
    reader("/weighbridge.v1.OfferingService/GetOffering"),
    reader("/weighbridge.v1.OfferingService/ListOfferings"),
    reader("/weighbridge.v1.LicenseService/GetLicense"),
    reader("/weighbridge.v1.LicenseService/ListLicenses"),
    reader("/weighbridge.v1.LicenseService/ListLicenseRevisions"),
    reader("/weighbridge.v1.LicenseService/CompareLicenses"),
    stream("/weighbridge.v1.LicenseService/WatchLicenses", Role::Reader),
    editor("/weighbridge.v1.LicenseService/CreateLicense"),
    editor("/weighbridge.v1.LicenseService/UpdateLicense"),
    editor("/weighbridge.v1.LicenseService/DeleteLicense"),
    reader("/weighbridge.v1.AdvisorService/EstimateHosting"),
    reader("/weighbridge.v1.AdvisorService/CompareCosts"),
    reader("/weighbridge.v1.AdvisorService/RecommendRoute"),
    reader("/weighbridge.v1.AdvisorService/ListAccelerators"),
    reader("/weighbridge.v1.UseProfileService/GetUseProfile"),
    reader("/weighbridge.v1.UseProfileService/ListUseProfiles"),
    editor("/weighbridge.v1.UseProfileService/CreateUseProfile"),
    editor("/weighbridge.v1.UseProfileService/UpdateUseProfile"),
    editor("/weighbridge.v1.UseProfileService/DeleteUseProfile"),
    reader("/weighbridge.v1.WaiverService/GetWaiver"),
    reader("/weighbridge.v1.WaiverService/ListWaivers"),
    policy_admin("/weighbridge.v1.WaiverService/CreateWaiver"),
    policy_admin("/weighbridge.v1.WaiverService/UpdateWaiver"),
    policy_admin("/weighbridge.v1.WaiverService/DeleteWaiver"),
    reader("/weighbridge.v1.PolicyService/GetPolicy"),
    reader("/weighbridge.v1.PolicyService/ListPolicies"),
    policy_admin("/weighbridge.v1.PolicyService/CreatePolicy"),
    policy_admin("/weighbridge.v1.PolicyService/UpdatePolicy"),
    policy_admin("/weighbridge.v1.PolicyService/DeletePolicy"),
    reader("/weighbridge.v1.PolicyService/ValidatePolicy"),
    reader("/weighbridge.v1.PolicyService/SimulatePolicy"),
    reader("/weighbridge.v1.DeploymentService/GetDeployment"),
    reader("/weighbridge.v1.DeploymentService/ListDeployments"),
    editor("/weighbridge.v1.DeploymentService/CreateDeployment"),
    editor("/weighbridge.v1.DeploymentService/UpdateDeployment"),
    editor("/weighbridge.v1.DeploymentService/DeleteDeployment"),
    stream("/weighbridge.v1.DeploymentService/WatchDeployments", Role::Reader),
    // What a gateway asks of every request.
    reader("/envoy.service.auth.v3.Authorization/Check"),
    reader("/weighbridge.v1.AdminService/GetStatus"),
    stream("/weighbridge.v1.AdminService/Backup", Role::Admin),
    upload("/weighbridge.v1.AdminService/Restore", Role::Admin),
];

/// The method of a path.
#[must_use]
pub fn method(path: &str) -> Option<&'static Method> {
    static BY_PATH: LazyLock<HashMap<&'static str, &'static Method, foldhash::fast::FixedState>> =
        LazyLock::new(|| METHODS.iter().map(|method| (method.path, method)).collect());
    BY_PATH.get(path).copied()
}

const fn unary(path: &'static str, role: Role) -> Method {
    Method { path, role, form: Form::Unary }
}

const fn reader(path: &'static str) -> Method {
    unary(path, Role::Reader)
}

const fn editor(path: &'static str) -> Method {
    unary(path, Role::Editor)
}

const fn policy_admin(path: &'static str) -> Method {
    unary(path, Role::PolicyAdmin)
}

const fn upload(path: &'static str, role: Role) -> Method {
    Method { path, role, form: Form::Upload }
}

const fn stream(path: &'static str, role: Role) -> Method {
    Method { path, role, form: Form::Stream }
}
