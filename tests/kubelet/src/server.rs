//! Serves the containers' logs to the API server, over HTTPS on loopback.
//!
//! The certificate is made at the start and signed by itself: an API server without
//! `--kubelet-certificate-authority` does not look at it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use crate::logs::{self, Query};
use crate::pods::Book;

/// How long a client may take to shake hands, and then to send its request's head.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) async fn serve(listener: TcpListener, book: Arc<Book>) -> Result<()> {
    let acceptor = acceptor()?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(connection(acceptor.clone(), stream, Arc::clone(&book)));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn acceptor() -> Result<TlsAcceptor> {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])
        .context("cannot make a certificate")?;
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .context("cannot choose TLS versions")?
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key.into())
        .context("cannot use the certificate")?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn connection(acceptor: TlsAcceptor, stream: TcpStream, book: Arc<Book>) {
    let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await else { return };
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(&request, &book);
        async move { Ok::<_, Infallible>(answer) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection for logs ended early");
    }
}

fn answer(request: &Request<Incoming>, book: &Book) -> Response<Full<Bytes>> {
    let path: Vec<&str> = request.uri().path().trim_start_matches('/').split('/').collect();
    let (status, text) = match (request.method(), path.as_slice()) {
        (&Method::GET, ["containerLogs", namespace, pod, container]) => match book.find(namespace, pod) {
            None => (StatusCode::NOT_FOUND, format!("pod \"{pod}\" not found")),
            Some((pod, state)) => {
                let query = Query::parse(request.uri().query().unwrap_or_default());
                match logs::read(&pod, container, state, query, Timestamp::now()) {
                    Ok(log) => (StatusCode::OK, log),
                    Err(reason) => (StatusCode::BAD_REQUEST, reason),
                }
            }
        },
        (&Method::GET, ["healthz"]) => (StatusCode::OK, "ok".to_owned()),
        _ => (StatusCode::NOT_FOUND, "this stand-in serves logs only".to_owned()),
    };
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response
}
