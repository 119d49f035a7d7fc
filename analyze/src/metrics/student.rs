//! Student's t: how far a 95 % confidence interval reaches, in standard errors; how likely a value above another is.

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

/// How likely a value above `t` is, between 0 and 1, to about 15 decimal places: the finite sums for whole degrees of
/// freedom (Abramowitz and Stegun 26.7.3 and 26.7.4). Without any freedom everything is as likely.
pub fn above(t: f64, freedom: usize) -> f64 {
    let angle = (t / (freedom as f64).sqrt()).atan();
    let (sine, squared) = (angle.sin(), angle.cos().powi(2));
    let is_odd = freedom % 2 == 1;
    // 1 + 1/2 x + 1/2 3/4 x^2 + ..., and of an odd freedom 1 + 2/3 x + 2/3 4/5 x^2 + ...
    let (mut term, mut sum) = (1.0, 0.0);
    for at in 1..=freedom / 2 {
        sum += term;
        let two = 2.0 * at as f64;
        term *= squared * if is_odd { two / (two + 1.0) } else { (two - 1.0) / two };
    }
    let within = match freedom {
        0 => 0.0,
        _ if is_odd => std::f64::consts::FRAC_2_PI * (angle + sine * angle.cos() * sum),
        _ => sine * sum,
    };
    ((1.0 - within) / 2.0).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_that_of_the_textbooks() {
        let known = [
            (3.078, 1, 0.1),
            (31.82, 1, 0.01),
            (6.965, 2, 0.01),
            (4.541, 3, 0.01),
            (4.032, 5, 0.005),
            (2.228, 10, 0.025),
            (4.144, 10, 0.001),
            (1.761, 14, 0.05),
            (3.385, 30, 0.001),
            (2.660, 60, 0.005),
            (1.658, 120, 0.05),
            (3.090, 1_000_000, 0.001),
        ];
        for (t, freedom, tail) in known {
            assert!((above(t, freedom) / tail - 1.0).abs() < 0.002, "{t} {freedom}: {}", above(t, freedom));
            assert!((above(t, freedom) + above(-t, freedom) - 1.0).abs() < 1e-12);
        }
        assert_eq!((above(0.0, 7), above(5.0, 0)), (0.5, 0.5));
        for freedom in 1..200 {
            assert!((above(quantile(freedom), freedom) - 0.025).abs() < 0.0001, "{freedom}");
        }
    }

    #[test]
    fn the_table_goes_over_into_the_expansion() {
        let known = [(1, 12.706), (30, 2.042), (40, 2.021), (49, 2.010), (60, 2.000), (120, 1.980)];
        for (freedom, t) in known {
            assert!((quantile(freedom) - t).abs() < 0.0006, "{freedom}");
        }
        assert!((1..200).all(|n| quantile(n) > quantile(n + 1)));
    }
}
