//! The gRPC contract of Aisle (package `aisle.v1`) and the Rust code generated from it.
//!
//! The `.proto` files in `aisle/v1` of this crate document every message, field and call.

#[expect(clippy::all, reason = "generated code")]
mod generated {
    tonic::include_proto!("aisle.v1");
}

pub use generated::*;

/// The compiled contract as an encoded `FileDescriptorSet`: gRPC reflection serves it.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/aisle.v1.bin"));

impl Money {
    /// Converts a price per unit, with the ISO 4217 code of its currency if it is known. Prices of
    /// up to four decimals below 1,000 are exact.
    pub fn from_price(price: f32, currency: Option<&str>) -> Money {
        // Nearly all prices have four decimals at most, and below 1,000 only one such number is
        // nearest to a 32-bit price.
        let parts = (f64::from(price) * 1e4).round();
        let exact = match price.abs() < 1000.0 && (parts / 1e4) as f32 == price {
            true => parts / 1e4,
            // The shortest decimal text is what a shopper reads: 2.55, not 2.5499999.
            false => price
                .to_string()
                .parse()
                .unwrap_or_else(|_| f64::from(price)),
        };
        let units = exact.trunc();
        Money {
            currency_code: currency.unwrap_or_default().to_string(),
            units: units as i64,
            nanos: ((exact - units) * 1e9).round() as i32,
        }
    }

    /// Converts to a price in units of the currency.
    pub fn to_price(&self) -> f32 {
        (self.units as f64 + f64::from(self.nanos) / 1e9) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::Money;

    #[test]
    fn money_is_exact_to_the_cent() {
        for (price, units, nanos) in [
            (2.55, 2, 550_000_000),
            (0.1, 0, 100_000_000),
            (1234.5, 1234, 500_000_000),
            (-3.25, -3, -250_000_000),
        ] {
            let money = Money::from_price(price, Some("GBP"));
            assert_eq!((money.units, money.nanos), (units, nanos));
            assert_eq!(money.to_price(), price);
        }
    }

    #[test]
    fn money_is_what_the_shortest_decimal_text_says() {
        let prices = (0..4_000_000u32)
            .map(|at| f32::from_bits(at.wrapping_mul(0x9E37_79B9)))
            .filter(|price| price.abs() < 1e9);
        let cents = (0..200_000).map(|cents| cents as f32 / 100.0);
        for price in prices.step_by(7).chain(cents) {
            let exact: f64 = price.to_string().parse().unwrap();
            let expected = (exact.trunc() as i64, (exact.fract() * 1e9).round() as i32);
            let money = Money::from_price(price, None);
            assert_eq!((money.units, money.nanos), expected, "{price}");
        }
    }
}
