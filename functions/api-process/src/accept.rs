//! What a caller would rather have (RFC 9110, `Accept`).

use http::{HeaderMap, header};

/// How much each of these media types is wanted, in thousandths: the range that names it most closely decides.
pub(crate) fn qualities<const N: usize>(headers: &HeaderMap, media_types: [&str; N]) -> [u16; N] {
    let accept: Vec<&str> =
        headers.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok()).collect();
    media_types.map(|media_type| quality(&accept, media_type))
}

fn quality(accept: &[&str], media_type: &str) -> u16 {
    let kind = media_type.split('/').next().unwrap_or_default();
    let mut closest = (0, 0);
    for range in accept.iter().flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let closeness = match name.as_str() {
            name if name == media_type => 3,
            name if name.strip_suffix("/*") == Some(kind) => 2,
            "*/*" => 1,
            _ => continue,
        };
        let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        let weight = weight.map_or(1.0, |weight| weight.parse::<f32>().unwrap_or(0.0)).clamp(0.0, 1.0);
        closest = closest.max((closeness, (weight * 1000.0) as u16));
    }
    closest.1
}
