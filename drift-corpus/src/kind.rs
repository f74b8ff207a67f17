//! The kinds of drift: the rows of the table.

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    LinesShifted,
    ContextEdited,
    ContextEditedMore,
    TrailingSpace,
    TabsAndSpaces,
    Indented,
    LineEndings,
    Punctuation,
    CloneInserted,
    CoreCloned,
    BaseHasTwin,
    BlockMoved,
    BlocksSwapped,
    HunksReordered,
    Mixed,
    PartlyApplied,
    WhollyApplied,
    AppliedThenDrifted,
    CoreEdited,
    CoreDeleted,
    TwinsCoreEdited,
}

pub const KINDS: [Kind; 21] = [
    Kind::LinesShifted,
    Kind::ContextEdited,
    Kind::ContextEditedMore,
    Kind::TrailingSpace,
    Kind::TabsAndSpaces,
    Kind::Indented,
    Kind::LineEndings,
    Kind::Punctuation,
    Kind::CloneInserted,
    Kind::CoreCloned,
    Kind::BaseHasTwin,
    Kind::BlockMoved,
    Kind::BlocksSwapped,
    Kind::HunksReordered,
    Kind::Mixed,
    Kind::PartlyApplied,
    Kind::WhollyApplied,
    Kind::AppliedThenDrifted,
    Kind::CoreEdited,
    Kind::CoreDeleted,
    Kind::TwinsCoreEdited,
];

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::LinesShifted => "lines shifted",
            Self::ContextEdited => "one context line edited",
            Self::ContextEditedMore => "several context lines edited",
            Self::TrailingSpace => "trailing space",
            Self::TabsAndSpaces => "tabs for spaces",
            Self::Indented => "indented",
            Self::LineEndings => "line endings",
            Self::Punctuation => "Unicode punctuation",
            Self::CloneInserted => "clone of the block inserted",
            Self::CoreCloned => "clone of its core inserted",
            Self::BaseHasTwin => "the base has a twin block",
            Self::BlockMoved => "block moved",
            Self::BlocksSwapped => "blocks swapped",
            Self::HunksReordered => "hunks in another order",
            Self::Mixed => "several of these",
            Self::PartlyApplied => "partly applied",
            Self::WhollyApplied => "wholly applied",
            Self::AppliedThenDrifted => "wholly applied, then drifted",
            Self::CoreEdited => "conflict: the lines edited",
            Self::CoreDeleted => "conflict: the lines deleted",
            Self::TwinsCoreEdited => "conflict: edited, a twin stands",
        }
    }

    pub fn wants_twin(self) -> bool {
        matches!(self, Self::BaseHasTwin | Self::TwinsCoreEdited)
    }

    /// How many changes the edit has, at least and at most.
    pub fn changes(self) -> (usize, usize) {
        match self {
            Self::PartlyApplied | Self::HunksReordered => (2, 4),
            Self::BlocksSwapped => (2, 2),
            Self::WhollyApplied | Self::AppliedThenDrifted | Self::LinesShifted | Self::LineEndings => (1, 3),
            _ => (1, 1),
        }
    }
}
