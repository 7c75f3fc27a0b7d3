//! A program of its own that brings the stream: it writes a transport stream to its standard output. It is killed with
//! the attempt, and what it said last on standard error is the reason of its end.

use std::{
    collections::VecDeque,
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader},
    process::{ChildStdout, Command},
    task::JoinHandle,
    time::timeout,
};
use wire::{ts_read::TsReader, unpack::Options};

use super::{
    attempt::Attempt,
    failure::Failure,
    http::{Chunks, flow},
};
use crate::{config::Transport, table::lock};

/// Lines of standard error that are kept, and letters of each.
const LINES: usize = 3;
const LINE_MAX: usize = 300;
/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;
/// How long a program that closed its output may take to end.
const END: Duration = Duration::from_secs(2);

/// The last lines that a program said.
type Said = Arc<Mutex<VecDeque<String>>>;

/// The task that listens to standard error; it ends with this.
struct Listener(JoinHandle<()>);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Chunks for ChildStdout {
    async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        let mut chunk = BytesMut::with_capacity(CHUNK);
        match self.read_buf(&mut chunk).await {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(chunk.freeze())),
            Err(error) => Err(Failure::Child(format!("its output broke: {error}"))),
        }
    }
}

/// Runs the program until it ends.
pub(super) async fn run(attempt: &mut Attempt<'_>) -> Result<Infallible, Failure> {
    let (program, arguments) =
        attempt.order.command.split_first().ok_or_else(|| Failure::Child("there is none".to_owned()))?;
    let _turn = attempt.turn().await;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Failure::Child(format!("it cannot be started: {error}")))?;
    let said = Said::default();
    let _listener =
        child.stderr.take().map(|stderr| Listener(tokio::spawn(listen(stderr, Arc::clone(&said)))));
    let mut output = child.stdout.take().ok_or_else(|| Failure::Child("it has no output".to_owned()))?;
    // The first bytes show that its source answers.
    let first = match timeout(attempt.patience.media, output.chunk()).await {
        Ok(Ok(Some(first))) => first,
        Ok(Ok(None)) => return Err(end(&mut child, &said).await),
        Ok(Err(failure)) => return Err(failure),
        Err(_) => return Err(Failure::Slow(attempt.patience.media)),
    };
    attempt.connected(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0));
    attempt.carried_by(Transport::Child, "ts");
    match flow(output, first, TsReader::new(Options::default()), attempt).await {
        Err(Failure::Ended) => Err(end(&mut child, &said).await),
        other => other,
    }
}

/// Why a program ended, in its own words if it said something.
async fn end(child: &mut tokio::process::Child, said: &Said) -> Failure {
    let status = match timeout(END, child.wait()).await {
        Ok(Ok(status)) => status.to_string(),
        _ => "its output is closed".to_owned(),
    };
    // The listener hears the end of standard error in its own time.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let lines: Vec<_> = lock(said).iter().cloned().collect();
    Failure::Child(if lines.is_empty() { status } else { format!("{status}: {}", lines.join(" | ")) })
}

async fn listen(stderr: impl AsyncRead + Unpin, said: Said) {
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        // A line without end is cut here and goes on as another one.
        match (&mut reader).take(CHUNK as u64).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        let text: String = text.trim().chars().filter(|letter| !letter.is_control()).take(LINE_MAX).collect();
        if !text.is_empty() {
            let mut said = lock(&said);
            if said.len() == LINES {
                said.pop_front();
            }
            said.push_back(text);
        }
    }
}
