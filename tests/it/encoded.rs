//! An answer to a check is written as bytes without making its message: the same bytes, for every model of the catalog.

use std::sync::Arc;

use prost::Message as _;
use weighbridge::convert::{self, check_request};
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::batch_check_eligibility_response::Result as Answered;
use weighbridge::pb::weighbridge::v1::batch_check_eligibility_response::result::Outcome;
use weighbridge::registry::Registry;
use weighbridge::store::MemoryStore;

/// Uses that lead to findings of many kinds: duties, gates, territories, missing facts, terms of services.
fn uses() -> Vec<pb::Use> {
    let organization = |country: &str, users: i64| pb::Organization {
        country: country.into(),
        r#type: pb::organization::Type::Company.into(),
        business_types: vec!["none".into()],
        monthly_active_users: Some(users),
        annual_revenue_usd: Some(30_000_000),
        ..Default::default()
    };
    let own = pb::Use {
        purpose: pb::Purpose::Commercial.into(),
        hosting: pb::Hosting::SelfHosted.into(),
        organization: Some(organization("US", 1_000_000)),
        deployment_countries: vec!["US".into()],
        end_user_countries: vec!["US".into()],
        ..Default::default()
    };
    let activities = [
        pb::Activity::FineTune,
        pb::Activity::RedistributeDerivative,
        pb::Activity::OfferAsService,
        pb::Activity::TrainOtherModels,
        pb::Activity::DistributeTrainedModel,
        pb::Activity::PublishOutputs,
    ];
    vec![
        pb::Use::default(),
        own.clone(),
        pb::Use {
            organization: Some(organization("DE", 900_000_000)),
            end_user_countries: vec!["FR".into()],
            ..own.clone()
        },
        pb::Use {
            activities: activities.map(Into::into).to_vec(),
            categories: vec!["medical-advice".into()],
            ..own.clone()
        },
        pb::Use { hosting: pb::Hosting::VendorApi.into(), ..own.clone() },
        pb::Use { hosting: pb::Hosting::EdgeOffline.into(), purpose: pb::Purpose::Research.into(), ..own.clone() },
        pb::Use {
            requirements: Some(pb::Requirements {
                min_tier: pb::Tier::OpenSource.into(),
                license_deny: vec!["MIT".into()],
                offline: true,
                ..Default::default()
            }),
            ..own
        },
    ]
}

#[tokio::test]
async fn the_bytes_of_an_answer_are_those_of_its_message() {
    let registry = Registry::open(Arc::new(MemoryStore::new()), Arc::new(jiff::Timestamp::now)).await.unwrap();
    let snapshot = registry.snapshot();
    let names: Vec<String> = snapshot.models().map(|entry| entry.record.name.to_string()).collect();
    let (mut checked, mut longest) = (0, 0);
    for use_ in uses() {
        let (mut results, mut answered) = (Vec::new(), pb::BatchCheckEligibilityResponse::default());
        for model in &names {
            let request =
                pb::CheckEligibilityRequest { model: model.clone(), r#use: Some(use_.clone()), ..Default::default() };
            let request = check_request(request, None, &snapshot.reference().vocabulary).unwrap();
            let (written, message) = registry
                .check_on(&snapshot, &request, |checked| {
                    let mut written = Vec::new();
                    convert::encode_decision(&checked.decision, checked.name, checked.revision, &mut written);
                    convert::encode_result(&checked.decision, checked.name, checked.revision, &mut results);
                    (written, convert::decision(&checked.decision, checked.name, checked.revision))
                })
                .unwrap();
            let expected = pb::CheckEligibilityResponse { decision: Some(message) };
            assert_eq!(pb::CheckEligibilityResponse::decode(&written[..]).unwrap(), expected, "{model}");
            assert!(written == expected.encode_to_vec(), "{model}");
            answered.results.push(Answered { outcome: expected.decision.map(Outcome::Decision) });
            longest = longest.max(written.len());
            checked += 1;
        }
        assert!(results == answered.encode_to_vec());
    }
    assert!(checked > 8_000 && longest > 4_000, "{checked} {longest}");
}
