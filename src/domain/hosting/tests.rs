//! Laws of the arithmetic, over generated models, machines and prices; and single figures by hand.

use proptest::prelude::*;

use super::*;

fn assumptions() -> Assumptions {
    let value = |assumption: Assumption| match assumption {
        Assumption::UsableMemoryFraction => 0.9,
        Assumption::FrameworkGb => 1.5,
        Assumption::PrefillChunkTokens => 8_192.0,
        Assumption::ActivationsPerHidden => 16.0,
        Assumption::ActivationFraction => 0.05,
        Assumption::Int4OverheadFraction => 0.125,
        Assumption::FallbackKeyValues => 65_536.0,
        Assumption::BandwidthEfficiencyLow => 0.4,
        Assumption::BandwidthEfficiencyHigh => 0.8,
        Assumption::ComputeEfficiencyLow => 0.25,
        Assumption::ComputeEfficiencyHigh => 0.65,
        Assumption::LinkLatencyUs => 10.0,
        Assumption::OperationsUsdPerDay => 0.0,
    };
    let row = |assumption: &Assumption| Assumed {
        assumption: *assumption,
        value: value(*assumption),
        least: 0.0,
        most: 1e9,
        unit: "".into(),
        text: "".into(),
        source: "".into(),
    };
    let rows: Vec<Assumed> = Assumption::ALL.iter().map(row).collect();
    Assumptions::of(&rows).unwrap()
}

fn accelerator() -> Accelerator {
    Accelerator {
        id: "h100".into(),
        display_name: "".into(),
        vendor: "".into(),
        label_gb: 80.0,
        memory_bytes: 80e9,
        bandwidth: 3.35e12,
        bf16_flops: 989e12,
        fp8_flops: Some(1979e12),
        per_machine: 8,
        interconnect: "".into(),
        link: 450e9,
        url: "".into(),
        prices: None,
    }
}

/// Llama 3.3 70B.
fn llama() -> Shape {
    Shape {
        parameters: 70_553_706_496.0,
        active: 70_553_706_496.0,
        architecture: Some(Architecture {
            layers: 80,
            attention_heads: Some(64),
            key_value_heads: 8,
            head_dimension: 128,
            hidden_size: Some(8_192),
            ..Architecture::default()
        }),
    }
}

const WORKLOAD: Workload = Workload {
    context_tokens: 8_192,
    concurrent_requests: 8,
    precision: Precision::Bf16,
    key_value_precision: Precision::Bf16,
};

fn architectures() -> impl Strategy<Value = Option<Architecture>> {
    let full = (1u32..128, 0u32..40, 1u32..64, 1u32..20, prop::option::of(64u32..9_000), prop::option::of(64u32..800));
    let built = full.prop_flat_map(|(layers, windowed, heads, size, hidden_size, latent_dimension)| {
        let window = prop::option::of((1..=layers.min(windowed.max(1)), 1u32..40_000));
        window.prop_map(move |window| Architecture {
            layers,
            attention_heads: None,
            key_value_heads: heads,
            head_dimension: size * 16,
            value_head_dimension: None,
            hidden_size,
            latent_dimension,
            window: window.map(|(layers, tokens)| Window {
                layers,
                tokens,
                key_value_heads: None,
                head_dimension: None,
            }),
            recurrent: None,
            experts: None,
        })
    });
    prop::option::of(built)
}

fn shapes() -> impl Strategy<Value = Shape> {
    (1e7..2e12f64, 0.01..1.0f64, architectures()).prop_map(|(parameters, share, architecture)| Shape {
        parameters,
        active: parameters * share,
        architecture,
    })
}

fn workloads() -> impl Strategy<Value = Workload> {
    let precision = prop::sample::select(Precision::ALL.to_vec());
    (1u32..2_000_000, 1u32..2_000, precision.clone(), precision).prop_map(
        |(context_tokens, concurrent_requests, precision, key_value_precision)| Workload {
            context_tokens,
            concurrent_requests,
            precision,
            key_value_precision,
        },
    )
}

fn machines() -> impl Strategy<Value = Machine> {
    (0.01..200.0f64, 0.0..5_000.0f64, 1e4..1e11f64, 0.01..=1.0f64).prop_map(
        |(usd_per_hour, operations_per_day, tokens_per_day, utilization)| Machine {
            usd_per_hour,
            operations_per_day,
            tokens_per_day,
            utilization,
        },
    )
}

/// The first number of tokens a day at which hosting costs no more; infinite: never.
fn first(at: BreakEven) -> f64 {
    match at {
        BreakEven::At { tokens_per_day, .. } => tokens_per_day,
        BreakEven::Never => f64::INFINITY,
    }
}

