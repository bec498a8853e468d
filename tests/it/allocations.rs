//! What a decision allocates: counted, since it is asked for on every request.

use std::sync::Arc;

use weighbridge::domain::date::Date;
use weighbridge::domain::eligibility::{Hosting, OrganizationType, Purpose, Use, Waivers, evaluate, verdict};
use weighbridge::domain::model::Model;
use weighbridge::domain::place::{Country, CountrySet};
use weighbridge::registry::Registry;
use weighbridge::store::MemoryStore;

/// A use of which everything is known that such licenses ask for.
fn use_() -> Use {
    let mut countries = CountrySet::default();
    countries.insert(Country::parse("US").unwrap());
    let mut out = Use { purpose: Some(Purpose::Commercial), hosting: Some(Hosting::SelfHosted), ..Use::default() };
    (out.deployment_countries, out.end_user_countries) = (Some(countries), Some(countries));
    out.organization.country = Country::parse("US");
    out.organization.kind = Some(OrganizationType::Company);
    out.organization.monthly_active_users = Some(1_000_000);
    out
}

#[tokio::test]
async fn a_decision_allocates_its_list_of_findings_and_a_verdict_nothing() {
    let registry = Registry::open(Arc::new(MemoryStore::new()), Arc::new(jiff::Timestamp::now)).await.unwrap();
    let snapshot = registry.snapshot();
    let (use_, now) = (use_(), Date::parse("2026-06-01").unwrap());
    let models = [
        "allenai/OLMo-2-1124-7B",
        "meta-llama/Llama-3.3-70B-Instruct",
        // Two sets of terms by lineage.
        "deepseek-ai/DeepSeek-R1-Distill-Llama-70B",
    ];
    for alias in models {
        let [name] = snapshot.aliases().exact(alias)[..] else { panic!("{alias} is not one model") };
        let model: &Model = &snapshot.model_entry(name).unwrap().record;
        let mut findings = 0;
        let decided = allocation_counter::measure(|| {
            findings = evaluate(&*snapshot, model, &use_, now, Waivers::default()).findings.len();
        });
        assert!(findings > 2, "{alias}");
        assert_eq!(decided.count_total, 1, "{alias}: {findings} findings");
        let judged = allocation_counter::measure(|| {
            std::hint::black_box(verdict(&*snapshot, model, &use_, now, Waivers::default()));
        });
        assert_eq!(judged.count_total, 0, "{alias}");
    }
}
