//! What stands before every route: who is calling, and whether he may; what is wanted, and whether
//! there is that.
//!
//! # Invariants
//! - A session may only read. Whatever writes needs a token.
//! - A token or an identity that was revoked is refused at most two seconds later, wherever it was
//!   revoked.
//! - 401 says how to come back, 403 which scope is needed.

mod identity;
mod recent;

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap};
use axum::http::{Extensions, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use super::App;
use super::problem::Problem;
use super::route::{About, Access};
use crate::auth::{Scope, TokenText, digest};
use crate::store::{JoinRefusal, JoinToken, Token};
pub use identity::{Fingerprint, Shown, address, tell};
use identity::{by_certificate, fingerprint, identified};
pub use recent::Recent;

/// How to come back with a token.
const CHALLENGE: &str = "Bearer realm=\"cupel-inventory\"";

/// How to come back with another token.
pub const REFUSED: &str = "Bearer realm=\"cupel-inventory\", error=\"invalid_token\"";

/// Name of the session's cookie.
pub const COOKIE: &str = "cupel_session";

/// Who is calling.
#[derive(Clone, Debug)]
pub enum Caller {
    /// Whoever has this token.
    Token(Token),
    /// A person who signed in with this token.
    Session(Token),
    /// A node, by its certificate.
    Node(Box<Shown>),
}

impl Caller {
    /// What he may do at most.
    fn scope(&self) -> Scope {
        match self {
            Self::Token(token) | Self::Session(token) => token.scope,
            Self::Node(_) => Scope::Report,
        }
    }

    /// By which name he is known.
    pub fn name(&self) -> &str {
        match self {
            Self::Token(token) | Self::Session(token) => &token.name,
            Self::Node(shown) => &shown.identity.node,
        }
    }
}

/// Why nobody is known to be calling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unknown {
    /// Nothing was shown.
    Nothing,
    /// What was shown is good for nothing.
    Refused,
}

/// The value of a cookie.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

/// The token that was sent as such, if it is good.
pub async fn known_token(app: &App, text: &str) -> Result<Option<Token>, Problem> {
    let Some(shown) = TokenText::parse(text.trim()) else {
        return Ok(None);
    };
    if let Some(token) = app.0.tokens.recall(shown.id()) {
        return Ok(shown.matches(&token.hash).then_some(token));
    }
    let Some(token) = app.store().token(shown.id()).await? else {
        return Ok(None);
    };
    if token.revoked_at.is_some() || !shown.matches(&token.hash) {
        return Ok(None);
    }
    app.0.tokens.keep(token.id.clone(), &token);
    used(app, &token);
    Ok(Some(token))
}

/// Notes the use of a token, at most once an hour, and nobody waits for it.
fn used(app: &App, token: &Token) {
    let hour_ago = app.clock().microseconds() - 3600 * crate::clock::SECOND;
    let lately = token
        .last_used_at
        .is_some_and(|at| at.microseconds() > hour_ago);
    if !lately {
        let (store, key) = (app.store().clone(), token.key);
        tokio::spawn(async move {
            let _ = store.token_used(key).await;
        });
    }
}

async fn caller(
    app: &App,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> Result<Result<Caller, Unknown>, Problem> {
    if headers.contains_key(header::AUTHORIZATION) {
        let token = match bearer(headers) {
            Some(text) => known_token(app, text).await?,
            None => None,
        };
        return Ok(token.map(Caller::Token).ok_or(Unknown::Refused));
    }
    if let Some(fingerprint) = fingerprint(extensions) {
        let shown = by_certificate(app, fingerprint, extensions).await?;
        return Ok(Ok(Caller::Node(Box::new(shown))));
    }
    let Some(secret) = cookie(headers, COOKIE) else {
        return Ok(Err(Unknown::Nothing));
    };
    let token = app.store().session(&digest(secret)).await?;
    Ok(token.map(Caller::Session).ok_or(Unknown::Refused))
}

/// What was sent as `Authorization: Bearer …`; `None`: nothing was sent, or something else.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The join token that was sent. What it lets join is looked at when it is used.
async fn joining(app: &App, headers: &HeaderMap) -> Result<JoinToken, Problem> {
    if !headers.contains_key(header::AUTHORIZATION) {
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "Unauthorized",
            "a join token is needed: send `Authorization: Bearer cupel_join_…`, from a file that \
             `cupel-inventory join create` wrote",
        )
        .with(header::WWW_AUTHENTICATE, CHALLENGE));
    }
    let unknown = || super::enrolments::refused(&JoinRefusal::Unknown);
    let shown = bearer(headers).and_then(TokenText::parse_joining);
    let shown = shown.ok_or_else(unknown)?;
    let token = app.store().join(shown.id()).await?;
    token
        .filter(|token| shown.matches(&token.hash))
        .ok_or_else(unknown)
}

fn unauthorized(why: Unknown) -> Problem {
    let (detail, challenge) = match why {
        Unknown::Nothing => (
            "a token is needed: send `Authorization: Bearer …`, or sign in at /login",
            CHALLENGE,
        ),
        Unknown::Refused => (
            "the token or session is not known, was revoked, or has ended",
            REFUSED,
        ),
    };
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        "Unauthorized",
        detail,
    )
    .with(header::WWW_AUTHENTICATE, challenge)
}