proptest! {
    #[test]
    fn memory_grows_with_what_is_asked(
        shape in shapes(), workload in workloads(), devices in 1u32..64,
        more in 1.0..4.0f64, tokens in 0u32..100_000, requests in 0u32..100,
    ) {
        let known = assumptions();
        let total = |shape: &Shape, workload: &Workload| memory(shape, workload, &known, devices).total();
        let had = total(&shape, &workload);
        let larger = Shape { parameters: shape.parameters * more, ..shape };
        prop_assert!(total(&larger, &workload) >= had);
        let longer = Workload { context_tokens: workload.context_tokens + tokens, ..workload };
        prop_assert!(total(&shape, &longer) >= had);
        let busier = Workload { concurrent_requests: workload.concurrent_requests + requests, ..workload };
        prop_assert!(total(&shape, &busier) >= had);
        // From the widest precision to the narrowest.
        for pair in Precision::ALL.windows(2) {
            let [wide, narrow] = pair else { continue };
            let of = |precision: Precision| total(&shape, &Workload { precision, ..workload });
            prop_assert!(of(*narrow) <= of(*wide));
            let of = |key_value_precision: Precision| total(&shape, &Workload { key_value_precision, ..workload });
            prop_assert!(of(*narrow) <= of(*wide));
        }
        // One more device never leaves more to each.
        prop_assert!(memory(&shape, &workload, &known, devices + 1).total() <= had * (1.0 + 1e-12));
        prop_assert!(had.is_finite() && had > 0.0);
    }

    #[test]
    fn as_many_requests_are_held_as_fit(shape in shapes(), workload in workloads(), devices in 1u32..9) {
        let (known, kind) = (assumptions(), accelerator());
        let most = requests_held(&shape, &workload, &known, &kind, devices, 5_000);
        let holds = |concurrent_requests: u32| {
            fit(&shape, &Workload { concurrent_requests, ..workload }, &known, &kind, devices).holds()
        };
        prop_assert!(most == 0 || holds(most));
        prop_assert!(most == 5_000 || !holds(most + 1));
    }

    #[test]
    fn speed_is_a_range_and_grows_with_devices(shape in shapes(), workload in workloads(), devices in 1u32..16) {
        let (known, kind) = (assumptions().with(Assumption::LinkLatencyUs, 0.0), accelerator());
        // But for what they send to one another.
        let kind = Accelerator { link: f64::INFINITY, ..kind };
        let one = speed(&shape, &workload, &known, &kind, devices);
        let two = speed(&shape, &workload, &known, &kind, devices * 2);
        for (slow, fast) in [(one.decode, two.decode), (one.prefill, two.prefill)] {
            prop_assert!(slow.low > 0.0 && slow.low <= slow.high && slow.high.is_finite());
            prop_assert!(slow.low <= fast.low * (1.0 + 1e-9));
        }
        for ratio in [0.0, 1.0, 30.0] {
            let day = one.tokens_per_day(ratio);
            prop_assert!(day.low > 0.0 && day.low <= day.high && day.high.is_finite());
        }
    }

    #[test]
    fn what_is_read_lies_between_the_active_and_all(shape in shapes(), requests in 1.0..1_000.0f64) {
        let read = shape.parameters_read(requests);
        prop_assert!(read >= shape.active * (1.0 - 1e-9) && read <= shape.parameters * (1.0 + 1e-9));
        prop_assert!(shape.parameters_read(requests + 1.0) >= read * (1.0 - 1e-12));
    }

    #[test]
    fn cost_falls_with_utilization(machine in machines(), tokens in 1e3..1e12f64, more in 1.0..10.0f64) {
        let busier = Machine { utilization: (machine.utilization * more).min(1.0), ..machine };
        prop_assert!(busier.cost_per_million(tokens) <= machine.cost_per_million(tokens));
        prop_assert!(busier.least_per_million() <= machine.least_per_million());
        prop_assert!(first(busier.break_even(1.0)) <= first(machine.break_even(1.0)) * (1.0 + 1e-12));
    }

    #[test]
    fn a_cheaper_offering_never_lowers_the_break_even(machine in machines(), usd in 0.001..100.0f64, less in 0.01..1.0f64) {
        let (dear, cheap) = (first(machine.break_even(usd)), first(machine.break_even(usd * less)));
        prop_assert!(cheap >= dear * (1.0 - 1e-12));
    }

    #[test]
    fn a_break_even_is_where_the_costs_cross(machine in machines(), usd in 0.001..100.0f64) {
        let api = |tokens: f64| usd * tokens / 1e6;
        match machine.break_even(usd) {
            BreakEven::At { tokens_per_day, always_above } => {
                let there = tokens_per_day * (1.0 + 1e-9);
                prop_assert!(machine.cost_per_day(there) <= api(there) * (1.0 + 1e-6));
                prop_assert!(always_above >= tokens_per_day * (1.0 - 1e-12));
                // Nowhere before is hosting cheaper, and nowhere after the end is it dearer.
                for part in 1..50 {
                    let before = tokens_per_day * f64::from(part) / 50.0;
                    prop_assert!(machine.cost_per_day(before) >= api(before) * (1.0 - 1e-9));
                    let after = always_above * (1.0 + f64::from(part) / 7.0);
                    if after.is_finite() {
                        prop_assert!(machine.cost_per_day(after) <= api(after) * (1.0 + 1e-6), "{after}");
                    }
                }
                // Right before the end it still is dearer, or that is the beginning.
                if always_above.is_finite() && always_above > tokens_per_day * (1.0 + 1e-6) {
                    let before = always_above * (1.0 - 1e-7);
                    prop_assert!(machine.cost_per_day(before) >= api(before) * (1.0 - 1e-6));
                }
            }
            BreakEven::Never => {
                for power in 0..60 {
                    let tokens = 10f64.powf(f64::from(power) / 5.0);
                    prop_assert!(machine.cost_per_day(tokens) >= api(tokens) * (1.0 - 1e-9));
                }
            }
        }
    }

    #[test]
    fn the_first_of_several_machines_counts(
        several in prop::collection::vec(machines(), 1..5), usd in 0.001..100.0f64, less in 0.01..1.0f64,
    ) {
        let hosting = |tokens: f64| several.iter().map(|m| m.cost_per_day(tokens)).fold(f64::INFINITY, f64::min);
        let (dear, cheap) = (first_break_even(&several, usd).unwrap(), first_break_even(&several, usd * less).unwrap());
        let above = |at: BreakEven| match at {
            BreakEven::At { always_above, .. } => always_above,
            BreakEven::Never => f64::INFINITY,
        };
        prop_assert!(first(cheap.1) >= first(dear.1) * (1.0 - 1e-12));
        prop_assert!(above(cheap.1) >= above(dear.1) * (1.0 - 1e-12));
        if let BreakEven::At { tokens_per_day, always_above } = dear.1 {
            prop_assert_eq!(tokens_per_day, first(several[dear.0].break_even(usd)));
            prop_assert!(hosting(tokens_per_day * (1.0 + 1e-9)) <= usd * tokens_per_day / 1e6 * (1.0 + 1e-6));
            for part in 1..20 {
                let after = always_above * (1.0 + f64::from(part) / 3.0);
                prop_assert!(!after.is_finite() || hosting(after) <= usd * after / 1e6 * (1.0 + 1e-6));
                let before = tokens_per_day * f64::from(part) / 20.0;
                prop_assert!(hosting(before) >= usd * before / 1e6 * (1.0 - 1e-9));
            }
        }
        prop_assert!(first_break_even(&[], usd).is_none());
    }

    #[test]
    fn what_is_no_price_is_none(input in -1.0..=0.0f64, output in 0.001..10.0f64) {
        prop_assert_eq!(TokenPrice::of(Some(input), Some(output)), None);
        prop_assert_eq!(TokenPrice::of(Some(output), Some(input)), None);
        prop_assert_eq!(TokenPrice::of(None, Some(output)), None);
        prop_assert_eq!(TokenPrice::of(Some(f64::NAN), Some(output)), None);
    }
}

