//! Content codings (RFC 9110 8.4, 12.5.3): gzip and zstd for those who ask.

use std::io::Write;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, header};

/// How a body is coded on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Coding {
    /// As it is.
    Identity,
    /// gzip
    Gzip,
    /// zstd
    Zstd,
}

/// Below this size coding saves nothing worth its time.
const WORTH_IT: usize = 1024;
/// Bodies from this size on are coded off the runtime's threads.
const LARGE: usize = 128 << 10;

impl Coding {
    /// Its name in `Content-Encoding`.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }

    /// The best coding that a client accepts for a body of this length.
    pub(crate) fn negotiate(headers: &HeaderMap, length: usize) -> Self {
        if length < WORTH_IT {
            return Self::Identity;
        }
        let accepted: Vec<(String, f32)> = headers
            .get_all(header::ACCEPT_ENCODING)
            .iter()
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .map(|item| {
                let (name, rest) = item.split_once(';').unwrap_or((item, ""));
                let quality = rest.trim().strip_prefix("q=").map_or(1.0, |q| q.trim().parse().unwrap_or(0.0));
                (name.trim().to_ascii_lowercase(), quality)
            })
            .collect();
        let quality = |name: &str| {
            let named = accepted.iter().find(|(accepted, _)| accepted == name);
            named
                .or_else(|| accepted.iter().find(|(accepted, _)| accepted == "*"))
                .map_or(0.0, |(_, quality)| *quality)
        };
        let (zstd, gzip) = (quality("zstd"), quality("gzip"));
        if zstd > 0.0 && zstd >= gzip {
            Self::Zstd
        } else if gzip > 0.0 {
            Self::Gzip
        } else {
            Self::Identity
        }
    }

    /// Codes a body; `None` if that fails.
    pub(crate) async fn encode(self, body: Bytes) -> Option<Bytes> {
        if body.len() < LARGE || self == Self::Identity {
            return self.code_now(&body);
        }
        tokio::task::spawn_blocking(move || self.code_now(&body)).await.ok().flatten()
    }

    fn code_now(self, body: &Bytes) -> Option<Bytes> {
        match self {
            Self::Identity => Some(body.clone()),
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
                encoder.write_all(body).ok()?;
                encoder.finish().ok().map(Bytes::from)
            }
            Self::Zstd => zstd::bulk::compress(body, 1).ok().map(Bytes::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn negotiated(accept: &'static str) -> Coding {
        let headers = [(header::ACCEPT_ENCODING, HeaderValue::from_static(accept))].into_iter().collect();
        Coding::negotiate(&headers, 5000)
    }

    #[test]
    fn the_best_of_what_is_accepted() {
        assert_eq!(negotiated("gzip, deflate"), Coding::Gzip);
        assert_eq!(negotiated("gzip, deflate, zstd"), Coding::Zstd);
        assert_eq!(negotiated("gzip;q=1.0, zstd;q=0.5"), Coding::Gzip);
        assert_eq!(negotiated("gzip;q=0, *"), Coding::Zstd);
        assert_eq!(negotiated("identity"), Coding::Identity);
        assert_eq!(negotiated("gzip;q=0"), Coding::Identity);
        assert_eq!(Coding::negotiate(&HeaderMap::new(), 5000), Coding::Identity);
    }
}