/// 403: another scope is needed.
pub fn forbidden(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "forbidden", "Forbidden", detail)
}

fn may(caller: &Caller, about: &About) -> Result<(), Problem> {
    let needed = match about.access {
        Access::Open | Access::Join | Access::Identity => return Ok(()),
        Access::Needs(scope) => scope,
        Access::Page => Scope::Read,
    };
    let has = caller.scope();
    // A session reads, whatever its token may do besides.
    let (allowed, how) = match caller {
        Caller::Token(_) => (has.allows(needed), format!("this token has scope {has}")),
        Caller::Node(_) => (
            has.allows(needed),
            format!("a node's certificate has scope {has}"),
        ),
        Caller::Session(_) => (
            needed == Scope::Read && has.allows(Scope::Read),
            "a session may only read; use a token".to_owned(),
        ),
    };
    if allowed {
        return Ok(());
    }
    Err(forbidden(format!("scope {needed} is needed; {how}")))
}

/// Whether one of the media types is acceptable by `Accept`.
pub fn acceptable(headers: &HeaderMap, offered: &[&str]) -> bool {
    let mut asked = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|range| !range.is_empty())
        .peekable();
    if asked.peek().is_none() || offered.is_empty() {
        return true;
    }
    asked.any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let refused = parts.any(|parameter| {
            let text = parameter.replace(' ', "").to_ascii_lowercase();
            matches!(text.as_str(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
        });
        !refused
            && offered.iter().any(|offer| {
                let (kind, _) = offer.split_once('/').unwrap_or((offer, ""));
                name == "*/*" || name == *offer || name == format!("{kind}/*")
            })
    })
}

/// Whether a person with a browser is asking.
pub fn wants_html(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}

async fn answer(app: &App, about: &About, mut request: Request, next: Next) -> Response {
    let headers = request.headers();
    let offered: Vec<&str> = about
        .gives
        .iter()
        .filter_map(|gives| gives.media.map(|(name, _)| name))
        .collect();
    let known = match about.access {
        Access::Open => Ok(()),
        Access::Join => match joining(app, headers).await {
            Ok(token) => {
                request.extensions_mut().insert(token);
                Ok(())
            }
            Err(problem) => Err(problem),
        },
        Access::Identity => match identified(app, request.extensions()).await {
            Ok(shown) => {
                request.extensions_mut().insert(shown);
                Ok(())
            }
            Err(problem) => Err(problem),
        },
        Access::Needs(_) | Access::Page => {
            let checked = match caller(app, headers, request.extensions()).await {
                Ok(Ok(caller)) => may(&caller, about).map(|()| caller),
                Ok(Err(why)) => Err(unauthorized(why)),
                Err(problem) => Err(problem),
            };
            checked.map(|caller| {
                request.extensions_mut().insert(caller);
            })
        }
    };
    if let Err(problem) = known {
        return refuse(app, about, &request, problem);
    }
    if !acceptable(request.headers(), &offered) {
        let problem = Problem::new(
            StatusCode::NOT_ACCEPTABLE,
            "not-acceptable",
            "Not acceptable",
            format!("this gives {}", offered.join(", ")),
        );
        return refuse(app, about, &request, problem);
    }
    if about.stream {
        return next.run(request).await;
    }
    match tokio::time::timeout(app.limits().answer_deadline, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::busy("the answer took too long; try again").into_response(),
    }
}

/// A refusal: of a page for a person as a page, or as the way to sign in.
fn refuse(app: &App, about: &About, request: &Request, problem: Problem) -> Response {
    let headers = request.headers();
    if about.access != Access::Page || !wants_html(headers) {
        return problem.into_response();
    }
    let refresh = headers.contains_key("x-cupel-refresh");
    if problem.status() == StatusCode::UNAUTHORIZED && request.method() == Method::GET && !refresh {
        let next = request
            .uri()
            .path_and_query()
            .map_or("/", axum::http::uri::PathAndQuery::as_str);
        return Redirect::to(&super::login::way(next)).into_response();
    }
    super::pages::problem(app, &problem)
}

/// Before and after every route.
pub async fn guard(
    State((app, about)): State<(App, Arc<About>)>,
    request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let response = answer(&app, &about, request, next).await;
    app.metrics()
        .answered(about.operation, response.status(), began.elapsed());
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn accept(value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(value));
        headers
    }

    #[test]
    fn what_is_acceptable() {
        let json = ["application/json"];
        assert!(acceptable(&HeaderMap::new(), &json));
        for fine in [
            "*/*",
            "application/*",
            "application/json",
            "text/html, application/json;q=0.5",
        ] {
            assert!(acceptable(&accept(fine), &json), "{fine}");
        }
        for bad in ["text/html", "application/json;q=0", "application/xml"] {
            assert!(!acceptable(&accept(bad), &json), "{bad}");
        }
    }

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append(
            header::COOKIE,
            HeaderValue::from_static("other=1; cupel_session=abc; x=y"),
        );
        assert_eq!(cookie(&headers, COOKIE), Some("abc"));
        assert_eq!(cookie(&headers, "session"), None);
    }
}
