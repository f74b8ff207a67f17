//! One plain request and its answer. Both are taken apart and written anew, so that the host sees one request, whatever
//! the sandbox sent: its body ends where this side found its end.

use std::convert::Infallible;

use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self as client, SendRequest};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri, Version};
use hyper_util::rt::TokioIo;
use shared_contracts::egress::Target;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Mutex;

/// What either side may send as a head, and what is held in memory for it.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Meant for the next hop alone (RFC 9110 §7.6.1), besides what `Connection` names.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];
const VIA: HeaderValue = HeaderValue::from_static("1.1 patchbay");

type Answer = Response<Either<Incoming, Full<Bytes>>>;

/// `client` begins with the request's head. One request a connection: the next may be for another host.
pub async fn forward<C, U>(client: C, upstream: U, target: &Target) -> Result<(), hyper::Error>
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    U: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, upstream) =
        client::Builder::new().max_buf_size(BUFFER_BYTES_MAX).handshake(TokioIo::new(upstream)).await?;
    let sender = Mutex::new(sender);
    let service = service_fn(|request| exchange(&sender, request, target));
    let serving = server::Builder::new()
        .keep_alive(false)
        .half_close(true)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(client), service);
    tokio::pin!(serving);
    tokio::select! {
        served = &mut serving => return served,
        // Its answer, or its end without one, is on the way to the client.
        _ = upstream => {}
    }
    serving.await
}

async fn exchange(
    sender: &Mutex<SendRequest<Incoming>>,
    mut request: Request<Incoming>,
    target: &Target,
) -> Result<Answer, Infallible> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let (Ok(path), Ok(host)) = (path.parse::<Uri>(), HeaderValue::try_from(host_header(target))) else {
        return Ok(failed(StatusCode::BAD_REQUEST, "the path of the request's target is malformed"));
    };
    *request.uri_mut() = path;
    *request.version_mut() = Version::HTTP_11;
    strip(request.headers_mut());
    // Answered here already: the body is on its way.
    request.headers_mut().remove(header::EXPECT);
    request.headers_mut().insert(header::HOST, host);
    request.headers_mut().append(header::VIA, VIA);
    match sender.lock().await.send_request(request).await {
        Ok(answer) if answer.status().is_informational() => {
            Ok(failed(StatusCode::BAD_GATEWAY, "the host changed to another protocol, which is not carried"))
        }
        Ok(mut answer) => {
            strip(answer.headers_mut());
            answer.headers_mut().append(header::VIA, VIA);
            Ok(answer.map(Either::Left))
        }
        Err(_) => Ok(failed(StatusCode::BAD_GATEWAY, "the host ended the connection without a whole answer")),
    }
}

/// As the host's own clients send it: without the port that is understood.
fn host_header(target: &Target) -> String {
    match target.port {
        80 => target.host.to_string(),
        _ => target.to_string(),
    }
}

fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

fn failed(status: StatusCode, why: &str) -> Answer {
    let mut answer = Response::new(Either::Right(Full::from(format!("patchbay egress: {why}\n"))));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(HeaderName::from_static("proxy-status"), HeaderValue::from_static("patchbay"));
    answer
}
