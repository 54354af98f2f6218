//! Who may ask for what: the host that a request names is checked before everything else, on every method and path, so
//! that no foreign page can reach the server under a name of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State as Shared};
use axum::http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::error::Refusal;
use crate::state::State;

/// Everything comes from the server itself and nothing is inline; images may also be data, which is how charts are saved.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The cookie by which images and events, which cannot carry a header, show that their page knows the token.
pub(crate) const COOKIE_NAME: &str = "noisefind";

/// The hosts that a request may name.
pub(crate) struct Hosts(Vec<String>);

impl Hosts {
    /// The address itself, `localhost` where it is a loopback address, and `more`; each with the port.
    pub fn new(address: SocketAddr, more: &[String]) -> Self {
        let port = address.port();
        let mut names = Vec::new();
        if !address.ip().is_unspecified() {
            names.push(address.to_string());
        }
        if address.ip().is_loopback() || address.ip().is_unspecified() {
            names.extend([format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}")]);
        }
        for name in more {
            let name = name.to_ascii_lowercase();
            let has_port = name.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            names.push(if has_port { name } else { format!("{name}:{port}") });
        }
        // A browser leaves out the port that its scheme implies.
        let implied =
            names.iter().filter_map(|name| name.strip_suffix(":80").map(str::to_owned)).collect::<Vec<_>>();
        names.extend(implied);
        Self(names)
    }

    /// Whether it may be named.
    pub fn allow(&self, host: &str) -> bool {
        self.0.iter().any(|name| name.eq_ignore_ascii_case(host))
    }
}

/// The outermost layer: host, origin, right to see, and the headers of every answer.
pub(crate) async fn guard(Shared(state): Shared<Arc<State>>, request: Request, next: Next) -> Response {
    let mut response = match check(&state, &request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        ("content-security-policy", CONTENT_SECURITY_POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

fn check(state: &State, request: &Request) -> Result<(), Refusal> {
    let headers = request.headers();
    let named = one(headers, &HOST).filter(|host| state.hosts.allow(host));
    let target = request.uri().authority().is_none_or(|authority| state.hosts.allow(authority.as_str()));
    if named.is_none() || !target {
        let reason = "this host is not served; open the address that `noisefind serve` printed";
        return Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, reason));
    }
    // Browsers send it with everything that a foreign page could start.
    if headers.contains_key(&ORIGIN) {
        let origin = one(headers, &ORIGIN)
            .and_then(|origin| origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")));
        if !origin.is_some_and(|host| state.hosts.allow(host)) {
            return Err(Refusal::new(StatusCode::FORBIDDEN, "other pages may not ask"));
        }
    }
    let is_public = state.is_loopback
        || !request.uri().path().starts_with("/api/")
        || request.uri().path() == "/api/session";
    if is_public || knows_token(state, headers) || has_cookie(state, headers) {
        return Ok(());
    }
    Err(Refusal::new(
        StatusCode::UNAUTHORIZED,
        "open the address with the token that `noisefind serve` printed",
    ))
}

/// Whether the request carries the token itself, which no other page can make a browser send.
pub(crate) fn knows_token(state: &State, headers: &HeaderMap) -> bool {
    let sent = one(headers, &AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    sent.is_some_and(|sent| same(sent, &state.token))
}

fn has_cookie(state: &State, headers: &HeaderMap) -> bool {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.any(|(name, value)| name == COOKIE_NAME && same(value, &state.cookie))
}

/// The only header of that name.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    let first = all.next()?.to_str().ok()?;
    all.next().is_none().then_some(first)
}

/// Compares in a time that depends on the lengths alone.
fn same(one: &str, two: &str) -> bool {
    let differences = one.bytes().zip(two.bytes()).fold(0, |all, (one, two)| all | (one ^ two));
    one.len() == two.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_are_hosts() {
        let hosts = Hosts::new(
            "127.0.0.1:7860".parse().unwrap(),
            &["gpu.example".to_owned(), "proxy.example:80".to_owned()],
        );
        for host in [
            "127.0.0.1:7860",
            "LOCALHOST:7860",
            "[::1]:7860",
            "gpu.example:7860",
            "proxy.example",
            "proxy.example:80",
        ] {
            assert!(hosts.allow(host), "{host}");
        }
        for host in [
            "",
            "localhost",
            "evil.example:7860",
            "127.0.0.1:7861",
            "127.0.0.1:7860.evil.example",
            "127.0.0.1:7860 ",
        ] {
            assert!(!hosts.allow(host), "{host}");
        }
        // Everything that can be reached is not everything that may be named.
        assert!(!Hosts::new("0.0.0.0:7860".parse().unwrap(), &[]).allow("0.0.0.0:7860"));
    }

    #[test]
    fn tokens_are_compared_whole() {
        assert!(same("abc", "abc"));
        assert!(!same("abc", "abd") && !same("abc", "ab") && !same("", "a"));
    }
}
