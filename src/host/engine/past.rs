//! What the engine still knows of what happened: the events that it keeps for those who ask for a time before now.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, FixedOffset, Utc};
use http_body_util::{BodyExt as _, Collected, Limited};
use serde::Deserialize;

use super::error::chain;
use super::events::decode;
use super::{Engine, EngineError};
use crate::gc::news::Event;

/// How long the engine may take. It answers from memory.
const PATIENCE: Duration = Duration::from_secs(20);

/// The largest answer that is read, in bytes: 256 events with labels of 256 kB each.
const LARGEST: usize = 64 << 20;

/// What the engine keeps: its last 256 events of any kind (moby `daemon/events`, 20.10 to 29).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Past {
    /// The time of the oldest one; none when it keeps none.
    pub oldest: Option<DateTime<Utc>>,
    /// Those that mean something here, each with its time, oldest first.
    pub events: Vec<(Event, DateTime<Utc>)>,
}

/// Of `GET /info`, the engine's own clock.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Clock {
    system_time: DateTime<FixedOffset>,
}

impl Engine {
    /// All events that the engine keeps, up to now by its own clock.
    ///
    /// # Errors
    ///
    /// When it does not tell, as behind a proxy that denies events.
    pub async fn past(&self) -> Result<Past, EngineError> {
        let info = format!("/v{}/info", self.api_version());
        let clock: Clock = serde_json::from_slice(&self.whole(&info).await?)
            .map_err(|error| EngineError::Shape { call: "GET /info".to_owned(), why: error.to_string() })?;
        // With a time to come it would wait for that.
        let until = clock.system_time.to_utc();
        let path = format!(
            "/v{}/events?since=1&until={}.{:09}",
            self.api_version(),
            until.timestamp(),
            until.timestamp_subsec_nanos()
        );
        Ok(read(&self.whole(&path).await?))
    }

    /// Nothing here counts as a sign of life of the work in hand, as in [`Engine::events`].
    async fn whole(&self, path: &str) -> Result<Bytes, EngineError> {
        let call = || format!("GET {path}");
        let fetch = async {
            let body = Limited::new(self.begin(path).await?, LARGEST).collect().await;
            body.map(Collected::to_bytes)
                .map_err(|error| EngineError::Broken { call: call(), why: chain(&*error) })
        };
        let fetched = tokio::time::timeout(PATIENCE, fetch).await;
        fetched.map_err(|_| EngineError::Timeout { call: call(), patience: PATIENCE })?
    }
}

fn read(body: &Bytes) -> Past {
    let mut past = Past::default();
    for (event, at) in body.split(|byte| *byte == b'\n').filter_map(decode) {
        past.oldest = Some(past.oldest.map_or(at, |oldest| oldest.min(at)));
        past.events.extend(event.map(|event| (event, at)));
    }
    past
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_tells_how_far_the_engine_remembers() {
        let body = br#"{"Type":"network","Action":"connect","Actor":{"ID":"n"},"timeNano":5}
{"Type":"volume","Action":"create","Actor":{"ID":"db"},"timeNano":7}
no JSON
{"Type":"container","Action":"start","Actor":{"ID":"c1"}}
"#;
        let past = read(&Bytes::from_static(body));
        assert_eq!(past.oldest, Some(DateTime::from_timestamp_nanos(5)));
        assert_eq!(past.events.len(), 1, "one has no time: {:?}", past.events);
        assert_eq!(read(&Bytes::new()), Past::default());
    }
}
