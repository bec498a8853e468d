//! Kinds of accelerators: what they hold, how fast they are, and what an hour of one costs.

use super::Precision;

type Text = Box<str>;

/// A kind of accelerator, as its maker describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Accelerator {
    /// Id, for example "h100-sxm-80gb".
    pub id: Text,
    /// Name for people.
    pub display_name: Text,
    /// Maker.
    pub vendor: Text,
    /// Memory in gigabytes, as on the label.
    pub label_gb: f64,
    /// Memory in bytes: what its driver reports, else as on the label in gigabytes of 10^9 bytes.
    pub memory_bytes: f64,
    /// Bytes read from memory a second, at most.
    pub bandwidth: f64,
    /// Operations a second at 16 bits, dense, at most.
    pub bf16_flops: f64,
    /// The same at 8 bits, where it has such units.
    pub fp8_flops: Option<f64>,
    /// How many stand in one machine, at most.
    pub per_machine: u32,
    /// How they are joined.
    pub interconnect: Text,
    /// Bytes a second that one sends to the others of its machine, at most, in one direction.
    pub link: f64,
    /// Where its figures can be read.
    pub url: Text,
    /// US dollars for an hour of one; `None`: not known, as for what nobody rents out.
    pub prices: Option<Prices>,
}

impl Accelerator {
    /// Operations a second on weights of a precision.
    #[must_use]
    pub fn flops(&self, precision: Precision) -> f64 {
        match precision {
            // Without the shorter numbers that some units take for them (TF32).
            Precision::Fp32 => self.bf16_flops / 8.0,
            // Weights of 4 bits are made wider before they are multiplied.
            Precision::Bf16 | Precision::Int4 => self.bf16_flops,
            Precision::Fp8 => self.fp8_flops.unwrap_or(self.bf16_flops),
        }
    }
}

/// US dollars for an hour of one accelerator, on demand.
#[derive(Clone, Debug, PartialEq)]
pub struct Prices {
    /// The least of those who rent it out.
    pub low: f64,
    /// The median.
    pub typical: f64,
    /// The greatest.
    pub high: f64,
    /// When they were read, `YYYY-MM-DD`.
    pub date: Text,
    /// Of whom, and where that can be read.
    pub source: Text,
}
