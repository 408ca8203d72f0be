//! Signing in with a token.

use maud::html;

use super::shell::{Live, Page};
use super::view::{Login, LoginError};

fn reason(error: LoginError) -> &'static str {
    match error {
        LoginError::Empty => "Give a token.",
        LoginError::Refused => "This token is not known, or it was revoked.",
        LoginError::Scope => "This token may not read. A token with the scope read is needed.",
        LoginError::TooMany => "Too many attempts. Wait a minute and try again.",
        LoginError::Expired => {
            "This link was used before or is too old, or your session has ended. Sign in with a token."
        }
    }
}

/// A path of this server, else the fleet: never a way to another one.
fn own_path(next: Option<&str>) -> &str {
    let own = |path: &&str| {
        path.starts_with('/')
            && !path.starts_with("//")
            && !path.contains(|c: char| c == '\\' || c.is_control())
    };
    next.filter(own).unwrap_or("/")
}

/// The page.
pub fn login(login: &Login) -> String {
    let error = login.error.map(reason);
    let main = html! {
        form.login action="/login" method="post" {
            h1 { "Sign in" }
            @if let Some(error) = error { p.error role="alert" #login-error { b { "✕" } " " (error) } }
            // For what keeps passwords: there is one account. It has no name and is not sent.
            input type="text" autocomplete="username" value="token" hidden;
            label for="token" { "Token" }
            input #token name="token" type="password" autocomplete="current-password" required
                autofocus spellcheck="false" maxlength="512"
                aria-invalid=[error.map(|_| "true")] aria-describedby=[error.map(|_| "login-error")];
            input type="hidden" name="next" value=(own_path(login.next.as_deref()));
            button type="submit" { "Sign in" }
            p.soft {
                "A token with the scope " code { "read" } " is made on the server: "
                code { "cupel-inventory token create NAME --scope read" }
            }
        }
    };
    Page {
        context: &login.context,
        title: "Sign in".to_owned(),
        live: Live::Never,
        q: None,
        main,
    }
    .render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_in_leads_to_this_server_only() {
        assert_eq!(own_path(Some("/nodes/1?x=2")), "/nodes/1?x=2");
        for bad in ["//evil", "https:evil", "/\\evil", "/a\nb", "x", ""] {
            assert_eq!(own_path(Some(bad)), "/", "{bad:?}");
        }
        assert_eq!(own_path(None), "/");
    }
}
