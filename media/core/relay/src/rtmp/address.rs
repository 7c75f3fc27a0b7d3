//! What a URL of RTMP asks for: application, stream and what is ours of its query. Pure.

use wire::{
    flv::{FlvOptions, H265},
    rtmp::{Action, Errand},
};

use crate::pull::{BadUrl, Location};

/// A longer name is not shown whole.
const NAME_SHOWN: usize = 8;

/// Application and stream as a server is to read them; nothing is decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    app: String,
    tc_url: String,
    name: String,
    /// How we are to write, where we publish: `codec=12` and `audio=0` of the query, which are not sent.
    pub(crate) options: FlvOptions,
}

impl Address {
    /// Reads a URL: the stream's name is what stands behind the last slash of its path, or from the segment on that has
    /// a colon (`mp4:a/b`). The query goes with the name, unless it holds the name itself (`/live?vhost=x/cam`).
    pub(crate) fn of(location: &Location) -> Result<Self, BadUrl> {
        let (path, query) = location.target.split_once('?').unwrap_or((&location.target, ""));
        let path = path.trim_matches('/');
        let (mut options, mut kept) = (FlvOptions::default(), vec![]);
        for field in query.split('&').filter(|field| !field.is_empty()) {
            match field {
                "codec=12" => options.h265 = H265::Codec12,
                "audio=0" => options.audio = false,
                field => kept.push(field),
            }
        }
        let query = kept.join("&");
        let colon = path.find(':').and_then(|colon| path[..colon].rfind('/'));
        let (app, name) = match (colon.or_else(|| path.rfind('/')), query.rsplit_once('/')) {
            (Some(slash), _) => {
                let name = &path[slash + 1..];
                (
                    path[..slash].to_owned(),
                    if query.is_empty() { name.to_owned() } else { format!("{name}?{query}") },
                )
            }
            (None, Some((query, name))) => (format!("{path}?{query}"), name.to_owned()),
            (None, None) => return Err(BadUrl("the URL must name an application and a stream")),
        };
        if app.is_empty() || name.is_empty() || app.starts_with('?') {
            return Err(BadUrl("the URL must name an application and a stream"));
        }
        let tc_url = tc_url(location, &app);
        Ok(Self { app, tc_url, name, options })
    }

    /// The same stream at the application where a redirect leads; some name the stream there, too.
    pub(crate) fn moved_to(&self, location: &Location) -> Result<Self, BadUrl> {
        let target = location.target.trim_matches('/');
        let bare = self.name.split('?').next().unwrap_or_default();
        let app =
            target.strip_suffix(bare).and_then(|app| app.strip_suffix('/')).unwrap_or(target).to_owned();
        if app.is_empty() {
            return Err(BadUrl("it names no application"));
        }
        Ok(Self { tc_url: tc_url(location, &app), app, ..self.clone() })
    }

    /// The address of a stream that we publish, for people and logs. Of a longer name only the beginning: it may be the
    /// key by which the server knows who publishes.
    pub(crate) fn shown(&self) -> String {
        let (server, name) = (self.tc_url.split('?').next().unwrap_or_default(), self.name.split('?').next());
        let name = name.unwrap_or_default();
        let shown = abbreviated(name);
        let secret = shown.len() < name.len() || self.name.contains('?') || self.tc_url.contains('?');
        format!("{server}/{shown}{}", if secret { "…" } else { "" })
    }

    /// What to ask the server for.
    pub(crate) fn errand(&self, action: Action) -> Errand {
        Errand { action, app: self.app.clone(), tc_url: self.tc_url.clone(), name: self.name.clone() }
    }
}

/// What may be shown of a stream's name.
pub(crate) fn abbreviated(name: &str) -> String {
    name.chars().take(if name.chars().count() > NAME_SHOWN { 4 } else { NAME_SHOWN }).collect()
}

fn tc_url(location: &Location, app: &str) -> String {
    format!("{}://{}/{app}", location.scheme.name(), location.authority())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(url: &str) -> (String, String, String) {
        let address =
            Address::of(&Location::parse(url).unwrap()).unwrap_or_else(|error| panic!("{url}: {error}"));
        (address.app, address.name, address.tc_url)
    }

    fn told(app: &str, name: &str, tc_url: &str) -> (String, String, String) {
        (app.to_owned(), name.to_owned(), tc_url.to_owned())
    }

    #[test]
    fn a_url_names_application_and_stream() {
        assert_eq!(at("rtmp://h/live/cam"), told("live", "cam", "rtmp://h/live"));
        assert_eq!(at("rtmps://h:1/live/cam?k=a/b&t=1"), told("live", "cam?k=a/b&t=1", "rtmps://h:1/live"));
        assert_eq!(at("rtmp://[::1]:1935/app/one/cam"), told("app/one", "cam", "rtmp://[::1]/app/one"));
        assert_eq!(at("rtmp://h/vod/mp4:a/b.mp4"), told("vod", "mp4:a/b.mp4", "rtmp://h/vod"));
        assert_eq!(at("rtmp://h/live?vhost=x/cam"), told("live?vhost=x", "cam", "rtmp://h/live?vhost=x"));
        for url in ["rtmp://h", "rtmp://h/", "rtmp://h/live", "rtmp://h/live/", "rtmp://h/?a/b"] {
            assert!(Address::of(&Location::parse(url).unwrap()).is_err(), "{url}");
        }
    }

    #[test]
    fn keys_are_not_shown() {
        let shown = |url: &str| Address::of(&Location::parse(url).unwrap()).unwrap().shown();
        assert_eq!(shown("rtmp://me:secret@h/live/cam"), "rtmp://h/live/cam");
        assert_eq!(shown("rtmp://h/live/cam?key=secret"), "rtmp://h/live/cam…");
        assert_eq!(shown("rtmps://h/live2/abcd-efgh-1234"), "rtmps://h/live2/abcd…");
        assert_eq!(shown("rtmp://h/live?auth=secret/cam"), "rtmp://h/live/cam…");
    }

    #[test]
    fn what_is_ours_of_the_query_is_not_sent() {
        let location = Location::parse("rtmp://h/live/cam?codec=12&k=1&audio=0").unwrap();
        let address = Address::of(&location).unwrap();
        assert_eq!(address.options, FlvOptions { h265: H265::Codec12, audio: false });
        assert_eq!(address.errand(Action::Publish).name, "cam?k=1");
    }

    #[test]
    fn a_redirect_names_an_application_or_the_stream_too() {
        let address = Address::of(&Location::parse("rtmp://h/live/cam?k=1").unwrap()).unwrap();
        for url in ["rtmp://b:1936/edge", "rtmp://b:1936/edge/cam"] {
            let moved = address.moved_to(&Location::parse(url).unwrap()).unwrap().errand(Action::Play);
            assert_eq!((moved.app.as_str(), moved.name.as_str()), ("edge", "cam?k=1"), "{url}");
            assert_eq!(moved.tc_url, "rtmp://b:1936/edge");
        }
        assert!(address.moved_to(&Location::parse("rtmp://b").unwrap()).is_err());
    }
}
