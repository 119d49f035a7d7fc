//! Student's t: how far a 95 % confidence interval reaches, in standard errors.

/// The 97.5 % quantile for 1 to 30 degrees of freedom, as in every textbook. A crate for this alone would be larger
/// than all the rest of the estimates.
const TABLE: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/// The same quantile of the normal distribution.
pub const NORMAL: f64 = 1.959_963_985;

/// The 97.5 % quantile. Without any freedom nothing is known: infinite.
pub fn quantile(freedom: usize) -> f64 {
    match freedom {
        0 => f64::INFINITY,
        1..=30 => TABLE[freedom - 1],
        // Cornish and Fisher's expansion, exact to four digits from here on (Abramowitz and Stegun 26.7.5).
        _ => {
            let (z, n) = (NORMAL, freedom as f64);
            z + (z.powi(3) + z) / (4.0 * n) + (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * n * n)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_goes_over_into_the_expansion() {
        let known = [(1, 12.706), (30, 2.042), (40, 2.021), (49, 2.010), (60, 2.000), (120, 1.980)];
        for (freedom, t) in known {
            assert!((quantile(freedom) - t).abs() < 0.0006, "{freedom}");
        }
        assert!((1..200).all(|n| quantile(n) > quantile(n + 1)));
    }
}
