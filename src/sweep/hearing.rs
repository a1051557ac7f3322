//! Whether anything is heard of the engine that may need a volume, from one look at the witnesses to the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use chrono::{DateTime, Utc};
use tokio::task::JoinHandle;

use crate::gc::news::{Doing, Event};
use crate::host::engine::{Engine, EngineError};

const NOTHING: u8 = 0;
const SOMETHING: u8 = 1;
/// The stream has ended, as it does with the process of the engine: whatever answers now may be another one (I6).
const BROKEN: u8 = 2;

/// A stream of the engine's events that is listened to.
#[derive(Debug)]
pub(super) struct Hearing {
    heard: Arc<AtomicU8>,
    task: JoinHandle<()>,
}

/// What was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing that may need a volume.
    Nothing,
    /// A container was made or started, a volume made or mounted.
    Something,
    /// The engine cannot be heard any more.
    Broken,
}

impl Hearing {
    pub(super) async fn begin(engine: &Engine, now: DateTime<Utc>) -> Result<Self, EngineError> {
        let mut events = engine.events(now).await?;
        let heard = Arc::new(AtomicU8::new(NOTHING));
        let told = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            while let Ok(Some((event, _))) = events.next().await {
                if event.as_ref().is_some_and(may_need_a_volume) {
                    told.fetch_max(SOMETHING, Ordering::SeqCst);
                }
            }
            told.store(BROKEN, Ordering::SeqCst);
        });
        Ok(Self { heard, task })
    }

    /// The witnesses are about to be asked: what was heard before is known to them.
    pub(super) fn listen_anew(&self) {
        self.heard.fetch_and(BROKEN, Ordering::SeqCst);
    }

    pub(super) fn heard(&self) -> Heard {
        match self.heard.load(Ordering::SeqCst) {
            NOTHING => Heard::Nothing,
            SOMETHING => Heard::Something,
            _ => Heard::Broken,
        }
    }
}

impl Drop for Hearing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn may_need_a_volume(event: &Event) -> bool {
    match event {
        Event::Container { doing, .. } => match doing {
            Doing::Created | Doing::Started => true,
            Doing::Ended | Doing::Removed => false,
        },
        Event::Mounted { .. } | Event::Made { .. } => true,
        Event::Removed { .. } => false,
    }
}
