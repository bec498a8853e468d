//! Who is let in to what: the table of methods, and what lies beside it.

use std::sync::Arc;

use tonic::Status;

use super::connection::Peer;
use crate::auth::methods::{Form, Method, method};
use crate::auth::{Authenticator, Caller, Role, Shown};
use crate::convert::refusal::{refusal, role_too_low};

/// Who reaches a service that belongs to none of ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Everybody.
    #[default]
    Open,
    /// Whoever has a role.
    Authenticated,
    /// Nobody: it is not served.
    Off,
}

/// Who is let in to what.
#[derive(Debug)]
pub struct Access {
    /// Says who calls.
    pub authenticator: Authenticator,
    /// Whether callers have to be known; else all may do everything.
    pub required: bool,
    /// Who reaches `grpc.health.v1.Health`.
    pub health: Reach,
    /// Who reaches reflection.
    pub reflection: Reach,
}

impl Default for Access {
    fn default() -> Self {
        Self { authenticator: Authenticator::default(), required: false, health: Reach::Open, reflection: Reach::Open }
    }
}

/// A call that was let in.
pub(super) struct Admitted {
    pub(super) method: Option<&'static Method>,
    pub(super) form: Form,
    pub(super) actor: Arc<str>,
}

impl Access {
    /// Lets a call in, or says why not.
    pub(super) fn admit(
        &self,
        path: &str,
        authorization: Option<&str>,
        peer: Option<&Peer>,
    ) -> Result<Admitted, Status> {
        let method = method(path);
        let (needed, form) = match (method, Self::beside(path)) {
            (Some(method), _) => (Some(method.role), method.form),
            (None, Some(beside)) => {
                let reach = if beside == Beside::Health { self.health } else { self.reflection };
                let form = if path.ends_with("/Check") || path.ends_with("/List") { Form::Unary } else { Form::Stream };
                ((reach != Reach::Open).then_some(Role::Reader), form)
            }
            // INVARIANT: what is not in the table is not served, so that a method that was forgotten is open to nobody.
            (None, None) => return Err(Status::unimplemented(format!("there is no method `{}`", short(path)))),
        };
        let actor = match needed {
            Some(needed) if self.required => {
                let shown = peer.and_then(|peer| peer.shown.as_ref());
                self.known(authorization, shown, needed)?.actor
            }
            _ => anybody(),
        };
        Ok(Admitted { method, form, actor })
    }

    /// Lets a reader in to what is no method, and says who it is.
    pub(super) fn admit_reader(&self, authorization: Option<&str>, shown: Option<&Shown>) -> Result<Arc<str>, Status> {
        if !self.required {
            return Ok(Self::anybody());
        }
        self.known(authorization, shown, Role::Reader).map(|caller| caller.actor)
    }

    /// Who calls where nobody is asked.
    pub(super) fn anybody() -> Arc<str> {
        anybody()
    }

    /// Who calls, if they may do what asks for a role.
    fn known(&self, authorization: Option<&str>, shown: Option<&Shown>, needed: Role) -> Result<Caller, Status> {
        let now = jiff::Timestamp::now().as_second();
        let caller = self.authenticator.authenticate(authorization, shown, now);
        let caller = caller.map_err(|refused| refusal(&refused))?;
        if caller.role < needed { Err(role_too_low(&caller, needed)) } else { Ok(caller) }
    }

    fn beside(path: &str) -> Option<Beside> {
        if path.starts_with("/grpc.health.v1.Health/") {
            return Some(Beside::Health);
        }
        let is_reflection = ["/grpc.reflection.v1.ServerReflection/", "/grpc.reflection.v1alpha.ServerReflection/"];
        is_reflection.iter().any(|service| path.starts_with(service)).then_some(Beside::Reflection)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    Health,
    Reflection,
}

/// Who calls where nobody is asked.
fn anybody() -> Arc<str> {
    use std::sync::OnceLock;
    static ANYBODY: OnceLock<Arc<str>> = OnceLock::new();
    ANYBODY.get_or_init(|| crate::registry::OPERATOR.into()).clone()
}

/// A path as a log can hold it.
pub(super) fn short(path: &str) -> String {
    path.chars().take(100).collect()
}
