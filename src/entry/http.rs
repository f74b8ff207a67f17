//! Every request over HTTP: found in the list of routes, its caller known and admitted, its operation called.
//!
//! The doors are `shared_contracts::routes::ROUTES`; which function answers which is
//! [`operations::OPERATIONS`](super::operations). No door opens without its caller, because this file asks first.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::response::Response as AxumResponse;
use axum::routing::{MethodFilter, on};
use shared_contracts::problem::ProblemKind;
use shared_contracts::routes::{Access, ROUTES, Route};
use tower_service::Service;
use worker::send::{SendFuture, SendWrapper};
use worker::{Context, Env, Request, Response};

use super::call::Call;
use super::caller::{self, Caller};
use super::operations::{OPERATIONS, Operation};
use crate::accounts;
use crate::bindings::Bindings;
use crate::platform::clock::now_ms;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::object::problem_response;

/// What came in from the platform. The body stays JavaScript's until an operation wants it.
#[derive(Clone)]
struct Incoming {
    request: Rc<Request>,
    env: Env,
    context: Rc<Context>,
}

/// An answer on its way back through the router: the platform's own response, unopened.
#[derive(Clone)]
struct Answer(Rc<RefCell<Option<worker::Result<Response>>>>);

thread_local! {
    /// Built once for each isolate: building it for each request would cost more than most requests.
    static ROUTER: Router = router();
}

pub async fn fetch(request: Request, env: Env, context: Context) -> worker::Result<Response> {
    // The platform has parsed it; `Request::url` would parse it again, with a parser that is a fiftieth of the Worker.
    let url = request.inner().url();
    let target = match url.split_once('?') {
        Some((_, query)) => format!("{}?{query}", request.path()),
        None => request.path(),
    };
    let routed = http::Request::builder()
        .method(request.method().to_string().as_str())
        .uri(target)
        .body(Body::empty());
    let Ok(mut routed) = routed else {
        let failure = Failure::malformed("The request's path or method cannot be read");
        return problem_response(&failure.into_problem());
    };
    let incoming = Incoming { request: Rc::new(request), env, context: Rc::new(context) };
    routed.extensions_mut().insert(SendWrapper(incoming));
    let mut router = ROUTER.with(Clone::clone);
    let Ok(response) = router.call(routed).await;
    let answer =
        response.extensions().get::<SendWrapper<Answer>>().and_then(|answer| answer.0.0.borrow_mut().take());
    answer.unwrap_or_else(|| {
        // The router answers by itself only what it cannot match.
        problem_response(&Failure::malformed("The path cannot be read").into_problem())
    })
}

fn router() -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let (Some((_, operation)), Ok(method)) = (
            OPERATIONS.iter().find(|(name, _)| *name == route.operation),
            http::Method::from_bytes(route.method.as_bytes()),
        ) else {
            continue;
        };
        let Ok(filter) = MethodFilter::try_from(method) else { continue };
        let handler = move |request: axum::extract::Request| answering(request, Some((route, *operation)));
        router = router.route(route.path, on(filter, handler));
    }
    router
        .fallback(|request| answering(request, None))
        .method_not_allowed_fallback(|request| answering(request, None))
}

