//! What the engine tells of itself while it runs: `GET /events`, decoded by ourselves.
//!
//! Tolerant where the lists are strict: an event is a hint that can only delay, so what is not understood is passed over.
//! bollard 0.21 ends the stream at the first event of a type it does not know.
//!
//! The engine keeps its last 256 events for those who ask `since` a time, forgets them when it restarts, and drops what a
//! subscriber does not take within 100 ms (moby `daemon/events/events.go`, 20.10 to 29).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::Value;

use super::error::{chain, unreachable_or_broken};
use super::{Engine, EngineError, percent_encode};
use crate::gc::news::{Doing, Event};
use crate::gc::reference::container_detail;
use crate::gc::volume::VolumeName;

/// The longest event that is read, in bytes. Labels are in it, so it may be long; a longer one is passed over.
const LONGEST_EVENT: usize = 1 << 20;

/// How long the engine may take to begin the stream, and to answer a ping.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long the engine may take to tell what it remembers.
const RECALL: Duration = Duration::from_secs(5);

/// What is asked for. Health checks alone tell of three events each, every few seconds, which would wake an idle host.
const WANTED: &str = r#"{"type":["container","volume"],"event":["create","start","die","destroy","mount"]}"#;

/// What is asked for when it matters who is gone.
const REMOVALS: &str = r#"{"type":["container"],"event":["destroy"]}"#;

/// The engine's events, as they come.
#[derive(Debug)]
pub struct Events {
    body: Incoming,
    unread: BytesMut,
    /// Whether the beginning of an event that is too long was thrown away, and its end is still to come.
    skips: bool,
}

impl Engine {
    /// Subscribes, from `since` on as far as the engine still knows.
    ///
    /// Nothing here counts as a sign of life of the work in hand: no [`crate::host::pulse::bounded`].
    pub async fn events(&self, since: DateTime<Utc>) -> Result<Events, EngineError> {
        let path = format!(
            "/v{}/events?since={}.{:09}&filters={}",
            self.api_version(),
            since.timestamp(),
            since.timestamp_subsec_nanos(),
            percent_encode(WANTED)
        );
        let body = self.begin(&path).await?;
        Ok(Events { body, unread: BytesMut::new(), skips: false })
    }

    /// The IDs of the containers that were removed between two times, as far as the engine still knows: it keeps its last 256 events,
    /// and forgets them when it restarts.
    pub async fn removed_between(
        &self,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<BTreeSet<String>, EngineError> {
        let time = |at: DateTime<Utc>| format!("{}.{:09}", at.timestamp(), at.timestamp_subsec_nanos());
        let path = format!(
            "/v{}/events?since={}&until={}&filters={}",
            self.api_version(),
            time(since),
            time(until),
            percent_encode(REMOVALS)
        );
        let mut events = Events { body: self.begin(&path).await?, unread: BytesMut::new(), skips: false };
        let mut removed = BTreeSet::new();
        // An engine whose clock is behind keeps the stream open until that time has come.
        let read = tokio::time::timeout(RECALL, async {
            while let Some((event, _)) = events.next().await? {
                if let Some(Event::Container { id, doing: Doing::Removed, .. }) = event {
                    removed.insert(id);
                }
            }
            Ok::<_, String>(())
        });
        match read.await {
            Ok(Ok(())) | Err(_) => Ok(removed),
            Ok(Err(why)) => Err(EngineError::Broken { call: format!("GET {path}"), why }),
        }
    }

    /// `GET /_ping`: a stream may be dead without a word.
    pub async fn ping(&self) -> Result<(), EngineError> {
        self.begin("/_ping").await.map(drop)
    }

    pub(super) async fn begin(&self, path: &str) -> Result<Incoming, EngineError> {
        let call = || format!("GET {path}");
        let broken = |why: String| EngineError::Broken { call: call(), why };
        let request = Request::builder()
            .method(Method::GET)
            .uri(path)
            .body(Empty::<Bytes>::new())
            .map_err(|error| broken(error.to_string()))?;
        let answer = tokio::time::timeout(PATIENCE, self.transport.send(request)).await;
        let answer = answer
            .map_err(|_| EngineError::Timeout { call: call(), patience: PATIENCE })?
            .map_err(|error| unreachable_or_broken(error, path))?;
        if answer.status().is_success() {
            Ok(answer.into_body())
        } else {
            let code = answer.status().as_u16();
            Err(EngineError::Status { call: call(), code, message: "no events from this address".to_owned() })
        }
    }
}

impl Events {
    /// The next event that means something here, and the time it has in any case; none at the end of the stream.
    pub async fn next(&mut self) -> Result<Option<(Option<Event>, DateTime<Utc>)>, String> {
        loop {
            while let Some(line) = self.line() {
                if let Some(told) = decode(&line) {
                    return Ok(Some(told));
                }
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(chain(&error)),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.unread.extend_from_slice(data);
                    }
                }
            }
        }
    }

    /// A whole line that was received: the engine writes one event on each.
    fn line(&mut self) -> Option<BytesMut> {
        loop {
            let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') else {
                if self.unread.len() > LONGEST_EVENT {
                    self.unread.clear();
                    self.skips = true;
                }
                return None;
            };
            let line = self.unread.split_to(end + 1);
            if !std::mem::take(&mut self.skips) {
                return Some(line);
            }
        }
    }
}

