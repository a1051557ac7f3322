//! Protocols that are wrong. Each must yield a counterexample: they prove that the model would notice.

/// One change that breaks the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// The DELETE was not answered, and the data is put back.
    RollsBackWithoutAnAnswer,
    /// The data is renamed first, and the manifest written then.
    RenamesBeforeTheManifest,
    /// The witnesses are not asked again when the data is away.
    TakesNoSecondLook,
    /// It is not asked whose the name is when the data is away.
    LooksNotAtTheName,
    /// `in_doubt` is written when the DELETE is sent already.
    WritesInDoubtAfterSending,
    /// A refused DELETE is taken for done.
    CommitsWhatWasRefused,
    /// Recovery does not wait until the engine has settled.
    RecoversWithoutWaiting,
    /// A proxy is taken for the engine.
    TrustsAProxy,
    /// A second DELETE that goes to the engine itself hides that the first one went through a proxy.
    ForgetsTheProxy,
    /// A refused second DELETE is taken for the end of the first.
    RollsBackAfterASecondRefusal,
    /// Recovery puts back whatever is in doubt, without proof.
    UndoesEveryDoubt,
    /// An undo takes the manifest away before it renames the data back.
    DropsTheManifestFirst,
    /// A restore does not ask whether a DELETE may still come for the name.
    RestoresUnderADelete,
    /// A restore takes what has its place for its own.
    RestoresOver,
    /// A restore makes the volume first, and places the data then.
    CreatesFirst,
    /// A restore that the engine refuses takes the data back without a look.
    TakesBackWhatIsUsed,
    /// A deletion does not look at its entry again.
    DeletesWithoutALook,
    /// A deletion does not wait for the end of the grace period.
    DeletesBeforeItIsDue,
    /// A manifest is renamed into place before it is synced.
    DoesNotSyncTheManifest,
    /// The directory that names a manifest is not synced.
    DoesNotSyncTheDirectory,
    /// The rename into quarantine is not synced.
    DoesNotSyncTheRename,
    /// Recovery trusts a rename that it finds done, and does not sync it.
    RecoversWithoutASync,
    /// Recovery does nothing.
    RecoversNothing,
}

impl Mutation {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::RollsBackWithoutAnAnswer,
        Self::RenamesBeforeTheManifest,
        Self::TakesNoSecondLook,
        Self::LooksNotAtTheName,
        Self::WritesInDoubtAfterSending,
        Self::CommitsWhatWasRefused,
        Self::RecoversWithoutWaiting,
        Self::TrustsAProxy,
        Self::ForgetsTheProxy,
        Self::RollsBackAfterASecondRefusal,
        Self::UndoesEveryDoubt,
        Self::DropsTheManifestFirst,
        Self::RestoresUnderADelete,
        Self::RestoresOver,
        Self::CreatesFirst,
        Self::TakesBackWhatIsUsed,
        Self::DeletesWithoutALook,
        Self::DeletesBeforeItIsDue,
        Self::DoesNotSyncTheManifest,
        Self::DoesNotSyncTheDirectory,
        Self::DoesNotSyncTheRename,
        Self::RecoversWithoutASync,
        Self::RecoversNothing,
    ];

    /// The promise that it breaks.
    pub fn breaks(self) -> &'static str {
        match self {
            Self::RollsBackWithoutAnAnswer
            | Self::WritesInDoubtAfterSending
            | Self::RecoversWithoutWaiting
            | Self::TrustsAProxy
            | Self::ForgetsTheProxy
            | Self::RollsBackAfterASecondRefusal
            | Self::UndoesEveryDoubt
            | Self::RestoresUnderADelete => "I5: a DELETE never hits data that was put back",
            Self::RenamesBeforeTheManifest
            | Self::DropsTheManifestFirst
            | Self::DoesNotSyncTheManifest
            | Self::DoesNotSyncTheDirectory => "I4: a manifest names the data that is not in its volume",
            Self::TakesNoSecondLook | Self::CommitsWhatWasRefused | Self::TakesBackWhatIsUsed => {
                "I1: what is in use does not stay in quarantine"
            }
            Self::LooksNotAtTheName => "I1: a DELETE never hits what was there at the last look",
            Self::RestoresOver => "I7: a restore overwrites nothing",
            Self::CreatesFirst => "no container starts on the empty volume of a restore",
            Self::DeletesWithoutALook | Self::DeletesBeforeItIsDue => {
                "I3: only what is quarantined, due and unused is deleted"
            }
            Self::DoesNotSyncTheRename | Self::RecoversWithoutASync => "I4: a power cut loses nothing",
            Self::RecoversNothing => "nothing stays half done",
        }
    }

    /// What of the world it takes.
    pub fn needs(self) -> Needs {
        match self {
            Self::TrustsAProxy
            | Self::ForgetsTheProxy
            | Self::RollsBackAfterASecondRefusal
            | Self::UndoesEveryDoubt
            | Self::RestoresUnderADelete => Needs::Proxy,
            Self::DoesNotSyncTheManifest
            | Self::DoesNotSyncTheDirectory
            | Self::DoesNotSyncTheRename
            | Self::RecoversWithoutASync => Needs::PowerCut,
            Self::RollsBackWithoutAnAnswer
            | Self::RenamesBeforeTheManifest
            | Self::TakesNoSecondLook
            | Self::LooksNotAtTheName
            | Self::WritesInDoubtAfterSending
            | Self::CommitsWhatWasRefused
            | Self::RecoversWithoutWaiting
            | Self::DropsTheManifestFirst
            | Self::RestoresOver
            | Self::CreatesFirst
            | Self::TakesBackWhatIsUsed
            | Self::DeletesWithoutALook
            | Self::DeletesBeforeItIsDue
            | Self::RecoversNothing => Needs::NothingElse,
        }
    }
}

/// See [`Mutation::needs`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    NothingElse,
    Proxy,
    PowerCut,
}
