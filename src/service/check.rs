//! `CheckEligibility`, `BatchCheckEligibility`, `ListEligibleModels`.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use prost::Message as _;
use tonic::Status;
use tonic::codegen::BoxFuture;

use super::{lists, past};
use crate::catalog::Snapshot;
use crate::convert::status::{invalid, item, status};
use crate::convert::{self, AsOf, UseRequest, Violation};
use crate::pb::weighbridge::v1 as pb;
use crate::pb::weighbridge::v1::batch_check_eligibility_response::Result as Answered;
use crate::pb::weighbridge::v1::batch_check_eligibility_response::result::Outcome;
use crate::registry::{Checked, ListRequest, Registry, RegistryError, beside};

/// As long as nearly all answers are.
const ANSWER_BYTES_USUAL: usize = 5 << 10;
/// Room for the answers of a batch before any is there: entries that are refused take little.
const BATCH_BYTES_BEGUN: usize = 256 << 10;
/// Most checks of one batch.
const BATCH_MAX: usize = 1_000;

/// Checks one use of one model. The command line's `check --offline` calls it too, so that both give one answer.
///
/// # Errors
/// The status that a client would get.
pub async fn check_eligibility(
    registry: &Registry,
    request: pb::CheckEligibilityRequest,
) -> Result<pb::CheckEligibilityResponse, Status> {
    let (request, snapshot) = asked(registry, request).await?;
    let decision = decide(registry, &snapshot, &request)?;
    let decision = registry.keep(request.record, decision).await.map_err(|error| status(&error))?;
    Ok(pb::CheckEligibilityResponse { decision: Some(decision) })
}

/// An answer as it goes on the wire.
pub(super) enum Answer {
    /// Most are there at once: no future is made for them, which would be moved about.
    Now(Option<Result<Bytes, Status>>),
    /// Others wait: for a revision, for the past, for the decision log.
    Later(BoxFuture<Bytes, Status>),
}

impl Future for Answer {
    type Output = Result<Bytes, Status>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Now(answer) => {
                let answer = answer.take().unwrap_or_else(|| Err(Status::internal("an answer was taken twice")));
                Poll::Ready(answer)
            }
            Self::Later(answer) => answer.as_mut().poll(context),
        }
    }
}

/// Answers a check. What is neither explained nor kept is written without making the message.
pub(super) fn answer(registry: &Arc<Registry>, request: pb::CheckEligibilityRequest) -> Answer {
    let snapshot = registry.snapshot();
    let is_now = request.as_of_revision == 0
        && request.as_of_time.is_none()
        && u64::try_from(request.min_revision).is_ok_and(|least| least <= snapshot.revision());
    if request.record || request.explain || !is_now {
        return Answer::Later(Box::pin(later(registry.clone(), request)));
    }
    let written = read(registry, &snapshot, request).and_then(|request| {
        registry.check_on(&snapshot, &request, |checked| {
            if registry.keeps(false, checked.decision.verdict) {
                return Err(Box::new(message(registry, &snapshot, &request, checked)));
            }
            let mut out = begun(ANSWER_BYTES_USUAL);
            convert::encode_decision(&checked.decision, checked.name, checked.revision, &mut out);
            Ok(framed(out))
        })
    });
    match written {
        Ok(Ok(bytes)) => Answer::Now(Some(Ok(bytes))),
        Ok(Err(decision)) => Answer::Later(Box::pin(kept(registry.clone(), *decision))),
        Err(error) => Answer::Now(Some(Err(status(&error)))),
    }
}

async fn later(registry: Arc<Registry>, request: pb::CheckEligibilityRequest) -> Result<Bytes, Status> {
    check_eligibility(&registry, request).await.map(|answer| written(&answer))
}

async fn kept(registry: Arc<Registry>, decision: pb::Decision) -> Result<Bytes, Status> {
    let decision = registry.keep(false, decision).await.map_err(|error| status(&error))?;
    Ok(written(&pb::CheckEligibilityResponse { decision: Some(decision) }))
}

fn written(answer: &pb::CheckEligibilityResponse) -> Bytes {
    let mut out = begun(answer.encoded_len());
    // INVARIANT: a vector takes as much as there is.
    let _ = answer.encode(&mut out);
    framed(out)
}

/// What stands before a message of gRPC: whether it is compressed, and its length.
pub(super) const PREFIX_BYTES: usize = 5;

/// Room for a message behind what stands before it.
fn begun(bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(PREFIX_BYTES + bytes);
    out.resize(PREFIX_BYTES, 0);
    out
}

/// A message as it goes on the wire.
fn framed(mut out: Vec<u8>) -> Bytes {
    let length = u32::try_from(out.len().saturating_sub(PREFIX_BYTES)).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(1..PREFIX_BYTES) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    out.into()
}

