//! Who may do what: each route with each kind of caller.

mod support;

use cupel_inventory::auth::Scope;
use cupel_inventory::web::{Access, routes};
use cupel_model::Verdict;
use reqwest::Method;
use serde_json::json;
use support::{Inventory, Node};

/// How somebody calls.
#[derive(Clone, Debug)]
enum Caller {
    Nobody,
    Token(Scope, String),
    Session(String),
    Revoked(String),
}

async fn session(inventory: &Inventory) -> String {
    let response = inventory
        .request(Method::POST, "/login")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("token={}&next=%2Fsearch", inventory.admin))
        .send()
        .await
        .expect("answer");
    assert_eq!(response.status(), 303);
    assert_eq!(response.headers()["location"], "/search");
    let cookie = response.headers()["set-cookie"].to_str().expect("text");
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    cookie.split(';').next().expect("pair").to_owned()
}

#[tokio::test]
async fn each_route_lets_in_who_may_and_nobody_else() {
    let inventory = Inventory::start().await;
    let mut node = Node::number(&inventory.clock, 1);
    inventory.take(&node.full()).await;
    let gone = support::token(&inventory.store, "gone", Scope::Admin, None).await;
    assert!(inventory.store.revoke_token("gone").await.expect("revoked"));
    let callers = [
        Caller::Nobody,
        Caller::Token(Scope::Report, inventory.report.clone()),
        Caller::Token(Scope::Read, inventory.read.clone()),
        Caller::Token(Scope::Admin, inventory.admin.clone()),
        Caller::Session(session(&inventory).await),
        Caller::Revoked(gone),
        Caller::Revoked(inventory.admin.replace("cupel_", "cupel_0")),
        Caller::Revoked("nonsense".to_owned()),
    ];
    let mut asked = 0;
    for route in routes() {
        let about = &route.about;
        let path = about
            .path
            .replace("{id}", &node.id())
            .replace("{serial}", "16501230000001")
            .replace("{region}/{site}/{row}/{rack}", "-/-/-/-");
        for caller in &callers {
            if about.path == "/logout" && matches!(caller, Caller::Session(_)) {
                continue;
            }
            let mut request = inventory.request(about.method.clone(), &path);
            request = match caller {
                Caller::Nobody => request,
                Caller::Token(_, token) | Caller::Revoked(token) => request.bearer_auth(token),
                Caller::Session(cookie) => request.header("cookie", cookie),
            };
            let response = request.send().await.expect("answer");
            let status = response.status().as_u16();
            let need = match about.access {
                Access::Open | Access::Join | Access::Identity => None,
                Access::Needs(scope) => Some(scope),
                Access::Page => Some(Scope::Read),
            };
            let want = match (need, caller) {
                // None of these is a join token.
                (None, _) if about.access == Access::Join => Some(401),
                // And none shows a certificate.
                (None, _) if about.access == Access::Identity => Some(403),
                (None, _) => None,
                (Some(_), Caller::Nobody | Caller::Revoked(_)) => Some(401),
                (Some(scope), Caller::Token(has, _)) => (!has.allows(scope)).then_some(403),
                (Some(scope), Caller::Session(_)) => (scope != Scope::Read).then_some(403),
            };
            let name = format!("{} {path} {caller:?}: {status}", about.method);
            match want {
                Some(want) => {
                    assert_eq!(status, want, "{name}");
                    let headers = response.headers().clone();
                    assert_eq!(
                        headers["content-type"], "application/problem+json",
                        "{name}"
                    );
                    assert_eq!(
                        headers.contains_key("www-authenticate"),
                        want == 401,
                        "{name}"
                    );
                    let (_, problem) = support::json(response).await;
                    if let (403, Some(scope)) = (want, need) {
                        let detail = problem["detail"].as_str().expect("detail");
                        assert!(detail.contains(&format!("scope {scope}")), "{detail}");
                    }
                }
                None => assert!(![401, 403].contains(&status) || path == "/login", "{name}"),
            }
            asked += 1;
        }
    }
    assert!(asked > 150, "{asked}");
}

#[tokio::test]
async fn a_token_of_one_node_reports_for_that_node_alone() {
    let mut inventory = Inventory::start().await;
    let mut one = Node::number(&inventory.clock, 1);
    let mut two = Node::number(&inventory.clock, 2);
    inventory.report =
        support::token(&inventory.store, "of one", Scope::Report, Some(&one.id())).await;
    assert_eq!(inventory.post(&one.full()).await.0, 200);
    let (status, problem) = inventory.post(&two.heartbeat(Verdict::Healthy)).await;
    assert_eq!(status, 403);
    let detail = problem["detail"].as_str().expect("detail");
    assert!(detail.contains(&one.id()), "{detail}");
    assert_eq!(
        inventory.get(&format!("/v1/nodes/{}", two.id())).await.0,
        404
    );
}

