//! Numbers for people.

use std::time::Duration;

/// `12 ms`, `1.25 s`, `2 min 5 s`.
pub(crate) fn wait(time: Duration) -> String {
    let ms = time.as_millis();
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..100_000 => format!("{:.2} s", time.as_secs_f64()),
        _ => format!("{} min {} s", ms / 60_000, ms / 1000 % 60),
    }
}

/// `1,234,567`
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// One decimal below a hundred, none above.
pub(crate) fn rough(x: f64) -> String {
    if x < 99.95 { format!("{x:.1}") } else { grouped(x.round() as u64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(wait(Duration::from_millis(7)), "7 ms");
        assert_eq!(wait(Duration::from_millis(1_250)), "1.25 s");
        assert_eq!(wait(Duration::from_secs(125)), "2 min 5 s");
        assert_eq!((grouped(7), grouped(1_234_567)), ("7".to_owned(), "1,234,567".to_owned()));
        assert_eq!((rough(7.06), rough(12_345.6)), ("7.1".to_owned(), "12,346".to_owned()));
    }
}
