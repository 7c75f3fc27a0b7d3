//! A program of its own that brings the stream: it writes a transport stream to its standard output. It is killed with
//! the attempt, and what it said last on standard error is the reason of its end.

use std::{
    collections::VecDeque,
    convert::Infallible,
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
    location::Location,
};
use crate::{config::Transport, table::lock};

/// Lines of standard error that are kept, and letters of each.
const LINES: usize = 3;
const LINE_MAX: usize = 300;
/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;
/// What stands before a place in memory in a line of `ffmpeg`.
const PLACE: &str = " @ 0x";
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
    let _listener = child
        .stderr
        .take()
        .map(|stderr| Listener(tokio::spawn(listen(stderr, arguments.to_vec(), Arc::clone(&said)))));
    let mut output = child.stdout.take().ok_or_else(|| Failure::Child("it has no output".to_owned()))?;
    // The first bytes show that its source answers.
    let first = match timeout(attempt.patience.media, output.chunk()).await {
        Ok(Ok(Some(first))) => first,
        Ok(Ok(None)) => return Err(end(&mut child, &said).await),
        Ok(Err(failure)) => return Err(failure),
        Err(_) => return Err(Failure::Slow(attempt.patience.media)),
    };
    attempt.connected(None);
    attempt.carried_by(Transport::Child, "ts");
    match flow(output, first, TsReader::new(Options::default()), attempt).await {
        Err(Failure::Ended) => Err(end(&mut child, &said).await),
        other => other,
    }
}

/// Why a program ended, in its own words if it said something.
async fn end(child: &mut tokio::process::Child, said: &Said) -> Failure {
    let (status, done) = match timeout(END, child.wait()).await {
        Ok(Ok(status)) => (status.to_string(), status.success()),
        _ => ("its output is closed".to_owned(), false),
    };
    // The listener hears the end of standard error in its own time.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let lines: Vec<_> = lock(said).iter().cloned().collect();
    let reason = if lines.is_empty() { status } else { format!("{status}: {}", lines.join(" | ")) };
    if done { Failure::Finished(reason) } else { Failure::Child(reason) }
}

async fn listen(stderr: impl AsyncRead + Unpin, arguments: Vec<String>, said: Said) {
    let addresses: Vec<_> = arguments.iter().filter(|argument| argument.contains("://")).collect();
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        // A line without end is cut here and goes on as another one.
        match (&mut reader).take(CHUNK as u64).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let mut text = String::from_utf8_lossy(&line).into_owned();
        for address in &addresses {
            // Whatever letters a password has, the one that was handed over is known.
            text = text.replace(address.as_str(), &Location::of_program(address).to_string());
        }
        let text = told(&text);
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

/// A line of a program as everybody may read it: addresses without user, password and query, and no places in memory,
/// which make another line of the same one each time.
fn told(line: &str) -> String {
    let mut told = String::with_capacity(line.len());
    for piece in line.split_inclusive(|letter: char| letter.is_whitespace() || "'\"<>|".contains(letter)) {
        let word = piece.trim_end_matches(|letter: char| letter.is_whitespace() || "'\"<>|".contains(letter));
        let begin = word.find("://").map(|at| {
            let scheme = |letter: char| letter.is_ascii_alphanumeric() || "+-.".contains(letter);
            word[..at].trim_end_matches(scheme).len()
        });
        match begin {
            Some(begin) => {
                told.push_str(&word[..begin]);
                told.push_str(&Location::of_program(&word[begin..]).to_string());
                told.push_str(&piece[word.len()..]);
            }
            None => told.push_str(piece),
        }
    }
    while let Some(at) = told.find(PLACE) {
        let digits = told[at + PLACE.len()..].bytes().take_while(u8::is_ascii_hexdigit).count();
        told.replace_range(at..at + PLACE.len() + digits, "");
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_says_is_told_without_secrets_and_is_the_same_each_time() {
        for (said, expected) in [
            (
                "[srt @ 0x55b3a97692c0] Connection to srt://h:9?passphrase=secret failed: Input/output error",
                "[srt] Connection to srt://h:9?… failed: Input/output error",
            ),
            ("rtsp://me:secret@h/1: Connection refused", "rtsp://h/1: Connection refused"),
            (
                "Opening 'crypto:https://me:secret@h/k?t=secret' for reading",
                "Opening 'crypto:https://h/k?…' for reading",
            ),
            (
                "[aac @ 0xAb][x @ 0x1] Queue input is backward in time",
                "[aac][x] Queue input is backward in time",
            ),
            ("me @ 0xyz :// a@b", "meyz :// a@b"),
            ("nothing of the kind", "nothing of the kind"),
        ] {
            assert_eq!(told(said), expected);
        }
    }

    #[test]
    fn a_password_of_the_command_is_not_told_whatever_letters_it_has() {
        let (address, said) = ("rtsp://admin:p'ss|<w@10.0.0.2/1?k=v", Said::default());
        let line = format!("{address}: Connection refused\n");
        let heard = listen(line.as_bytes(), vec!["-i".to_owned(), address.to_owned()], Arc::clone(&said));
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(heard);
        assert_eq!(lock(&said).iter().collect::<Vec<_>>(), ["rtsp://10.0.0.2/1?… Connection refused"]);
    }
}