#[tokio::test]
async fn a_login_code_works_once_and_only_by_get_and_in_time() {
    use cupel_inventory::auth::{digest, secret};
    let inventory = Inventory::start().await;
    let token = inventory.store.tokens().await.expect("tokens").remove(2);
    let code = secret().expect("random");
    let ends = inventory.clock.microseconds() + 600 * 1_000_000;
    let store = |code: String| {
        let store = inventory.store.clone();
        async move { store.create_code(token.key, &digest(&code), ends).await }
    };
    store(code.clone()).await.expect("stored");
    let path = format!("/login?code={code}");
    let ask = |method| inventory.request(method, &path).send();
    assert_eq!(ask(Method::HEAD).await.expect("answer").status(), 200);
    let first = ask(Method::GET).await.expect("answer");
    assert_eq!(first.status(), 303);
    assert!(first.headers().contains_key("set-cookie"));
    let second = ask(Method::GET).await.expect("answer");
    assert_eq!(second.status(), 401);
    assert!(!second.headers().contains_key("set-cookie"));

    let late = secret().expect("random");
    store(late.clone()).await.expect("stored");
    inventory.clock.advance(601);
    let path = format!("/login?code={late}");
    let answer = inventory
        .request(Method::GET, &path)
        .send()
        .await
        .expect("answer");
    assert_eq!(answer.status(), 401);
}

#[tokio::test]
async fn sessions_end_by_time_by_logout_and_with_their_token() {
    let inventory = Inventory::start().await;
    let asks = |cookie: String| {
        let request = inventory
            .request(Method::GET, "/v1/summary")
            .header("cookie", cookie);
        async move { request.send().await.expect("answer").status().as_u16() }
    };
    let by_time = session(&inventory).await;
    assert_eq!(asks(by_time.clone()).await, 200);
    inventory.clock.advance(12 * 3600 + 1);
    assert_eq!(asks(by_time).await, 401);

    let by_logout = session(&inventory).await;
    let foreign = inventory
        .request(Method::POST, "/logout")
        .header("cookie", &by_logout)
        .header("sec-fetch-site", "cross-site")
        .send()
        .await
        .expect("answer");
    assert_eq!(foreign.status(), 403);
    assert_eq!(asks(by_logout.clone()).await, 200);
    let out = inventory
        .request(Method::POST, "/logout")
        .header("cookie", &by_logout)
        .send()
        .await
        .expect("answer");
    assert_eq!(out.status(), 303);
    assert_eq!(asks(by_logout).await, 401);

    let by_token = session(&inventory).await;
    assert!(
        inventory
            .store
            .revoke_token("admin")
            .await
            .expect("revoked")
    );
    assert_eq!(asks(by_token).await, 401);
}

#[tokio::test]
async fn a_person_without_a_session_is_shown_the_way() {
    let inventory = Inventory::start().await;
    let page = |path: &str, refresh: bool| {
        let mut request = inventory
            .request(Method::GET, path)
            .header("accept", "text/html,application/xhtml+xml");
        if refresh {
            request = request.header("x-cupel-refresh", "1");
        }
        request.send()
    };
    let answer = page("/nodes/abc?x=1", false).await.expect("answer");
    assert_eq!(answer.status(), 303);
    assert_eq!(
        answer.headers()["location"],
        "/login?next=/nodes/abc%3Fx%3D1"
    );
    assert_eq!(page("/", true).await.expect("answer").status(), 401);
    let login = page("/login", false).await.expect("answer");
    assert_eq!(login.status(), 200);
    for header in [
        "content-security-policy",
        "x-content-type-options",
        "referrer-policy",
    ] {
        assert!(login.headers().contains_key(header), "{header}");
    }
    let wrong = inventory
        .request(Method::POST, "/login")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("token={}", inventory.report))
        .send()
        .await
        .expect("answer");
    assert_eq!(wrong.status(), 403);
    let lost = page("/nowhere", false).await.expect("answer");
    assert_eq!(lost.status(), 404);
    assert_eq!(lost.headers()["content-type"], "text/html; charset=utf-8");
}

#[tokio::test]
async fn what_cannot_be_is_a_problem_that_names_it() {
    let inventory = Inventory::start().await;
    let (status, problem) = inventory.get("/v1/nodes?colour=red").await;
    assert_eq!((status, &problem["parameter"]), (400, &json!("colour")));
    let (status, problem) = inventory.get("/v1/nodes?limit=0").await;
    assert_eq!((status, &problem["parameter"]), (400, &json!("limit")));
    let (status, problem) = inventory.get("/v1/nowhere").await;
    assert_eq!(
        (status, &problem["type"]),
        (404, &json!("urn:cupel:not-found"))
    );
    let deleted = inventory
        .request(Method::DELETE, "/v1/nodes")
        .bearer_auth(&inventory.admin)
        .send()
        .await
        .expect("answer");
    assert_eq!(deleted.status(), 405);
    assert_eq!(
        deleted.headers()["content-type"],
        "application/problem+json"
    );
    assert_eq!(deleted.headers()["allow"], "GET,HEAD");
    let picky = inventory
        .request(Method::GET, "/v1/nodes")
        .bearer_auth(&inventory.read)
        .header("accept", "application/xml")
        .send()
        .await
        .expect("answer");
    assert_eq!(picky.status(), 406);
}
