//! Keys and tokens of issuers under test, and such an issuer over HTTP.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use axum::Router;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use tokio::sync::Semaphore;

pub enum Signer {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

/// Making an RSA key takes a while: the tests of one process share it.
static RSA: LazyLock<Vec<u8>> = LazyLock::new(|| {
    use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
    let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    der.as_ref().to_vec()
});

impl Signer {
    pub fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::from_pkcs8(&RSA).unwrap())
    }

    pub fn ec() -> Self {
        Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub fn ed() -> Self {
        Self::Ed(Ed25519KeyPair::generate().unwrap())
    }

    pub fn alg(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::Ec(_) => "ES256",
            Self::Ed(_) => "EdDSA",
        }
    }

    /// The public key as a JWK.
    pub fn jwk(&self, kid: &str) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Rsa(key) => {
                let public = key.public_key();
                let n = public.modulus().big_endian_without_leading_zero().to_vec();
                let e = public.exponent().big_endian_without_leading_zero().to_vec();
                json!({"kty": "RSA", "kid": kid, "use": "sig", "n": text(&n), "e": text(&e)})
            }
            Self::Ec(key) => {
                let point = key.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": text(&point[1..33]), "y": text(&point[33..])})
            }
            Self::Ed(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": text(key.public_key().as_ref())})
            }
        }
    }

    pub fn sign_bytes(&self, message: &[u8]) -> Vec<u8> {
        let rng = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &rng, message, &mut signature).unwrap();
                signature
            }
            Self::Ec(key) => key.sign(&rng, message).unwrap().as_ref().to_vec(),
            Self::Ed(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    /// A token with this header and these claims.
    pub fn sign_with(&self, header: &Value, claims: &Value) -> String {
        let signed = unsigned(header, claims);
        let signature = URL_SAFE_NO_PAD.encode(self.sign_bytes(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    pub fn sign(&self, kid: &str, claims: &Value) -> String {
        self.sign_with(&json!({"alg": self.alg(), "kid": kid}), claims)
    }
}

/// Header and claims, without a signature.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", encode(header), encode(claims))
}

/// An issuer over HTTP on loopback.
pub struct TestIssuer {
    pub url: String,
    state: Arc<IssuerState>,
}

struct IssuerState {
    url: Mutex<String>,
    /// What the discovery document says its issuer is, when that is to be a lie.
    claimed: Mutex<Option<String>>,
    jwks: Mutex<String>,
    up: Mutex<bool>,
    fetched: AtomicUsize,
    /// Holds an answer back until a permit is there.
    gate: Semaphore,
}

impl TestIssuer {
    pub async fn start(keys: &[Value]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(IssuerState {
            url: Mutex::new(url.clone()),
            claimed: Mutex::default(),
            jwks: Mutex::new(json!({ "keys": keys }).to_string()),
            up: Mutex::new(true),
            fetched: AtomicUsize::new(0),
            gate: Semaphore::new(1_000_000),
        });
        let discovery = {
            let state = state.clone();
            move || async move { state.discovery() }
        };
        let jwks = {
            let state = state.clone();
            move || async move { state.jwks().await }
        };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/jwks", get(jwks));
        tokio::spawn(async move { serve(listener, router).await });
        Self { url, state }
    }

    pub fn set_keys(&self, keys: &[Value]) {
        *self.state.jwks.lock().unwrap() = json!({ "keys": keys }).to_string();
    }

    pub fn set_jwks(&self, text: String) {
        *self.state.jwks.lock().unwrap() = text;
    }

    pub fn set_up(&self, up: bool) {
        *self.state.up.lock().unwrap() = up;
    }

    pub fn set_claimed(&self, issuer: &str) {
        *self.state.claimed.lock().unwrap() = Some(issuer.to_owned());
    }

    /// Holds back every answer from now on; returns whoever lets them go.
    pub fn hold(&self) {
        self.state.gate.forget_permits(1_000_000);
    }

    pub fn let_go(&self) {
        self.state.gate.add_permits(1_000_000);
    }

    /// How often the keys were asked for.
    pub fn fetched(&self) -> usize {
        self.state.fetched.load(Ordering::SeqCst)
    }
}

impl IssuerState {
    fn discovery(&self) -> Response {
        if !*self.up.lock().unwrap() {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        let url = self.url.lock().unwrap().clone();
        let claimed = self.claimed.lock().unwrap().clone().unwrap_or_else(|| url.clone());
        axum::Json(json!({"issuer": claimed, "jwks_uri": format!("{url}/jwks")})).into_response()
    }

    async fn jwks(&self) -> Response {
        self.fetched.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        self.gate.add_permits(1);
        if !*self.up.lock().unwrap() {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        let body = self.jwks.lock().unwrap().clone();
        ([("cache-control", "max-age=100"), ("content-type", "application/json")], body).into_response()
    }
}

/// A plain HTTP server, without the gateway's own machinery.
pub async fn serve(listener: tokio::net::TcpListener, router: Router) {
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tower::Service as _;
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let router = router.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                router.clone().call(request.map(axum::body::Body::new))
            });
            let connection = hyper::server::conn::http1::Builder::new();
            drop(connection.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}
