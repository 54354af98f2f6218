//! What all requests share.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use noisefind_page::{Catalogue, Encoded};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::events::Events;
use crate::guard::Hosts;
use crate::jobs::Jobs;
use crate::{Options, command};

/// What all requests share.
pub(crate) struct State {
    pub address: SocketAddr,
    pub is_loopback: bool,
    pub hosts: Hosts,
    /// For everything that starts work.
    pub token: String,
    /// For images and events on an address that others can reach; made from the token, which it does not tell.
    pub cookie: String,
    pub events: Events,
    pub jobs: Jobs,
    pub images: Mutex<ImageCache>,
    catalogue: Mutex<Catalogue>,
}

impl State {
    pub fn new(options: Options, address: SocketAddr) -> Result<Self> {
        let token = options.token.map_or_else(random_token, Ok)?;
        let cookie = hex(&Sha256::digest(format!("noisefind cookie {token}")));
        let mut catalogue = Catalogue::new(&options.runs);
        catalogue.refresh()?;
        let events = Events::new(hex(&random::<4>()?));
        Ok(Self {
            address,
            is_loopback: options.host.is_loopback(),
            hosts: Hosts::new(address, &options.allowed_hosts),
            token,
            cookie,
            jobs: Jobs::new(command::Program { path: options.program, runs: options.runs }),
            events,
            images: Mutex::new(ImageCache::default()),
            catalogue: Mutex::new(catalogue),
        })
    }

    /// The runs. A thread that panicked while it held them left nothing half done that the next look does not mend.
    pub fn catalogue(&self) -> MutexGuard<'_, Catalogue> {
        self.catalogue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Most bytes of small copies that are remembered.
const CACHE_LIMIT: usize = 256 << 20;

/// Small copies of images, each made once; where there is no room left, all are forgotten.
#[derive(Default)]
pub(crate) struct ImageCache {
    entries: std::collections::HashMap<String, Arc<Encoded>>,
    bytes: usize,
}

impl ImageCache {
    pub fn get(&self, name: &str) -> Option<Arc<Encoded>> {
        self.entries.get(name).cloned()
    }

    pub fn put(&mut self, name: String, image: Arc<Encoded>) {
        if self.bytes + image.bytes.len() > CACHE_LIMIT {
            self.entries.clear();
            self.bytes = 0;
        }
        self.bytes += image.bytes.len();
        if let Some(before) = self.entries.insert(name, image) {
            self.bytes -= before.bytes.len();
        }
    }
}

fn random_token() -> Result<String> {
    Ok(hex(&random::<16>()?))
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| Error::NoRandom)?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
