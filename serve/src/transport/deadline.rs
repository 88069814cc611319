//! Reads the header `grpc-timeout`, as the protocol of gRPC over HTTP/2 defines it.

use http::HeaderMap;
use std::time::Duration;

/// Returns the time that a client allows, or `None` if it names none.
///
/// # Errors
/// What was found instead of up to eight digits and a unit, cut after 32 characters.
pub fn grpc_timeout(headers: &HeaderMap) -> Result<Option<Duration>, String> {
    let Some(value) = headers.get("grpc-timeout") else {
        return Ok(None);
    };
    let found = || {
        String::from_utf8_lossy(value.as_bytes())
            .chars()
            .take(32)
            .collect::<String>()
    };
    let text = value.to_str().map_err(|_| found())?;
    let (Some(unit), digits) = (text.chars().last(), &text[..text.len().saturating_sub(1)]) else {
        return Err(found());
    };
    let are_digits = digits.bytes().all(|digit| digit.is_ascii_digit());
    if digits.is_empty() || digits.len() > 8 || !are_digits {
        return Err(found());
    }
    let number: u64 = digits.parse().map_err(|_| found())?;
    Ok(Some(match unit {
        'H' => Duration::from_secs(3600 * number),
        'M' => Duration::from_secs(60 * number),
        'S' => Duration::from_secs(number),
        'm' => Duration::from_millis(number),
        'u' => Duration::from_micros(number),
        'n' => Duration::from_nanos(number),
        _ => return Err(found()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_read_as_the_protocol_says() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().unwrap());
            grpc_timeout(&headers)
        };
        assert_eq!(grpc_timeout(&HeaderMap::new()), Ok(None));
        assert_eq!(read("50m"), Ok(Some(Duration::from_millis(50))));
        assert_eq!(read("0n"), Ok(Some(Duration::ZERO)));
        assert_eq!(read("1u"), Ok(Some(Duration::from_micros(1))));
        assert_eq!(
            read("99999999H"),
            Ok(Some(Duration::from_secs(3600 * 99_999_999)))
        );
        for bad in [
            "",
            "m",
            "50",
            "5 m",
            "-5m",
            "+5m",
            "123456789m",
            "5.0S",
            "5s",
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
