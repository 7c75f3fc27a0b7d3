//! Carries bytes between a client's TLS and the local socket of those who serve it, as fast as the slower side takes them.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use tokio::{
    io::{self, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::UnixStream,
    time::timeout,
};

/// Bytes read at a time, from the client and for it.
const FROM_CLIENT: usize = 16 << 10;
const FOR_CLIENT: usize = 32 << 10;

/// How long a client may take to close after we did.
const LINGER: Duration = Duration::from_secs(5);

/// Runs until both sides are done. A side that closes ends its direction only, as it would on a socket of its own. How long
/// a silent client may stay is judged by those who serve it; one that takes no byte is ended by its `Guarded` socket, one
/// that vanished by TCP's probes.
pub(super) async fn run<S: AsyncRead + AsyncWrite>(client: S, server: UnixStream) {
    carry(client, server, LINGER).await;
}

async fn carry<S: AsyncRead + AsyncWrite>(client: S, server: UnixStream, linger: Duration) {
    let (from_client, to_client) = io::split(client);
    let (from_server, to_server) = server.into_split();
    let mut up = pin!(pump(from_client, to_server, FROM_CLIENT));
    let mut down = pin!(pump(from_server, to_client, FOR_CLIENT));
    let first = poll_fn(|cx| match up.as_mut().poll(cx) {
        Poll::Ready(_) => Poll::Ready(None),
        Poll::Pending => down.as_mut().poll(cx).map(Some),
    });
    match first.await {
        // However the client ended, the server sees the end of what it said, and ends in its own time.
        None => drop(down.await),
        // Whoever does not close in time is closed.
        Some(Ok(())) => drop(timeout(linger, up).await),
        Some(Err(_)) => {}
    }
}

/// Copies to the end and passes the end on. What was read is sent before more is read, so nothing piles up.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    size: usize,
) -> io::Result<()> {
    let mut buffer = vec![0; size];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
        to.flush().await?;
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::duplex, runtime::Builder};

    use super::*;

    fn run_test(test: impl Future<Output = ()>) {
        Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    }

    #[test]
    fn a_side_that_closes_ends_its_direction_only() {
        run_test(async {
            let ((mut client, theirs), (near, mut server)) = (duplex(64), UnixStream::pair().unwrap());
            let bridge = tokio::spawn(run(theirs, near));
            client.write_all(b"question").await.unwrap();
            client.shutdown().await.unwrap();
            let mut asked = Vec::new();
            server.read_to_end(&mut asked).await.unwrap();
            assert_eq!(asked, b"question");
            server.write_all(&[7; 1000]).await.unwrap();
            drop(server);
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer.len(), 1000);
            bridge.await.unwrap();
        });
    }

    #[test]
    fn a_client_that_does_not_close_is_closed() {
        run_test(async {
            let ((mut client, theirs), (near, server)) = (duplex(64), UnixStream::pair().unwrap());
            let bridge = tokio::spawn(carry(theirs, near, Duration::from_millis(20)));
            drop(server);
            assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
            bridge.await.unwrap();
            assert!(client.write_all(b"still here").await.is_err());
        });
    }

    #[test]
    fn a_server_that_goes_leaves_its_last_words() {
        run_test(async {
            let ((mut client, theirs), (near, mut server)) = (duplex(16), UnixStream::pair().unwrap());
            let bridge = tokio::spawn(run(theirs, near));
            server.write_all(&[3; 5000]).await.unwrap();
            drop(server);
            client.write_all(b"too late").await.unwrap();
            let mut words = Vec::new();
            client.read_to_end(&mut words).await.unwrap();
            assert_eq!(words.len(), 5000);
            drop(client);
            bridge.await.unwrap();
        });
    }
}