/// Reads a request, and the snapshot that it is answered from.
async fn asked(
    registry: &Registry,
    request: pb::CheckEligibilityRequest,
) -> Result<(UseRequest, Arc<Snapshot>), Status> {
    Ok(match (request.as_of_revision, request.as_of_time) {
        (0, None) => {
            // One snapshot for the profile and the answer. A negative revision is refused where the request is read.
            let least = u64::try_from(request.min_revision).unwrap_or(0);
            let snapshot = registry.snapshot_from(least).await.map_err(|error| status(&error))?;
            (read(registry, &snapshot, request).map_err(|error| status(&error))?, snapshot)
        }
        (revision, time) => {
            let as_of = convert::moment(request.min_revision, revision, time);
            let (view, refused) = past::seen(registry, as_of.map(|(_, as_of)| as_of)).await?;
            let request = read_past(registry, &view.snapshot, request, refused)?;
            (request, view.snapshot)
        }
    })
}

fn read(
    registry: &Registry,
    snapshot: &Arc<Snapshot>,
    request: pb::CheckEligibilityRequest,
) -> Result<UseRequest, RegistryError> {
    registry.check_can_record(request.record)?;
    let profile = registry.profile_facts(snapshot, &request.use_profile)?;
    Ok(convert::check_request(request, profile, &snapshot.reference().vocabulary)?)
}

/// Reads a request for an answer of the past, of which something may be refused already.
fn read_past(
    registry: &Registry,
    snapshot: &Arc<Snapshot>,
    request: pb::CheckEligibilityRequest,
    refused: Vec<Violation>,
) -> Result<UseRequest, Status> {
    let read = read(registry, snapshot, request);
    past::joined(refused, read).map_err(|error| status(&error))
}

fn decide(registry: &Registry, snapshot: &Arc<Snapshot>, request: &UseRequest) -> Result<pb::Decision, Status> {
    let decided = registry.check_on(snapshot, request, |checked| message(registry, snapshot, request, checked));
    decided.map_err(|error| status(&error))
}

/// A decision as a message, explained and completed as far as it was asked for.
fn message(registry: &Registry, snapshot: &Arc<Snapshot>, request: &UseRequest, checked: &Checked<'_>) -> pb::Decision {
    let mut decision = convert::decision(&checked.decision, checked.name, checked.revision);
    if request.explain {
        registry.explain(snapshot, checked, &mut decision);
    }
    registry.completed(request.record, checked.decision.verdict, decision, checked.asked)
}

/// Checks many uses on one snapshot; an item that cannot be answered costs the others nothing. The answer is a
/// `BatchCheckEligibilityResponse` as it goes on the wire, written as bytes as far as its decisions are not kept or explained.
///
/// # Errors
/// The batch as a whole is not as it must be, or its revision does not come.
pub(super) async fn batch(registry: Arc<Registry>, request: pb::BatchCheckEligibilityRequest) -> Result<Bytes, Status> {
    let pb::BatchCheckEligibilityRequest { requests, min_revision, as_of_revision, as_of_time } = request;
    let mut violations = Vec::new();
    if requests.is_empty() || requests.len() > BATCH_MAX {
        let description = format!("it has {} entries; 1 to {BATCH_MAX} are allowed", requests.len());
        violations.push(Violation { field: "requests".into(), description });
    }
    let moment = convert::moment(min_revision, as_of_revision, as_of_time);
    let least = moment.as_ref().map_or(0, |(least, _)| *least);
    let (view, refused) = past::seen(&registry, moment.map(|(_, as_of)| as_of)).await?;
    violations.extend(refused);
    if !violations.is_empty() {
        return Err(invalid(&violations));
    }
    let snapshot = match view.as_of {
        AsOf::Now => registry.snapshot_from(least).await.map_err(|error| status(&error))?,
        AsOf::Revision(_) | AsOf::Time(_) => view.snapshot,
    };
    let room = (ANSWER_BYTES_USUAL * requests.len()).min(BATCH_BYTES_BEGUN);
    let mut results = Results { written: begun(room), kept: Vec::new() };
    for request in requests {
        results.add(&registry, &snapshot, request);
        // A batch takes as long as its checks: the connections beside it get their turn in between.
        tokio::task::consume_budget().await;
    }
    let mut answer = results.finish(&registry).await;
    let revision = i64::try_from(snapshot.revision()).unwrap_or(i64::MAX);
    // The fields of a message follow one another.
    answer.extend(pb::BatchCheckEligibilityResponse { results: Vec::new(), revision }.encode_to_vec());
    Ok(framed(answer))
}

/// The results of a batch, in its order.
struct Results {
    /// Those that are done, as the field of the answer that they are, behind what stands before a message.
    written: Vec<u8>,
    /// Those that are to be kept first: whether the caller asked for it, and after how many bytes of the others they stand.
    kept: Vec<(usize, bool, pb::Decision)>,
}

