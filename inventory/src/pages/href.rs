//! Addresses of the pages.
//!
//! # Invariants
//! - Every text in an address is percent-encoded: no serial, name or query can leave its segment.
//! - A part of a place that is not set is `-`.

use super::text::encoded;
use super::view::{FleetQuery, RackPlace, Show};

/// `/nodes/{id}`
pub fn node(id: &str) -> String {
    format!("/nodes/{}", encoded(id))
}

/// `/parts/{serial}`
pub fn part(serial: &str) -> String {
    format!("/parts/{}", encoded(serial))
}

/// `/racks/{region}/{site}/{row}/{rack}`
pub fn rack(place: &RackPlace) -> String {
    let segment = |part: &Option<String>| part.as_deref().map_or_else(|| "-".to_owned(), encoded);
    format!(
        "/racks/{}/{}/{}/{}",
        segment(&place.region),
        segment(&place.site),
        segment(&place.row),
        segment(&place.rack)
    )
}

/// `/v1/nodes/{id}/snapshot` and its like.
pub fn api(id: &str, what: &str) -> String {
    format!("/v1/nodes/{}{what}", encoded(id))
}

/// The word of a choice in a query.
pub fn show_word(show: Show) -> &'static str {
    match show {
        Show::All => "all",
        Show::Sick => "sick",
        Show::Unhealthy => "unhealthy",
        Show::Silent => "silent",
        Show::Missing => "missing",
        Show::Unknown => "unknown",
        Show::Degraded => "degraded",
        Show::Quiet => "quiet",
        Show::Healthy => "healthy",
        Show::Unexpected => "unexpected",
        Show::Mismatched => "mismatched",
    }
}

/// The fleet's page for a query.
pub fn fleet(query: &FleetQuery) -> String {
    let mut url = "/".to_owned();
    let mut add = |name: &str, value: Option<&str>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            let mark = if url.contains('?') { '&' } else { '?' };
            url.push(mark);
            url.push_str(name);
            url.push('=');
            url.push_str(&encoded(value));
        }
    };
    add(
        "show",
        (query.show != Show::All).then(|| show_word(query.show)),
    );
    add("region", query.region.as_deref());
    add("site", query.site.as_deref());
    add("row", query.row.as_deref());
    add("rack", query.rack.as_deref());
    add("platform", query.platform.as_deref());
    add("lifecycle", query.lifecycle.as_deref());
    add("code", query.code.as_deref());
    add("q", query.q.as_deref());
    add("after", query.after.as_deref());
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_queries_become_addresses() {
        let place = RackPlace {
            region: Some("eu north".to_owned()),
            site: None,
            row: Some("a/b".to_owned()),
            rack: Some("r07".to_owned()),
        };
        assert_eq!(rack(&place), "/racks/eu%20north/-/a%2Fb/r07");
        let query = FleetQuery {
            show: Show::Sick,
            region: Some(String::new()),
            q: Some("x&y".to_owned()),
            ..FleetQuery::default()
        };
        assert_eq!(fleet(&query), "/?show=sick&q=x%26y");
        assert_eq!(fleet(&FleetQuery::default()), "/");
    }

    #[test]
    fn a_choice_has_the_word_that_is_read_back() {
        for show in [Show::All, Show::Sick, Show::Quiet, Show::Mismatched] {
            let word = serde_json::to_value(show).expect("json");
            assert_eq!(word, show_word(show));
        }
    }
}
