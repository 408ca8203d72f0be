//! A route: how it is called, who may, what it takes and gives.
//!
//! # Invariants
//! - The router and the API's description are made from the same values.

use axum::handler::Handler;
use axum::http::{Method, StatusCode};
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::App;
use super::parameters::Parameters;
use crate::auth::Scope;

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Open,
    /// Whoever has a token of this scope; for GET a session will do.
    Needs(Scope),
    /// A machine with a join token; no other token will do.
    Join,
    /// A node with its certificate; no token will do.
    Identity,
    /// A person with a session, or a token that may read; without one the way leads to `/login`.
    Page,
}

/// A way to a schema.
pub type MakeSchema = fn(&mut SchemaGenerator) -> Schema;

fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// What a route takes in its body.
#[derive(Clone, Debug)]
pub struct Takes {
    /// Media types, each with a schema; none for what is not JSON.
    pub media: Vec<(&'static str, Option<MakeSchema>)>,
}

/// What a route gives.
#[derive(Clone, Debug)]
pub struct Gives {
    /// Status.
    pub status: StatusCode,
    /// In a few words.
    pub about: &'static str,
    /// Media type, with a schema for JSON; `None`: no content.
    pub media: Option<(&'static str, Option<MakeSchema>)>,
}

/// A request header that a route reads.
#[derive(Clone, Copy, Debug)]
pub struct Reads {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// What it looks like, as a pattern; anything without one.
    pub pattern: Option<&'static str>,
    /// Whether it must be there.
    pub required: bool,
}

/// What is known of a route beside its handler.
#[derive(Clone, Debug)]
pub struct About {
    /// Method.
    pub method: Method,
    /// Path, with `{name}` for what varies.
    pub path: &'static str,
    /// Unique name.
    pub operation: &'static str,
    /// In a line.
    pub summary: &'static str,
    /// More, where there is more to say.
    pub details: &'static str,
    /// Who may call it.
    pub access: Access,
    /// Query parameters: their schema as an object, and their names.
    pub query: Option<(MakeSchema, &'static [&'static str])>,
    /// Headers.
    pub headers: Vec<Reads>,
    /// Body.
    pub takes: Option<Takes>,
    /// Answers, problems left out.
    pub gives: Vec<Gives>,
    /// Statuses of problems of its own.
    pub problems: Vec<StatusCode>,
    /// Whether the answer is a stream that may last.
    pub stream: bool,
    /// Whether it is in the API's description.
    pub described: bool,
}

/// A route.
#[derive(Clone, Debug)]
pub struct Route {
    /// What is known of it.
    pub about: About,
    /// What answers.
    pub handler: MethodRouter<App>,
}

impl Route {
    fn new<H, T>(
        filter: MethodFilter,
        method: Method,
        path: &'static str,
        operation: &'static str,
        handler: H,
    ) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        Self {
            about: About {
                method,
                path,
                operation,
                summary: "",
                details: "",
                access: Access::Needs(Scope::Admin),
                query: None,
                headers: Vec::new(),
                takes: None,
                gives: Vec::new(),
                problems: Vec::new(),
                stream: false,
                described: true,
            },
            handler: on(filter, handler),
        }
    }

