//! Accepting connections, with bounds on how many there are and how long each may do nothing: a client that is slow, or
//! gone without a word, takes a little memory for a while and nothing else.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Sleep;

use crate::api::router;
use crate::state::State;

/// Connections at once; a browser opens six.
const CONNECTIONS: usize = 512;
/// Time for the head of a request, and for which a connection may wait for its next one.
const HEAD_SECONDS: u64 = 15;
/// Time for which a client may refuse to take what it asked for.
const WRITE_SECONDS: u64 = 30;
/// Bytes of a request's head.
const HEAD_BYTES: usize = 32 << 10;

/// Serves for ever.
pub(crate) async fn serve(listener: TcpListener, state: Arc<State>) {
    let app = router(state);
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // Mostly too many open files: others will close theirs.
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let app = app.clone();
        tokio::spawn(async move {
            connection(stream, app).await;
            drop(permit);
        });
    }
}

async fn connection(stream: TcpStream, app: Router) {
    // Without it small answers wait for each other.
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(BoundedStream { stream, stalled: None });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(HEAD_SECONDS))
        .max_buf_size(HEAD_BYTES)
        .serve_connection(io, TowerToHyperService::new(app));
    // Whatever ended it, the client knows more about it than anybody here.
    let _ = served.await;
}

/// A stream that gives up where the other side takes nothing for [`WRITE_SECONDS`].
struct BoundedStream {
    stream: TcpStream,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl BoundedStream {
    /// Lets a finished write pass; a waiting one has until its deadline.
    fn within<T>(&mut self, context: &mut Context<'_>, write: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if write.is_ready() {
            self.stalled = None;
            return write;
        }
        let deadline = || Box::pin(tokio::time::sleep(Duration::from_secs(WRITE_SECONDS)));
        let stalled = self.stalled.get_or_insert_with(deadline);
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for BoundedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.within(context, write)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let write = Pin::new(&mut self.stream).poll_flush(context);
        self.within(context, write)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let write = Pin::new(&mut self.stream).poll_shutdown(context);
        self.within(context, write)
    }
}
