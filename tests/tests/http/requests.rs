//! What is asked in the wrong way: each fault has its status, and every answer is a problem that says what to do.

use acceptance::{Answer, Project, owner};
use reqwest::Method;
use serde_json::json;
use shared_contracts::problem::{Problem, ProblemKind};

async fn post_text(path: &str, text: impl Into<String>) -> Answer {
    Answer::to(owner().call(Method::POST, path).bytes("application/json", text.into())).await
}

/// The one field that is at fault, however many rules it breaks.
fn only_fault(problem: &Problem) -> &str {
    let field = &problem.faults.first().expect("a fault is named").field;
    assert!(
        problem.faults.iter().all(|fault| fault.field == *field && !fault.message.is_empty()),
        "{problem:?}"
    );
    field
}

#[tokio::test]
async fn what_is_not_json_is_malformed() {
    for text in ["", "{", "name=x", "{\"name\":\"x\"} more", "\u{0}", "{\"name\":\"x\",}", "{'name':'x'}"] {
        post_text("/api/projects", text).await.problem(ProblemKind::Malformed);
    }
    let broken =
        owner().call(Method::POST, "/api/projects").bytes("application/json", vec![b'"', 0xff, b'"']);
    let answer = Answer::to(broken).await;
    assert!([400, 422].contains(&answer.status), "{}", answer.text());
}

