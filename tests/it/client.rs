//! The client of the crate: what lets a model through, and what does not.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use weighbridge::client::{Blocked, Gate, Permission, Settings};
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::Verdict;
use weighbridge::pb::weighbridge::v1::eligibility_service_server::{EligibilityService, EligibilityServiceServer};

use crate::harness::TestServer;

/// When a call came, and what it showed.
type Came = (Instant, Option<String>);

/// Answers each call with the next of its turns, and the last one again and again.
#[derive(Clone)]
struct Told {
    turns: Arc<Vec<Result<i32, Status>>>,
    calls: Arc<Mutex<Vec<Came>>>,
    takes: Duration,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl EligibilityService for Told {
    async fn check_eligibility(
        &self,
        request: Request<pb::CheckEligibilityRequest>,
    ) -> Answer<pb::CheckEligibilityResponse> {
        let shown = request.metadata().get("authorization").map(|shown| shown.to_str().unwrap().to_owned());
        let number = {
            let mut calls = self.calls.lock().unwrap();
            calls.push((Instant::now(), shown));
            calls.len()
        };
        tokio::time::sleep(self.takes).await;
        let mut turn = self.turns[number.min(self.turns.len()) - 1].clone();
        let call_id = "call-1".parse().unwrap();
        match &mut turn {
            Ok(verdict) => {
                let decision = pb::Decision { verdict: *verdict, summary: "told so".into(), ..Default::default() };
                // No verdict has this number: there is no decision at all.
                let decision = (*verdict != -1).then_some(decision);
                let mut response = Response::new(pb::CheckEligibilityResponse { decision });
                response.metadata_mut().insert("weighbridge-call-id", call_id);
                Ok(response)
            }
            Err(status) => {
                status.metadata_mut().insert("weighbridge-call-id", call_id);
                Err(status.clone())
            }
        }
    }

    async fn batch_check_eligibility(
        &self,
        _: Request<pb::BatchCheckEligibilityRequest>,
    ) -> Answer<pb::BatchCheckEligibilityResponse> {
        Err(Status::unimplemented(""))
    }

    async fn list_eligible_models(
        &self,
        _: Request<pb::ListEligibleModelsRequest>,
    ) -> Answer<pb::ListEligibleModelsResponse> {
        Err(Status::unimplemented(""))
    }

    async fn get_decision_receipt(&self, _: Request<pb::GetDecisionReceiptRequest>) -> Answer<pb::Envelope> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn get_decision(&self, _: Request<pb::GetDecisionRequest>) -> Answer<pb::Decision> {
        Err(Status::unimplemented(""))
    }

    async fn list_decisions(&self, _: Request<pb::ListDecisionsRequest>) -> Answer<pb::ListDecisionsResponse> {
        Err(Status::unimplemented(""))
    }
}

impl Told {
    fn new(turns: impl IntoIterator<Item = Result<i32, Status>>) -> Self {
        let turns = Arc::new(turns.into_iter().collect());
        Self { turns, calls: Arc::default(), takes: Duration::ZERO }
    }

    /// Asks it, with the settings changed.
    async fn asked(&self, change: impl FnOnce(&mut Settings)) -> Result<Permission, Blocked> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut settings = Settings::new(format!("http://{}", listener.local_addr().unwrap()));
        settings.deadline = Duration::from_secs(30);
        change(&mut settings);
        let serving = tonic::transport::Server::builder().add_service(EligibilityServiceServer::new(self.clone()));
        let serving = tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
        let answer = Gate::new(&settings).unwrap().check(request("acme/one", pb::Purpose::Commercial)).await;
        serving.abort();
        answer
    }

    fn calls(&self) -> usize {
        self.calls.lock().unwrap().len()
    }
}

