//! Why a transaction was not committed, and what that says about the ledger.

use rusqlite::ErrorCode;

use super::{StoreError, open};

/// Why a transaction was not committed.
pub(super) enum Fault {
    NotOpen,
    /// The file is not what it was, and must not be written.
    Refused(StoreError),
    Sqlite(rusqlite::Error),
    /// The commit itself failed: it may be on disk, or in part.
    Commit(rusqlite::Error),
}

impl Fault {
    /// Whether the fault lies in one operation (a number that does not fit, a rule of the schema) and not in the file or the machine.
    pub(super) fn is_of_one_operation(&self) -> bool {
        match self {
            Self::NotOpen | Self::Refused(_) | Self::Commit(_) => false,
            Self::Sqlite(rusqlite::Error::SqliteFailure(error, _)) => {
                matches!(
                    error.code,
                    ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig | ErrorCode::ParameterOutOfRange
                )
            }
            Self::Sqlite(_) => true,
        }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NotOpen => Self::Unavailable("the file cannot be opened".to_owned()),
            Fault::Refused(error) => error,
            Fault::Sqlite(error) => open::store_error(&error),
            Fault::Commit(error) => match open::store_error(&error) {
                Self::Unavailable(detail) => Self::Doubtful(detail),
                other => other,
            },
        }
    }
}