fn answering(
    request: axum::extract::Request,
    matched: Option<(&'static Route, Operation)>,
) -> SendFuture<impl Future<Output = AxumResponse>> {
    SendFuture::new(async move {
        let name = matched.map_or("unmatched", |(route, _)| route.operation);
        let result = match handle(request, matched).await {
            Ok(response) => Ok(response),
            Err(failure) => {
                failure.log(name);
                problem_response(&failure.into_problem())
            }
        };
        let mut response = AxumResponse::new(Body::empty());
        response.extensions_mut().insert(SendWrapper(Answer(Rc::new(RefCell::new(Some(result))))));
        response
    })
}

/// 1. Who calls: 401.
/// 2. Whether there is such a door: 404, 405.
/// 3. Whether they may use it: 403.
/// 4. The operation.
async fn handle(
    request: axum::extract::Request,
    matched: Option<(&'static Route, Operation)>,
) -> Outcome<Response> {
    let (mut parts, _) = request.into_parts();
    let SendWrapper(Incoming { request, env, context }) = parts
        .extensions
        .remove::<SendWrapper<Incoming>>()
        .ok_or_else(|| Failure::internal("routing", "the request is missing"))?;
    let bindings = Bindings::open(env)?;
    let public = matched.is_some_and(|(route, _)| route.access == Access::Public);
    let caller = if public {
        Caller::Public
    } else {
        caller::identify(&bindings, request.headers().get("authorization")?.as_deref()).await?
    };
    let Some((route, operation)) = matched else { return no_such_door(&parts.uri, &parts.method) };
    caller::admit(&caller, route.access)?;
    if let Caller::Account(account) = &caller
        && !accounts::store::is_touched(account, now_ms())
    {
        let (db, token_id) = (bindings.db.clone(), account.token_id);
        context.wait_until(async move {
            if let Err(failure) = accounts::store::touch(&db, token_id, now_ms()).await {
                failure.log("last use of a token");
            }
        });
    }
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let parameters = RawPathParams::from_request_parts(&mut parts, &())
        .await
        .map_err(|_| Failure::malformed("The path is not UTF-8"))?
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect::<HashMap<_, _>>();
    operation(Call { route, bindings, caller, parameters, query, request }).await
}

/// A method that a path does not answer is told which it does (RFC 9110 §15.5.6).
fn no_such_door(uri: &http::Uri, method: &http::Method) -> Outcome<Response> {
    let path = uri.path();
    let methods = methods_at(path);
    if methods.is_empty() {
        return Err(Failure::problem(ProblemKind::NotFound, format!("There is nothing at {path}")));
    }
    let detail = format!("{path} does not answer {method}");
    let problem = Failure::problem(ProblemKind::MethodNotAllowed, detail).into_problem();
    let mut response = problem_response(&problem)?;
    response.headers_mut().set("allow", &methods.join(", "))?;
    Ok(response)
}

/// A path that stands in the list by itself goes before one with a parameter, as in the router.
fn methods_at(path: &str) -> Vec<&'static str> {
    let exact = ROUTES.iter().any(|route| route.path == path);
    let is_here = |route: &&Route| if exact { route.path == path } else { same_shape(route.path, path) };
    ROUTES.iter().filter(is_here).map(|route| route.method).collect()
}

fn same_shape(pattern: &str, path: &str) -> bool {
    let (mut wanted, mut found) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return true,
            (Some(wanted), Some(found)) if wanted.starts_with("{*") => {
                return !found.is_empty();
            }
            (Some(wanted), Some(found)) if wanted.starts_with('{') && !found.is_empty() => {}
            (Some(wanted), Some(found)) if wanted == found => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_has_an_operation_and_every_operation_a_route() {
        for route in ROUTES {
            assert!(OPERATIONS.iter().any(|(name, _)| *name == route.operation), "{}", route.operation);
        }
        for (name, _) in OPERATIONS {
            assert!(ROUTES.iter().any(|route| route.operation == *name), "{name}");
        }
        drop(router());
    }

    #[test]
    fn paths_are_compared_by_their_shape() {
        assert!(same_shape("/api/projects/{project_id}", "/api/projects/x"));
        assert!(!same_shape("/api/projects/{project_id}", "/api/projects"));
        assert!(!same_shape("/api/projects/{project_id}", "/api/projects/"));
        assert!(same_shape("/a/{id}/files/{*path}", "/a/x/files/b/c"));
        assert!(!same_shape("/a/{id}/files/{*path}", "/a/x/files/"));
        assert_eq!(methods_at("/api/patches/apply"), ["POST"]);
        assert_eq!(methods_at("/api/patches/x"), ["GET"]);
    }
}
