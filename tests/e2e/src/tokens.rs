//! An issuer with an RSA key in a file, and tokens with every fault.

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::path::Path;

/// Its name.
pub const ISSUER: &str = "https://issuer.example";
/// The id of its key.
pub const KEY: &str = "k1";

/// An issuer.
pub struct Issuer(RsaKeyPair);

impl Issuer {
    /// One with a fresh key.
    pub fn new() -> Self {
        Self(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    /// Writes its public key into `folder`; the `astradesk.toml` that trusts it.
    pub fn configure(&self, folder: &Path) -> String {
        let public = self.0.public_key();
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (n, e) = (
            text(public.modulus().big_endian_without_leading_zero()),
            text(public.exponent().big_endian_without_leading_zero()),
        );
        let keys =
            json!({"keys": [{"kty": "RSA", "kid": KEY, "use": "sig", "alg": "RS256", "n": n, "e": e}]});
        let file = folder.join("jwks.json");
        std::fs::write(&file, keys.to_string()).unwrap();
        let file = toml::Value::from(file.display().to_string());
        format!(
            "[[auth.issuers]]\nissuer = \"{ISSUER}\"\naudience = \"astradesk\"\nkeys = {{ file = {file} }}\n"
        )
    }

    /// A token with this header and these claims, signed as RS256 is.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = unsigned(header, claims);
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The same claims under an HMAC whose secret is the public key in PEM, which everybody knows.
    pub fn sign_with_public_key(&self, claims: &Value) -> String {
        let der: PublicKeyX509Der<'_> = self.0.public_key().as_der().unwrap();
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            STANDARD.encode(der.as_ref())
        );
        let signed = unsigned(&json!({"alg": "HS256", "kid": KEY}), claims);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, pem.as_bytes()), signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
    }
}

impl Default for Issuer {
    fn default() -> Self {
        Self::new()
    }
}

/// Header and claims, without a signature.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", encode(header), encode(claims))
}

/// Claims that are good for the issuer, with these changes.
pub fn claims(changes: &Value) -> Value {
    let now = astradesk_core::Timestamp::now().as_second();
    let mut claims = json!({
        "iss": ISSUER, "aud": "astradesk", "sub": "ada", "roles": ["sre"], "iat": now, "exp": now + 600,
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}
