//! The curve of `advise costs`, as a picture.

use plotters::backend::SVGBackend;
use plotters::chart::{ChartBuilder, SeriesLabelPosition};
use plotters::coord::combinators::IntoLogRange as _;
use plotters::drawing::IntoDrawingArea as _;
use plotters::element::{PathElement, Polygon};
use plotters::series::LineSeries;
use plotters::style::{Color as _, RGBColor, WHITE};

use super::Failure;
use super::advise::{offering_id, short};
use crate::pb::weighbridge::v1 as pb;

/// Size of the picture.
const SIZE: (u32, u32) = (1_100, 700);
/// Offerings that are drawn: the cheapest, the dearest, and those in between at even steps.
const OFFERINGS_MAX: usize = 6;
const HOSTING: RGBColor = RGBColor(31, 78, 140);
const OFFERINGS: [RGBColor; OFFERINGS_MAX] = [
    RGBColor(0, 128, 96),
    RGBColor(110, 160, 20),
    RGBColor(190, 140, 0),
    RGBColor(220, 95, 0),
    RGBColor(190, 30, 45),
    RGBColor(120, 40, 120),
];

/// Draws costs for a million tokens by tokens a day: hosting as a band, offerings as lines.
pub(super) fn costs(found: &pb::CompareCostsResponse) -> Result<String, Failure> {
    let points: Vec<(f64, pb::PriceRange)> = found
        .points
        .iter()
        .filter_map(|point| Some((point.tokens_per_day, point.hosting_usd_per_million_tokens?)))
        .collect();
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return Err(Failure::new("nothing can be drawn: what hosting costs is not known"));
    };
    let mut picture = String::new();
    draw(&mut picture, found, &points, first.0..last.0)
        .map_err(|error| Failure::new(format!("the curve could not be drawn: {error}")))?;
    Ok(picture)
}

fn draw(
    picture: &mut String,
    found: &pb::CompareCostsResponse,
    points: &[(f64, pb::PriceRange)],
    tokens: std::ops::Range<f64>,
) -> Result<(), Box<dyn std::error::Error>> {
    let shown = shown(&found.offerings);
    let prices = shown.iter().map(|offering| offering.usd_per_million_tokens);
    let all = points.iter().flat_map(|(_, usd)| [usd.low, usd.high]).chain(prices);
    let least = all.clone().fold(f64::INFINITY, f64::min) / 2.0;
    let most = all.fold(0.0, f64::max) * 2.0;
    let area = SVGBackend::with_string(picture, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let title = format!("{}: US dollars for a million tokens", found.model.replacen("publishers/", "", 1));
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(72)
        .build_cartesian_2d(tokens.clone().log_scale(), (least..most).log_scale())?;
    chart
        .configure_mesh()
        .x_desc(format!("tokens a day, {} of prompts for each of an answer", found.input_output_ratio))
        .y_desc("US dollars for a million tokens")
        .x_label_formatter(&|tokens| short(*tokens))
        .y_label_formatter(&|usd| format!("{usd}"))
        .light_line_style(RGBColor(240, 240, 240))
        .bold_line_style(RGBColor(215, 215, 215))
        .label_style(("sans-serif", 14))
        .draw()?;
    let upper = points.iter().map(|(tokens, usd)| (*tokens, usd.high));
    let lower = points.iter().rev().map(|(tokens, usd)| (*tokens, usd.low));
    let band: Vec<(f64, f64)> = upper.chain(lower).collect();
    chart.draw_series([Polygon::new(band, HOSTING.mix(0.12))])?;
    let usual = points.iter().map(|(tokens, usd)| (*tokens, usd.typical));
    let label =
        format!("hosted in the cheapest way, {:.0} % busy (band: best to worst case)", found.utilization * 100.0);
    chart
        .draw_series(LineSeries::new(usual, HOSTING.stroke_width(3)))?
        .label(label)
        .legend(|(x, y)| PathElement::new([(x, y), (x + 24, y)], HOSTING.stroke_width(3)));
    for (offering, color) in shown.iter().zip(OFFERINGS) {
        let usd = offering.usd_per_million_tokens;
        let name = offering_id(&offering.offering);
        let line = [(tokens.start, usd), (tokens.end, usd)];
        chart
            .draw_series(LineSeries::new(line, color.stroke_width(2)))?
            .label(format!("{usd:.3}  {name}"))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.9))
        .border_style(RGBColor(200, 200, 200))
        .label_font(("sans-serif", 14))
        .draw()?;
    area.present()?;
    Ok(())
}

/// The cheapest, the dearest, and some in between, one of each price; they come cheapest first.
fn shown(offerings: &[pb::OfferingCost]) -> Vec<&pb::OfferingCost> {
    let mut distinct: Vec<&pb::OfferingCost> = offerings.iter().collect();
    distinct.dedup_by(|a, b| a.usd_per_million_tokens.total_cmp(&b.usd_per_million_tokens).is_eq());
    let count = distinct.len();
    if count <= OFFERINGS_MAX {
        return distinct;
    }
    let steps = (0..OFFERINGS_MAX).map(|i| i * (count - 1) / (OFFERINGS_MAX - 1));
    steps.filter_map(|i| distinct.get(i).copied()).collect()
}
