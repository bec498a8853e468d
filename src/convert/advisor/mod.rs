//! The advisor: requests into the domain, answers out of it.

mod answer;
mod request;

pub use answer::{
    Told, accelerator, assumptions, break_even, compliance_rule, hosting_memory, precision_number, price_range, range,
    reason, route_number, standing_number, whole,
};
pub use request::{HostingRequest, Load, Means, RouteRequest, costs_request, hosting_request, route_request};