/// One event as the engine writes it, as far as it is of use.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Told {
    #[serde(default)]
    r#type: Value,
    #[serde(default)]
    action: Value,
    #[serde(default)]
    actor: Value,
    #[serde(rename = "timeNano", default)]
    time_nano: Value,
}

/// What one line says. None for what is no event, or has no time.
pub(super) fn decode(line: &[u8]) -> Option<(Option<Event>, DateTime<Utc>)> {
    #[expect(
        clippy::disallowed_methods,
        reason = "an event that we cannot read is one hint less; every step looks again"
    )]
    let told: Told = serde_json::from_slice(line).ok()?;
    let at = DateTime::from_timestamp_nanos(told.time_nano.as_i64()?);
    Some((event(&told, at), at))
}

#[expect(
    clippy::disallowed_methods,
    reason = "an event without a volume's name is one hint less; every step looks again"
)]
fn event(told: &Told, at: DateTime<Utc>) -> Option<Event> {
    let id = told.actor["ID"].as_str().filter(|id| !id.is_empty())?;
    let attribute = |name: &str| told.actor["Attributes"][name].as_str().filter(|text| !text.is_empty());
    match (told.r#type.as_str()?, told.action.as_str()?) {
        ("volume", "create") => Some(Event::Made { volume: VolumeName::new(id).ok()?, at }),
        ("volume", "destroy") => Some(Event::Removed { volume: VolumeName::new(id).ok()?, at }),
        ("volume", "mount") => Some(Event::Mounted {
            volume: VolumeName::new(id).ok()?,
            container: attribute("container")?.to_owned(),
            at,
        }),
        ("container", action) => {
            let doing = match action {
                "create" => Doing::Created,
                "start" => Doing::Started,
                "die" => Doing::Ended,
                "destroy" => Doing::Removed,
                _ => return None,
            };
            Some(Event::Container {
                id: id.to_owned(),
                name: attribute("name").map(str::to_owned),
                detail: container_detail(doing.state(), attribute("image"), attribute),
                image: attribute("image").map(str::to_owned),
                labels: texts(&told.actor["Attributes"]),
                doing,
                at,
            })
        }
        _ => None,
    }
}

/// The attributes that are texts. Those that the engine adds itself, as the exit code, have names that no label has.
fn texts(attributes: &Value) -> BTreeMap<String, String> {
    let all = attributes.as_object().into_iter().flatten();
    all.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> Option<Event> {
        decode(text.as_bytes()).and_then(|(event, _)| event)
    }

    #[test]
    fn a_container_tells_name_image_and_compose_labels() {
        let text = r#"{"Type":"container","Action":"destroy","Actor":{"ID":"c1","Attributes":{"name":"web","image":"nginx",
            "com.docker.compose.project":"shop","com.docker.compose.service":"front"}},"timeNano":1700000000000000001}"#;
        let Some(Event::Container { id, name, detail, image, labels, doing, at }) = decoded(text) else {
            panic!("no container")
        };
        assert_eq!((id.as_str(), name.as_deref(), doing), ("c1", Some("web"), Doing::Removed));
        assert_eq!(image.as_deref(), Some("nginx"));
        assert_eq!(labels.get("com.docker.compose.service").map(String::as_str), Some("front"));
        assert_eq!(detail, "removed, image nginx, Compose project shop, service front");
        assert_eq!(at, DateTime::from_timestamp_nanos(1_700_000_000_000_000_001));
    }

    #[test]
    fn what_is_not_understood_is_passed_over() {
        let with = |inside: &str| format!(r#"{{{inside},"timeNano":5}}"#);
        for odd in [
            with(r#""Type":"galaxy","Action":"explode","Actor":{"ID":"x"}"#),
            with(r#""Type":7,"Action":null,"Actor":[]"#),
            with(r#""Type":"volume","Action":"create","Actor":{"ID":""}"#),
            with(r#""Type":"volume","Action":"create","Actor":{"ID":"../x"}"#),
            with(r#""Type":"volume","Action":"mount","Actor":{"ID":"v","Attributes":{}}"#),
            with(r#""Type":"container","Action":"exec_start: sh","Actor":{"ID":"c"}"#),
        ] {
            assert_eq!(decoded(&odd), None, "{odd}");
            assert!(decode(odd.as_bytes()).is_some(), "its time still counts: {odd}");
        }
        for nothing in ["", "[]", "{}", "<html>", r#"{"timeNano":"soon"}"#] {
            assert!(decode(nothing.as_bytes()).is_none(), "{nothing}");
        }
    }
}