    /// A GET.
    pub fn get<H, T>(path: &'static str, operation: &'static str, handler: H) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        Self::new(MethodFilter::GET, Method::GET, path, operation, handler)
            .access(Access::Needs(Scope::Read))
    }

    /// A POST.
    pub fn post<H, T>(path: &'static str, operation: &'static str, handler: H) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        Self::new(MethodFilter::POST, Method::POST, path, operation, handler)
    }

    /// A PUT.
    pub fn put<H, T>(path: &'static str, operation: &'static str, handler: H) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        Self::new(MethodFilter::PUT, Method::PUT, path, operation, handler)
    }

    /// A PATCH.
    pub fn patch<H, T>(path: &'static str, operation: &'static str, handler: H) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        Self::new(MethodFilter::PATCH, Method::PATCH, path, operation, handler)
    }

    /// Who may call it.
    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        self.about.access = access;
        self
    }

    /// What it does, in a line, and more.
    #[must_use]
    pub fn tells(mut self, summary: &'static str, details: &'static str) -> Self {
        self.about.summary = summary;
        self.about.details = details;
        self
    }

    /// What it takes in its query.
    #[must_use]
    pub fn query<T: Parameters>(mut self) -> Self {
        self.about.query = Some((schema_of::<T>, T::NAMES));
        self
    }

    /// A header that it reads.
    #[must_use]
    pub fn header(mut self, name: &'static str, about: &'static str) -> Self {
        self.about.headers.push(Reads {
            name,
            about,
            pattern: None,
            required: false,
        });
        self
    }

    /// `Content-Encoding`: how the body is compressed.
    #[must_use]
    pub fn content_encoding(mut self) -> Self {
        self.about.headers.push(Reads {
            name: "Content-Encoding",
            about: "How the body is compressed",
            pattern: Some("^(zstd|gzip|identity)$"),
            required: false,
        });
        self
    }

    /// `If-Match`: which state is to be changed.
    #[must_use]
    pub fn if_match(mut self, about: &'static str, required: bool) -> Self {
        self.about.headers.push(Reads {
            name: "If-Match",
            about,
            pattern: Some(super::answer::IF_MATCH),
            required,
        });
        self
    }

    /// JSON that it takes, under any of these media types.
    #[must_use]
    pub fn takes<T: JsonSchema>(mut self, media: &[&'static str]) -> Self {
        let takes = self
            .about
            .takes
            .get_or_insert_with(|| Takes { media: Vec::new() });
        for name in media {
            takes.media.push((name, Some(schema_of::<T>)));
        }
        self
    }

    /// Something else that it takes.
    #[must_use]
    pub fn takes_text(mut self, media: &'static str) -> Self {
        let takes = self
            .about
            .takes
            .get_or_insert_with(|| Takes { media: Vec::new() });
        takes.media.push((media, None));
        self
    }

    /// JSON that it gives with status 200.
    #[must_use]
    pub fn gives<T: JsonSchema>(mut self, about: &'static str) -> Self {
        self.about.gives.push(Gives {
            status: StatusCode::OK,
            about,
            media: Some(("application/json", Some(schema_of::<T>))),
        });
        self
    }

    /// JSON that it gives with status 201.
    #[must_use]
    pub fn makes<T: JsonSchema>(mut self, about: &'static str) -> Self {
        self.about.gives.push(Gives {
            status: StatusCode::CREATED,
            about,
            media: Some(("application/json", Some(schema_of::<T>))),
        });
        self
    }

    /// Something else that it gives with status 200.
    #[must_use]
    pub fn gives_text(mut self, media: &'static str, about: &'static str) -> Self {
        self.about.gives.push(Gives {
            status: StatusCode::OK,
            about,
            media: Some((media, None)),
        });
        self
    }

    /// It may answer 304.
    #[must_use]
    pub fn kept(mut self) -> Self {
        self.about.gives.push(Gives {
            status: StatusCode::NOT_MODIFIED,
            about: "the ETag of If-None-Match still holds",
            media: None,
        });
        self.header("If-None-Match", "ETag of an answer that is kept")
    }

    /// Problems that only it has.
    #[must_use]
    pub fn problems(mut self, statuses: &[u16]) -> Self {
        let statuses = statuses
            .iter()
            .filter_map(|status| StatusCode::from_u16(*status).ok());
        self.about.problems.extend(statuses);
        self
    }

    /// Its answer is a stream.
    #[must_use]
    pub fn stream(mut self) -> Self {
        self.about.stream = true;
        self
    }

    /// A page for people, not described as a part of the API.
    #[must_use]
    pub fn page(mut self) -> Self {
        self.about.access = Access::Page;
        self.about.described = false;
        self.gives_text("text/html", "a page")
    }

    /// Not described as a part of the API.
    #[must_use]
    pub fn undescribed(mut self) -> Self {
        self.about.described = false;
        self
    }
}