#[test]
fn a_70b_model_takes_140_gb_and_what_the_tokens_take() {
    let held = memory(&llama(), &WORKLOAD, &assumptions(), 1);
    assert!((held.weights - 141.107e9).abs() < 1e6, "{held:?}");
    // 80 layers x 2 x 8 heads x 128 x 2 bytes = 327,680 bytes a token.
    assert!((held.key_value_cache - 327_680.0 * 65_536.0).abs() < 1.0, "{held:?}");
    let int4 = memory(&llama(), &Workload { precision: Precision::Int4, ..WORKLOAD }, &assumptions(), 1);
    assert!((int4.weights - 35.277e9).abs() < 1e6 && int4.quantization > 0.0, "{int4:?}");
}

#[test]
fn heads_are_kept_twice_where_devices_outnumber_them_and_latents_everywhere() {
    let cache = |shape: &Shape, devices: u32| memory(shape, &WORKLOAD, &assumptions(), devices).key_value_cache;
    let one = cache(&llama(), 1);
    assert!((cache(&llama(), 8) - one / 8.0).abs() < 1.0);
    assert!((cache(&llama(), 16) - one / 8.0).abs() < 1.0, "a head is the least that a device keeps");
    let latent = Architecture { layers: 61, latent_dimension: Some(576), ..Architecture::default() };
    let latent = Shape { architecture: Some(latent), ..llama() };
    // 61 layers x 576 x 2 bytes = 70,272 bytes a token: DeepSeek-V3.
    assert!((cache(&latent, 1) - 70_272.0 * 65_536.0).abs() < 1.0);
    assert!((cache(&latent, 8) - cache(&latent, 1)).abs() < 1.0);
}

