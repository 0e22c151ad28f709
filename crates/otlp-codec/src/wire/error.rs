//! What can be wrong with protobuf bytes, and where.

/// Bytes that are not the protobuf message they were read as.
///
/// Sending the same bytes again fails again: the answer to the client is a permanent one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to decode {message} at byte {offset}: {problem}")]
pub struct DecodeError {
    message: &'static str,
    offset: usize,
    problem: Problem,
}

impl DecodeError {
    pub(crate) fn new(message: &'static str, offset: usize, problem: Problem) -> Self {
        Self { message, offset, problem }
    }

    /// Returns how many bytes of the input precede the malformed part.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }
}

/// The reasons, each with what it needs to be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    #[error("the input ends in the middle of a value")]
    Truncated,
    #[error("a length of {0} bytes runs past the end of the message")]
    LengthPastEnd(u64),
    #[error("a varint is longer than 64 bits")]
    VarintTooLong,
    #[error("field number {0} is not between 1 and 536870911")]
    InvalidFieldNumber(u64),
    #[error("wire type {0} does not exist")]
    UnknownWireType(u8),
    #[error("field {0} has the wire type of another kind of field")]
    WrongWireType(u32),
    #[error("the end of group {0} without its begin")]
    UnopenedGroup(u32),
    #[error("messages are nested too deep")]
    TooDeep,
    #[error(
        "its parts would take more than {0} bytes: send fewer traces in one request, or smaller resources"
    )]
    TooManyParts(usize),
}
