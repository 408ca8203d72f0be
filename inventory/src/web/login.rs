//! Sessions for the pages: signing in with a token or a code that works once, signing out.
//!
//! # Invariants
//! - A session lasts twelve hours, its secret is a cookie that scripts cannot read and that no other
//!   site can send, and only its digest is stored.
//! - A code is used up by GET alone, not by a HEAD that something sends to look at the link.

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};

use super::App;
use super::body;
use super::guard::{COOKIE, cookie, forbidden, known_token};
use super::pages::{context, html};
use super::parameters::{Params, Word, pairs, parameters};
use super::problem::Problem;
use crate::auth::{Scope, digest, secret};
use crate::clock::SECOND;
use crate::pages::{self, view};
use crate::store::Token;

/// How long a session lasts, in seconds.
const SESSION: i64 = 12 * 3600;

/// The largest form.
const FORM: usize = 8 << 10;

parameters! {
    /// Query of `GET /login`.
    pub struct LoginQuery {
        /// A code that works once.
        code: Word,
        /// Where to go afterwards.
        next: Word,
    }
}

/// A path of this server, and of no other.
fn own_path(text: &str) -> Option<&str> {
    let mut characters = text.chars();
    let fine = characters.next() == Some('/')
        && !matches!(characters.next(), Some('/' | '\\'))
        && text.len() <= 2048
        && !text.chars().any(char::is_control)
        && !text.contains('\\')
        && text.parse::<Uri>().is_ok_and(|uri| uri.host().is_none());
    fine.then_some(text)
}

/// Where a page sends somebody who must sign in first.
pub fn way(next: &str) -> String {
    let mut way = String::from("/login");
    if next != "/" && next.len() <= 1024 {
        way.push_str("?next=");
        for byte in next.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
                way.push(char::from(byte));
            } else {
                way.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    way
}

fn page(
    app: &App,
    status: StatusCode,
    error: Option<view::LoginError>,
    next: Option<&str>,
) -> Response {
    let view = view::Login {
        context: context(app, None),
        error,
        next: next.and_then(own_path).map(str::to_owned),
    };
    html(status, pages::login(&view))
}

fn set_cookie(app: &App, value: &str, seconds: i64) -> HeaderValue {
    let secure = if app.0.secure { "; Secure" } else { "" };
    let text =
        format!("{COOKIE}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
    // Digits and letters only: always a header's value.
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}

async fn begin(app: &App, token: &Token, next: Option<&str>) -> Result<Response, Problem> {
    let secret = secret().map_err(|error| {
        tracing::error!("cannot begin a session: {error}");
        Problem::internal()
    })?;
    let expires_at = app.clock().microseconds() + SESSION * SECOND;
    app.store()
        .begin_session(token.key, &digest(&secret), expires_at)
        .await?;
    let mut response = Redirect::to(next.and_then(own_path).unwrap_or("/")).into_response();
    let cookie = set_cookie(app, &secret, SESSION);
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(no_store(response))
}

fn no_store(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// `GET /login`.
pub async fn get(
    State(app): State<App>,
    method: Method,
    Params(query): Params<LoginQuery>,
) -> Result<Response, Problem> {
    let next = query.next.as_ref().map(|Word(next)| next.as_str());
    let Some(Word(code)) = &query.code else {
        return Ok(page(&app, StatusCode::OK, None, next));
    };
    if method == Method::HEAD {
        return Ok(page(&app, StatusCode::OK, None, next));
    }
    match app.store().take_code(&digest(code)).await? {
        Some(token) if token.scope.allows(Scope::Read) => begin(&app, &token, next).await,
        Some(_) | None => Ok(page(
            &app,
            StatusCode::UNAUTHORIZED,
            Some(view::LoginError::Expired),
            next,
        )),
    }
}

/// Refuses what another site makes a browser send.
fn same_site(headers: &HeaderMap) -> Result<(), Problem> {
    let site = headers
        .get("sec-fetch-site")
        .and_then(|value| value.to_str().ok());
    match site {
        None | Some("same-origin" | "none") => Ok(()),
        Some(_) => Err(forbidden("this form was sent by another site")),
    }
}

/// `POST /login`.
pub async fn post(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, incoming) = request.into_parts();
    same_site(&parts.headers)?;
    if body::media_type(&parts.headers).as_deref() != Some("application/x-www-form-urlencoded") {
        return Err(Problem::unsupported(
            "the form is application/x-www-form-urlencoded",
        ));
    }
    let read = body::read(&app, &parts.headers, incoming, FORM).await?;
    let text = String::from_utf8_lossy(&read.bytes).into_owned();
    let uri: Uri = format!("/?{text}")
        .parse()
        .map_err(|_| Problem::bad_request("the form cannot be read"))?;
    let fields = pairs(&uri)?;
    let field = |name: &str| {
        let found = fields.iter().find(|(key, _)| key == name);
        found
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
    };
    let next = field("next");
    let refused = |status, error| Ok(page(&app, status, Some(error), next));
    let Some(text) = field("token") else {
        return refused(StatusCode::UNAUTHORIZED, view::LoginError::Empty);
    };
    match known_token(&app, text).await? {
        None => refused(StatusCode::UNAUTHORIZED, view::LoginError::Refused),
        Some(token) if !token.scope.allows(Scope::Read) => {
            refused(StatusCode::FORBIDDEN, view::LoginError::Scope)
        }
        Some(token) => begin(&app, &token, next).await,
    }
}

/// `POST /logout`.
pub async fn logout(State(app): State<App>, headers: HeaderMap) -> Result<Response, Problem> {
    same_site(&headers)?;
    if let Some(secret) = cookie(&headers, COOKIE) {
        app.store().end_session(&digest(secret)).await?;
    }
    let mut response = Redirect::to("/login").into_response();
    let cookie = set_cookie(&app, "", 0);
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(no_store(response))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_paths_are_gone_to() {
        for fine in ["/", "/nodes/a?b=c", "/racks/-/-/-/r%201"] {
            assert_eq!(own_path(fine), Some(fine), "{fine}");
        }
        for bad in [
            "",
            "nodes",
            "//elsewhere",
            "/\\elsewhere",
            "https://elsewhere/",
            "/a\\b",
            "/a\nb",
            "/a b",
        ] {
            assert_eq!(own_path(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_way_to_sign_in_keeps_where_one_was_going() {
        assert_eq!(way("/"), "/login");
        assert_eq!(way("/search?q=a b"), "/login?next=/search%3Fq%3Da%20b");
    }
}
