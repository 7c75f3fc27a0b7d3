//! Who we are to TLS clients: a certificate chain and its key from PEM files, read again when these change, so that a
//! renewal needs no restart.

use std::{
    fmt, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, RwLock, Weak},
    time::Duration,
};

use tokio_rustls::rustls::{
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::{
    clock,
    events::{Event, EventQueue, Kind},
    table::lock,
};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// Which file it was: a renewal replaces it, or writes it anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let found = path.metadata().ok()?;
        Some(Self { inode: found.ino(), size: found.size(), changed: (found.mtime(), found.mtime_nsec()) })
    }
}

/// What came of looking at the files.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// They are as they were.
    Same,
    /// New clients get the new certificate.
    Renewed,
    /// What is there now cannot be used, in words; new clients get the old certificate.
    Unusable(String),
}

/// A certificate chain and its key.
pub(crate) struct Identity {
    certificate: PathBuf,
    key: PathBuf,
    held: RwLock<Arc<CertifiedKey>>,
    stamps: Mutex<[Option<Stamp>; 2]>,
}

impl Identity {
    /// Reads the files; in words, which of them cannot be used and why.
    fn load(certificate: &Path, key: &Path) -> Result<Self, String> {
        let stamps = [Stamp::of(certificate), Stamp::of(key)];
        let held = RwLock::new(Arc::new(read(certificate, key)?));
        Ok(Self { certificate: certificate.into(), key: key.into(), held, stamps: Mutex::new(stamps) })
    }

    /// Reads the files again if they changed. What was found unusable is told once, and tried again when it changes.
    fn look(&self) -> Look {
        let stamps = [Stamp::of(&self.certificate), Stamp::of(&self.key)];
        if std::mem::replace(&mut *lock(&self.stamps), stamps) == stamps {
            return Look::Same;
        }
        match read(&self.certificate, &self.key) {
            Ok(found) => {
                let mut held = self.held.write().unwrap_or_else(std::sync::PoisonError::into_inner);
                *held = Arc::new(found);
                Look::Renewed
            }
            Err(reason) => Look::Unusable(reason),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Identity").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.held.read().unwrap_or_else(std::sync::PoisonError::into_inner)))
    }
}

fn read(certificate: &Path, key: &Path) -> Result<CertifiedKey, String> {
    let unread = |path: &Path, error: &pem::Error| match error {
        pem::Error::Io(error) if error.kind() == io::ErrorKind::NotFound => {
            format!("there is no file {}", path.display())
        }
        pem::Error::NoItemsFound => format!("{} holds no private key in PEM", path.display()),
        error => format!("{} cannot be read: {error}", path.display()),
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| unread(certificate, &error))?;
    if chain.is_empty() {
        return Err(format!("{} holds no certificate in PEM", certificate.display()));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unread(key, &error))?;
    CertifiedKey::from_der(chain, secret, &ring::default_provider()).map_err(|error| {
        format!("{} and {} do not belong together: {error}", certificate.display(), key.display())
    })
}

/// All identities in use: ports with the same files share one.
#[derive(Default)]
pub(crate) struct Identities(Mutex<Vec<Weak<Identity>>>);

impl Identities {
    /// The one of these files, and whether it is new.
    pub(crate) fn get(&self, certificate: &Path, key: &Path) -> Result<(Arc<Identity>, bool), String> {
        let mut known = lock(&self.0);
        known.retain(|identity| identity.strong_count() > 0);
        let same = |identity: &Arc<Identity>| identity.certificate == certificate && identity.key == key;
        if let Some(found) = known.iter().filter_map(Weak::upgrade).find(same) {
            return Ok((found, false));
        }
        let identity = Arc::new(Identity::load(certificate, key)?);
        known.push(Arc::downgrade(&identity));
        Ok((identity, true))
    }
}

/// Looks at the files for as long as a port uses them; each change is told by an event.
pub(crate) async fn watch(identity: Weak<Identity>, events: Arc<EventQueue>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(identity) = identity.upgrade() else { return };
        let path = identity.certificate.display().to_string();
        // Files may be slow; a reader that failed by a fault of ours tells nothing and comes again.
        let look = tokio::task::spawn_blocking(move || identity.look()).await.unwrap_or(Look::Same);
        let (outcome, reason) = match look {
            Look::Same => continue,
            Look::Renewed => ("renewed", String::new()),
            Look::Unusable(reason) => ("unusable", reason),
        };
        let detail = vec![("path", path), ("outcome", outcome.to_owned()), ("reason", reason)];
        events.push(Event::new(Kind::Certificate, 0, "", "", clock::wall_ms(), detail));
    }
}