#[tokio::test]
async fn a_field_that_breaks_a_rule_is_named() {
    let long = "ä".repeat(201);
    let deep = "x".repeat(256 * 1024 + 1);
    for (body, field) in [
        (json!({"name": ""}), "name"),
        (json!({"name": "  \u{a0} "}), "name"),
        (json!({"name": "bell \u{7}"}), "name"),
        (json!({"name": "two\nlines"}), "name"),
        (json!({"name": long}), "name"),
        (json!({"name": 5}), "name"),
        (json!({"name": null}), "name"),
        (json!({"name": "n", "description": "nul \u{0}"}), "description"),
        (json!({"name": "n", "description": deep}), "description"),
        (json!({"name": "n", "description": []}), "description"),
    ] {
        let problem = post_text("/api/projects", body.to_string()).await.problem(ProblemKind::Invalid);
        assert_eq!(only_fault(&problem), field, "{body:.60}");
    }
    let both = post_text("/api/projects", r#"{"name":"","description":"\u0000"}"#).await;
    let problem = both.problem(ProblemKind::Invalid);
    assert!(
        ["name", "description"].iter().all(|name| problem.faults.iter().any(|fault| fault.field == *name))
    );
}

#[tokio::test]
async fn what_is_unknown_or_missing_is_named() {
    for (text, name) in
        [(r#"{"name":"n","nmae":1}"#, "nmae"), ("{}", "name"), ("[]", "body"), ("\"x\"", "body")]
    {
        let problem = post_text("/api/projects", text).await.problem(ProblemKind::Invalid);
        let said = format!("{} {}", only_fault(&problem), problem.faults[0].message);
        assert!(said.contains(name), "{text}: {said}");
    }
}

#[tokio::test]
async fn names_are_counted_in_characters() {
    let name = "💡".repeat(200);
    let answer = post_text("/api/projects", json!({"name": name}).to_string()).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
}

#[tokio::test]
async fn nested_fields_are_named_by_their_path() {
    let project = Project::new().await;
    let task = project.task().await;
    let path = format!("/api/projects/{}/tasks/{}/executions", project.id, task.id);
    for (change, field) in [
        (json!({"limits": {"memory_mb": 1}}), "limits.memory_mb"),
        (json!({"limits": {"memory": 1}}), "memory"),
        (json!({"limits": {"wall_seconds": "soon"}}), "limits.wall_seconds"),
        (json!({"command": []}), "command"),
        (json!({"command": ["a\u{0}b"]}), "command[0]"),
        (json!({"environment": {"1A": "x"}}), "environment"),
        (json!({"priority": 10}), "priority"),
        (json!({"coding_agent": "nobody"}), "coding_agent"),
        (json!({"sandbox_tier": "paper"}), "sandbox_tier"),
        (json!({"revision": 0}), "revision"),
    ] {
        let mut body = json!({"coding_agent": "command", "command": ["true"]});
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let problem = post_text(&path, body.to_string()).await.problem(ProblemKind::Invalid);
        let said = format!("{} {}", only_fault(&problem), problem.faults[0].message);
        assert!(said.contains(field), "{change}: {said}");
    }
    assert_eq!(
        project.find_task(task.id).await.active_execution_id,
        None,
        "a refused execution takes nothing"
    );
}

#[tokio::test]
async fn a_body_over_its_limit_is_refused_announced_or_not() {
    let limit = 1024 * 1024;
    let body = |length: usize| {
        let around = json!({"name": "n", "x": ""}).to_string().len();
        json!({"name": "n", "x": "y".repeat(length - around)}).to_string()
    };
    assert_eq!(body(limit).len(), limit);
    // At the limit it is read, and then found to have a field that is not known.
    post_text("/api/projects", body(limit)).await.problem(ProblemKind::Invalid);
    post_text("/api/projects", body(limit + 1)).await.problem(ProblemKind::TooLarge);
    // In chunks, whose sum nobody announced.
    let pieces: Vec<Result<Vec<u8>, std::io::Error>> =
        body(limit + 1).into_bytes().chunks(65_536).map(|piece| Ok(piece.to_vec())).collect();
    let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
    let call = owner().call(Method::POST, "/api/projects").bytes("application/json", stream);
    Answer::to(call).await.problem(ProblemKind::TooLarge);
}

#[tokio::test]
async fn only_json_is_read_as_json() {
    for kind in ["text/html", "text/json", "multipart/form-data; boundary=x", "application/xml"] {
        let call = owner().call(Method::POST, "/api/projects").bytes(kind, r#"{"name":"n"}"#);
        Answer::to(call).await.problem(ProblemKind::UnsupportedMediaType);
    }
    // `curl -d` says that it sends a form, a browser's `fetch` of a string that it sends text.
    for kind in [
        "application/json; charset=utf-8",
        "APPLICATION/JSON",
        "application/x-www-form-urlencoded",
        "text/plain",
    ] {
        let call = owner().call(Method::POST, "/api/projects").bytes(kind, r#"{"name":"n"}"#);
        assert_eq!(Answer::to(call).await.status, 201, "{kind}");
    }
}

#[tokio::test]
async fn a_path_that_is_not_is_absent_and_a_method_that_is_not_says_so() {
    for path in
        ["/", "/api", "/api/nothing", "/api/projects/", "/api/projects/x/y/z", "/health/more", "/__internal"]
    {
        Answer::to(owner().call(Method::GET, path)).await.problem(ProblemKind::NotFound);
    }
    for (method, path, allowed) in [
        (Method::PUT, "/api/projects", ["GET", "POST"].as_slice()),
        (Method::DELETE, "/api/projects", &["GET", "POST"]),
        (Method::GET, "/api/patches", &["POST"]),
        (Method::POST, "/api/projects/prj_01arz3ndektsv4rrffq69g5fav", &["GET", "PATCH", "DELETE"]),
    ] {
        let answer = Answer::to(owner().call(method, path)).await;
        answer.problem(ProblemKind::MethodNotAllowed);
        // RFC 9110 §15.5.6: the answer must list what would be.
        let listed = answer.header("allow").unwrap_or_default();
        assert!(allowed.iter().all(|method| listed.contains(method)), "{path}: `{listed}`");
    }
}

#[tokio::test]
async fn a_query_that_breaks_a_rule_is_refused() {
    for query in ["limit=0", "limit=101", "limit=ten", "limit=-1", "page=2", "limit=1&limit=2"] {
        let answer = Answer::to(owner().call(Method::GET, format!("/api/projects?{query}"))).await;
        let problem = answer.problem(ProblemKind::Invalid);
        let said = format!("{problem}");
        assert!(said.contains(query.split('=').next().unwrap()) || said.contains("digit"), "{query}: {said}");
    }
    let answer = Answer::to(owner().call(Method::GET, "/api/projects?after=%27%3B--&limit=1")).await;
    assert_eq!(answer.status, 200, "a cursor is only a place in the order");
}

#[tokio::test]
async fn answers_are_not_kept_by_anyone_between() {
    for path in ["/api/projects", "/api/projects/prj_01arz3ndektsv4rrffq69g5fav"] {
        let answer = Answer::to(owner().call(Method::GET, path)).await;
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
    }
}