impl Results {
    fn add(&mut self, registry: &Registry, snapshot: &Arc<Snapshot>, request: pb::CheckEligibilityRequest) {
        if let Err(refused) = self.check(registry, snapshot, request) {
            write_result(Outcome::Status(item(&refused)), &mut self.written);
        }
    }

    fn check(
        &mut self,
        registry: &Registry,
        snapshot: &Arc<Snapshot>,
        request: pb::CheckEligibilityRequest,
    ) -> Result<(), Status> {
        let request = read(registry, snapshot, request).map_err(|error| status(&error))?;
        let (asked, current) = (request.min_revision, snapshot.revision());
        if !matches!(request.as_of, AsOf::Now) && request.as_of != AsOf::Revision(current) {
            let field = if matches!(request.as_of, AsOf::Time(_)) { "as_of_time" } else { "as_of_revision" };
            let description =
                format!("all of a batch is answered from one revision, here {current}: set it on the batch");
            return Err(invalid(&[Violation { field: field.into(), description }]));
        }
        if asked > current {
            return Err(status(&RegistryError::RevisionNotReached { asked, current }));
        }
        let checked = registry.check_on(snapshot, &request, |checked| {
            if request.explain || registry.keeps(request.record, checked.decision.verdict) {
                let decision = message(registry, snapshot, &request, checked);
                match decision.name.as_str() {
                    "" => write_result(Outcome::Decision(decision), &mut self.written),
                    _ => self.kept.push((self.written.len(), request.record, decision)),
                }
            } else {
                convert::encode_result(&checked.decision, checked.name, checked.revision, &mut self.written);
            }
        });
        checked.map_err(|error| status(&error))
    }

    /// Keeps what is to be kept, together, so that it shares a flush, and puts it where it belongs.
    async fn finish(self, registry: &Arc<Registry>) -> Vec<u8> {
        if self.kept.is_empty() {
            return self.written;
        }
        let mut places = Vec::with_capacity(self.kept.len());
        let mut keeping = tokio::task::JoinSet::new();
        for (i, (place, record, decision)) in self.kept.into_iter().enumerate() {
            let registry = registry.clone();
            keeping.spawn(async move { (i, registry.keep(record, decision).await) });
            // Filled in below; an entry whose task is lost is answered as one that could not be kept.
            places.push((place, Outcome::Status(item(&status(&RegistryError::Closed)))));
        }
        while let Some(kept) = keeping.join_next().await {
            let Ok((i, kept)) = kept else { continue };
            if let Some((_, outcome)) = places.get_mut(i) {
                *outcome = match kept {
                    Ok(decision) => Outcome::Decision(decision),
                    Err(error) => Outcome::Status(item(&status(&error))),
                };
            }
        }
        let (mut answer, mut from) = (Vec::with_capacity(self.written.len()), 0);
        for (place, outcome) in places {
            answer.extend_from_slice(self.written.get(from..place).unwrap_or_default());
            write_result(outcome, &mut answer);
            from = place;
        }
        answer.extend_from_slice(self.written.get(from..).unwrap_or_default());
        answer
    }
}

fn write_result(outcome: Outcome, out: &mut Vec<u8>) {
    let results = vec![Answered { outcome: Some(outcome) }];
    out.extend(pb::BatchCheckEligibilityResponse { results, revision: 0 }.encode_to_vec());
}

/// Lists the models that may be used as described.
///
/// # Errors
/// The status that a client gets.
pub(super) async fn list_eligible_models(
    registry: &Arc<Registry>,
    request: pb::ListEligibleModelsRequest,
) -> Result<pb::ListEligibleModelsResponse, Status> {
    let moment = convert::moment(request.min_revision, request.as_of_revision, request.as_of_time);
    let least = moment.as_ref().map_or(0, |(least, _)| *least);
    let (view, refused) = past::seen(registry, moment.map(|(_, as_of)| as_of)).await?;
    // One snapshot for the profile and the answer.
    let snapshot = match view.as_of {
        AsOf::Now => registry.snapshot_from(least).await.map_err(|error| status(&error))?,
        AsOf::Revision(_) | AsOf::Time(_) => view.snapshot.clone(),
    };
    let profile = registry.profile_facts(&snapshot, &request.use_profile).map_err(|error| status(&error))?;
    let list = ListRequest {
        filter: request.filter.clone(),
        order_by: request.order_by.clone(),
        read_mask: Vec::new(),
        page: lists::page(request.page_size, request.page_token.clone()),
        view: lists::of_past(view),
    };
    let parent = request.parent.clone();
    let vocabulary = &snapshot.reference().vocabulary;
    let request = convert::eligible_request(request, profile, vocabulary).map_err(RegistryError::from);
    let request = past::joined(refused, request).map_err(|error| status(&error))?;
    let registry = registry.clone();
    // Every model is looked at, which would hold up the connections of this worker.
    let listed = beside(move || registry.eligible_models(&snapshot, &request, &parent, &list)).await;
    listed.and_then(|listed| listed).map_err(|error| status(&error))
}