fn request(model: &str, purpose: pb::Purpose) -> pb::CheckEligibilityRequest {
    let hosting = pb::Hosting::SelfHosted.into();
    let r#use = Some(pb::Use { purpose: purpose.into(), hosting, ..pb::Use::default() });
    pb::CheckEligibilityRequest { model: model.to_owned(), r#use, ..Default::default() }
}

fn status(code: Code, details: ErrorDetails) -> Status {
    Status::with_error_details(code, "told so", details)
}

fn retry_after(wait: Duration) -> ErrorDetails {
    ErrorDetails::with_retry_info(Some(wait))
}

const ELIGIBLE: i32 = Verdict::Eligible as i32;
const CONDITIONS: i32 = Verdict::EligibleWithConditions as i32;

#[tokio::test]
async fn two_verdicts_let_a_model_through_and_nothing_else_does() {
    let lets_through = |turn| async move { Told::new([turn]).asked(|_| ()).await.is_ok() };
    for verdict in -1..100 {
        let is_yes = verdict == ELIGIBLE || verdict == CONDITIONS;
        assert_eq!(lets_through(Ok(verdict)).await, is_yes, "{verdict}");
    }
    let is_final = |code: &Code| !matches!(code, Code::Unknown | Code::Unavailable | Code::ResourceExhausted);
    for code in (1..17).map(Code::from).filter(is_final) {
        let told = Told::new([Err(status(code, ErrorDetails::default()))]);
        assert!(told.asked(|_| ()).await.is_err(), "{code:?}");
        // It is final.
        assert_eq!(told.calls(), 1, "{code:?}");
    }
    let strict =
        |verdict| async move { Told::new([Ok(verdict)]).asked(|settings| settings.strict_conditions = true).await };
    assert!(strict(ELIGIBLE).await.is_ok());
    assert!(matches!(strict(CONDITIONS).await, Err(Blocked::Conditions { .. })));
}

#[tokio::test]
async fn what_blocks_says_why() {
    let permission = Told::new([Ok(ELIGIBLE)]).asked(|_| ()).await.unwrap();
    assert_eq!((permission.call_id(), permission.decision().summary.as_str()), ("call-1", "told so"));
    let review = Told::new([Ok(Verdict::NeedsReview as i32)]).asked(|_| ()).await.unwrap_err();
    assert!(matches!(&review, Blocked::Decided { decision, .. } if decision.verdict() == Verdict::NeedsReview));
    assert_eq!(review.to_string(), "told so (call call-1)");
    let own = ErrorDetails::with_error_info("NOT_FOUND", "weighbridge", std::collections::HashMap::new());
    let unknown = Told::new([Err(status(Code::NotFound, own))]).asked(|_| ()).await.unwrap_err();
    assert!(matches!(unknown, Blocked::NotFound { .. }));
    // A proxy that finds no route.
    let lost = Told::new([Err(status(Code::NotFound, ErrorDetails::default()))]).asked(|_| ()).await.unwrap_err();
    assert!(matches!(lost, Blocked::NoAnswer { code: Code::NotFound, .. }));
    assert_eq!(lost.to_string(), "no answer: told so (NotFound) (call call-1)");
}

#[tokio::test]
async fn what_was_not_decided_is_asked_again() {
    let unavailable = || Err(status(Code::Unavailable, ErrorDetails::default()));
    let told = Told::new([unavailable(), unavailable(), Ok(ELIGIBLE)]);
    assert!(told.asked(|_| ()).await.is_ok());
    assert_eq!(told.calls(), 3);
    let told = Told::new([unavailable()]);
    assert!(told.asked(|settings| settings.attempts = 3).await.is_err());
    assert_eq!(told.calls(), 3);
    let full = status(Code::ResourceExhausted, retry_after(Duration::from_millis(700)));
    let told = Told::new([Err(full), Ok(ELIGIBLE)]);
    assert!(told.asked(|_| ()).await.is_ok());
    let calls = told.calls.lock().unwrap().clone();
    assert!(calls[1].0 - calls[0].0 >= Duration::from_millis(700));
}

#[tokio::test]
async fn the_deadline_bounds_all_attempts() {
    // A wait that would end after it is not begun.
    let told = Told::new([Err(status(Code::Unavailable, retry_after(Duration::from_secs(3_600))))]);
    let started = Instant::now();
    assert!(told.asked(|_| ()).await.is_err());
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(told.calls(), 1);
    let slow = Told { takes: Duration::from_secs(3_600), ..Told::new([Ok(ELIGIBLE)]) };
    let late = slow.asked(|settings| settings.deadline = Duration::from_millis(300)).await.unwrap_err();
    // The client's own clock or the transport's comes first.
    assert!(matches!(late, Blocked::NoAnswer { code: Code::DeadlineExceeded | Code::Cancelled, .. }), "{late:?}");
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn nobody_there_blocks() {
    // Held, and not listened on.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let server = format!("http://{}", socket.local_addr().unwrap());
    let settings = Settings { attempts: 2, ..Settings::new(server) };
    let blocked = Gate::new(&settings).unwrap().check(request("acme/one", pb::Purpose::Research)).await.unwrap_err();
    assert!(matches!(blocked, Blocked::NoAnswer { code: Code::Unavailable, .. }), "{blocked:?}");
}

#[tokio::test]
async fn a_token_is_shown_and_never_in_the_clear() {
    let told = Told::new([Ok(ELIGIBLE)]);
    assert!(told.asked(|settings| settings.token = Some("wb_secret\n".into())).await.is_ok());
    assert_eq!(told.calls.lock().unwrap()[0].1.as_deref(), Some("Bearer wb_secret"));
    let with_token = |server: &str| Settings { token: Some("wb_secret".into()), ..Settings::new(server) };
    let wrong = [
        with_token("http://registry.example.com:50051"),
        Settings { ca_cert: Some(Vec::new()), ..Settings::new("http://127.0.0.1:1") },
        Settings { token: Some(" ".into()), ..Settings::new("http://127.0.0.1:1") },
        Settings::new("registry"),
        Settings::new("ftp://registry:1"),
        Settings::new("https://registry:1/path"),
    ];
    for settings in wrong {
        let shown = format!("{settings:?}");
        assert!(!shown.contains("secret"));
        let error = Gate::new(&settings).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
    assert!(Gate::new(&with_token("https://registry.example.com:50051")).is_ok());
}

#[tokio::test]
async fn a_registry_is_asked() {
    let server = TestServer::in_memory();
    let gate = Gate::new(&Settings::new(server.address.clone())).unwrap();
    let permission = gate.check(request("Qwen/Qwen3-8B", pb::Purpose::Research)).await.unwrap();
    assert!(!permission.call_id().is_empty());
    let gated = gate.check(request("meta-llama/Llama-3.3-70B-Instruct", pb::Purpose::Commercial)).await.unwrap_err();
    assert!(matches!(&gated, Blocked::Decided { decision, .. } if !decision.missing_facts.is_empty()), "{gated:?}");
    let unknown = gate.check(request("nobody/nothing", pb::Purpose::Research)).await.unwrap_err();
    assert!(matches!(unknown, Blocked::NotFound { .. }), "{unknown:?}");
    let silent = gate.check(pb::CheckEligibilityRequest::default()).await.unwrap_err();
    assert!(matches!(silent, Blocked::Refused { .. }), "{silent:?}");
}

#[tokio::test]
async fn what_is_lost_on_the_way_is_asked_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = Settings { attempts: 3, ..Settings::new(format!("http://{}", listener.local_addr().unwrap())) };
    let gate = Gate::new(&settings).unwrap();
    let breaking = async {
        for _ in 0..3 {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            let (mut stream, _) = listener.accept().await.unwrap();
            // The settings of a server, so that the call is sent; then it is gone.
            stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
            let mut buffer = [0; 1 << 10];
            let _ = stream.read(&mut buffer).await;
        }
    };
    let (blocked, ()) = tokio::join!(gate.check(request("acme/one", pb::Purpose::Research)), async {
        tokio::time::timeout(Duration::from_secs(20), breaking).await.expect("it comes three times");
    });
    assert!(matches!(blocked, Err(Blocked::NoAnswer { .. })), "{blocked:?}");
}

#[tokio::test]
async fn times_beyond_all_bounds_are_no_panic() {
    let told = Told::new([Err(status(Code::Unavailable, retry_after(Duration::from_secs(i64::MAX as u64))))]);
    let blocked = told.asked(|settings| settings.deadline = Duration::MAX).await.unwrap_err();
    assert!(matches!(blocked, Blocked::NoAnswer { code: Code::Unavailable, .. }), "{blocked:?}");
    assert_eq!(told.calls(), 1);
}
