//! What can go wrong before serving, and what a client is told.

use std::net::{IpAddr, SocketAddr};

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::TOKEN_LENGTH;

/// The result of everything that is done before serving.
pub type Result<T> = std::result::Result<T, Error>;

/// A server that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder of the runs cannot be read.
    #[error(transparent)]
    Runs(#[from] noisefind_page::Error),
    /// The address cannot be had.
    #[error("cannot listen on {address}: {source}; give another --port, or 0 for any that is free")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Others can reach the address and no token is given.
    #[error(
        "--host {0} can be reached by others, so it needs --token with a secret that you give to those who may look"
    )]
    TokenNeeded(IpAddr),
    /// The token is too easy.
    #[error("--token needs at least {TOKEN_LENGTH} printable ASCII characters without spaces")]
    Token,
    /// Threads cannot be started.
    #[error("cannot start threads: {0}")]
    Threads(std::io::Error),
    /// The system has no random numbers.
    #[error("cannot make a token: the system gives no random numbers")]
    NoRandom,
}

/// What a client is told in place of an answer; the reason is one sentence.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub status: StatusCode,
    pub reason: String,
}

impl Refusal {
    pub fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into() }
    }

    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no such {what}"))
    }

    pub fn bad(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(serde_json::json!({ "error": self.reason }))).into_response()
    }
}
