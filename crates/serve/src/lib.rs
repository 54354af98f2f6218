//! The local page: run folders over HTTP, live, with the program's own work started from it.
//!
//! Reading goes through `noisefind-page` and writes nothing. Work (sampling, tuning, resuming) is done by the program
//! itself, started as a child: this crate never loads a model. What a request names is a run id, an image key or the name
//! of an embedded file, never a path.

mod api;
mod command;
mod connection;
mod error;
mod events;
mod guard;
mod jobs;
mod state;
mod watcher;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;

pub use command::{SampleForm, StartForm, Work};
pub use error::{Error, Result};

/// What is served and to whom.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder of the run folders.
    pub runs: PathBuf,
    /// The address to listen on; every other than a loopback address needs [`Self::token`].
    pub host: IpAddr,
    /// 0 takes any port that is free.
    pub port: u16,
    /// Names by which clients may reach the server, beside the address and `localhost`.
    pub allowed_hosts: Vec<String>,
    /// What a client must know to start work, and on an address that is no loopback address to see anything. `None`
    /// makes a new one.
    pub token: Option<String>,
    /// The program that does the work.
    pub program: PathBuf,
}

/// Fewest characters of a token that is given.
pub const TOKEN_LENGTH: usize = 16;

/// A server that listens.
pub struct Server {
    listener: TcpListener,
    state: Arc<state::State>,
}

impl Server {
    /// Checks the options and listens.
    ///
    /// # Errors
    /// Where the folder cannot be read, the address cannot be had, or an address that others can reach is given without
    /// a token.
    pub async fn bind(options: Options) -> Result<Self> {
        if !options.host.is_loopback() && options.token.is_none() {
            return Err(Error::TokenNeeded(options.host));
        }
        if let Some(token) = &options.token
            && (token.len() < TOKEN_LENGTH || !token.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err(Error::Token);
        }
        let wanted = SocketAddr::new(options.host, options.port);
        let failed = |source| Error::Listen { address: wanted, source };
        let listener = TcpListener::bind(wanted).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let state = Arc::new(state::State::new(options, address)?);
        Ok(Self { listener, state })
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.state.address
    }

    /// The address to open; the token stands behind the number sign, which browsers keep to themselves.
    pub fn url(&self) -> String {
        format!("http://{}/#token={}", self.state.address, self.state.token)
    }

    /// Serves until it is stopped; then work in progress is asked to stop and save, and is waited for.
    pub async fn run(self, stopped: Stopped) {
        let Stopped(mut stopped) = stopped;
        let watcher = tokio::spawn(watcher::watch(self.state.clone()));
        let serving = connection::serve(self.listener, self.state.clone());
        tokio::select! {
            () = serving => {}
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
        watcher.abort();
        self.state.jobs.stop().await;
    }
}

/// Tells a server to stop.
#[derive(Clone, Debug)]
pub struct Stopped(watch::Receiver<bool>);

/// A function that tells a server to stop, and what the server looks at.
pub fn stop_signal() -> (impl Fn() + Send + 'static, Stopped) {
    let (sender, receiver) = watch::channel(false);
    let stop = move || {
        // The server may have ended by itself.
        let _ = sender.send(true);
    };
    (stop, Stopped(receiver))
}

/// Serves on this thread and a few others until it is stopped; `started` is told the address to open.
///
/// # Errors
/// As [`Server::bind`], or where threads cannot be started.
pub fn serve(options: Options, stopped: Stopped, started: impl FnOnce(&str)) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // Reading files is all that is done there.
        .max_blocking_threads(8)
        .enable_all()
        .build()
        .map_err(Error::Threads)?;
    runtime.block_on(async {
        let server = Server::bind(options).await?;
        started(&server.url());
        server.run(stopped).await;
        Ok(())
    })
}