#[test]
fn heads_of_keys_and_values_are_shared_out_evenly_too() {
    let holds = |attention_heads: u32, key_value_heads: u32, devices: u32| {
        let architecture = Architecture {
            layers: 40,
            attention_heads: Some(attention_heads),
            key_value_heads,
            head_dimension: 128,
            hidden_size: Some(5_120),
            ..Architecture::default()
        };
        let shape = Shape { parameters: 14e9, active: 14e9, architecture: Some(architecture) };
        fit(&shape, &WORKLOAD, &assumptions(), &accelerator(), devices).holds()
    };
    // Phi-4: 40 heads that ask, 10 of keys and values.
    assert!(holds(40, 10, 2) && !holds(40, 10, 4) && !holds(40, 10, 8));
    // Fewer than devices are kept more than once.
    assert!(holds(32, 2, 4) && holds(32, 8, 8) && !holds(14, 2, 4));
}

#[test]
fn long_prompts_cost_attention_as_well() {
    let at = |context_tokens: u32| {
        let workload = Workload { context_tokens, concurrent_requests: 1, ..WORKLOAD };
        speed(&llama(), &workload, &assumptions(), &accelerator(), 1).prefill.high
    };
    // 80 layers x 64 heads x 128 x 4 operations x half of 131,072 tokens, beside 2 x 70.55 billion.
    let ratio = 1.0 + 80.0 * 64.0 * 128.0 * 4.0 * 65_536.0 / (2.0 * 70_553_706_496.0);
    assert!((at(2) / at(131_072) / ratio - 1.0).abs() < 1e-3, "{} {ratio}", at(2) / at(131_072));
}

#[test]
fn a_window_bounds_what_its_layers_keep() {
    let window = Window { layers: 18, tokens: 128, key_value_heads: None, head_dimension: None };
    // gpt-oss-120b.
    let shape = Architecture {
        layers: 36,
        key_value_heads: 8,
        head_dimension: 64,
        window: Some(window),
        ..Architecture::default()
    };
    let shape = Shape { architecture: Some(shape), ..llama() };
    let cache = |context_tokens: u32| {
        let workload = Workload { context_tokens, concurrent_requests: 1, ..WORKLOAD };
        memory(&shape, &workload, &assumptions(), 1).key_value_cache
    };
    let of_layer = 2.0 * 8.0 * 64.0 * 2.0;
    assert!((cache(100) - 36.0 * of_layer * 100.0).abs() < 1.0);
    assert!((cache(131_072) - of_layer * 18.0 * (131_072.0 + 128.0)).abs() < 1.0);
}

#[test]
fn experts_are_read_as_they_are_chosen() {
    let experts = Some(Experts { total: 8, per_token: 2 });
    let architecture =
        Architecture { layers: 32, key_value_heads: 8, head_dimension: 128, experts, ..Architecture::default() };
    // Mixtral 8x7B.
    let shape = Shape { parameters: 46.7e9, active: 12.9e9, architecture: Some(architecture) };
    assert!((shape.parameters_read(1.0) - 12.9e9).abs() < 1e6);
    assert!(shape.parameters_read(64.0) > 46.6e9);
}

#[test]
fn a_machine_that_costs_more_a_token_never_breaks_even() {
    let machine = Machine { usd_per_hour: 10.0, operations_per_day: 0.0, tokens_per_day: 100e6, utilization: 1.0 };
    // 240 US dollars for 100 million tokens: 2.40 a million.
    assert_eq!(machine.break_even(2.0), BreakEven::Never);
    let at = |usd: f64| match machine.break_even(usd) {
        BreakEven::At { tokens_per_day, always_above } => (tokens_per_day.round(), always_above.round()),
        BreakEven::Never => panic!("it does"),
    };
    // A second machine begins at 100 million tokens, and is worth it at once: 480 each way.
    assert_eq!(at(4.8), (50e6, 50e6));
    // Here the API asks 360 for as many, so that two machines are dearer until 133 million.
    assert_eq!(at(3.6), (66_666_667.0, 133_333_333.0));
}
