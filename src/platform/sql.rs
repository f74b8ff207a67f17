//! A Durable Object's own SQLite: synchronous, and what happens without an await commits together.

use serde::de::{DeserializeOwned, IgnoredAny};
use worker::{SqlStorage, SqlStorageValue};

use super::failure::{Failure, Outcome};

/// A parameter; whole numbers stay below 2^53.
pub fn number(value: u64) -> SqlStorageValue {
    SqlStorageValue::Float(value as f64)
}

/// Parameters by position.
#[macro_export]
macro_rules! sql_args {
    ($($value:expr),* $(,)?) => { vec![$(worker::SqlStorageValue::from($value)),*] };
}

/// What runs statements: the object's storage; in unit tests, SQLite itself.
pub trait Engine {
    fn run(&self, sql: &str, args: Vec<SqlStorageValue>) -> Outcome<()>;
    fn rows<T: DeserializeOwned>(&self, sql: &str, args: Vec<SqlStorageValue>) -> Outcome<Vec<T>>;
}

impl Engine for SqlStorage {
    fn run(&self, sql: &str, args: Vec<SqlStorageValue>) -> Outcome<()> {
        self.exec(sql, args).map(drop).map_err(failed)
    }

    fn rows<T: DeserializeOwned>(&self, sql: &str, args: Vec<SqlStorageValue>) -> Outcome<Vec<T>> {
        self.exec(sql, args).and_then(|cursor| cursor.to_array()).map_err(failed)
    }
}

pub struct Sql<E = SqlStorage>(pub E);

impl<E: Engine> Sql<E> {
    pub fn run(&self, sql: &str, args: Vec<SqlStorageValue>) -> Outcome<()> {
        self.0.run(sql, args)
    }

    pub fn rows<T: DeserializeOwned>(&self, sql: &str, args: Vec<SqlStorageValue>) -> Outcome<Vec<T>> {
        self.0.rows(sql, args)
    }

    pub fn first<T: DeserializeOwned>(&self, sql: &str, args: Vec<SqlStorageValue>) -> Outcome<Option<T>> {
        Ok(self.rows(sql, args)?.into_iter().next())
    }

    /// How many rows a change changed; it must say `RETURNING`.
    pub fn changed(&self, sql: &str, args: Vec<SqlStorageValue>) -> Outcome<usize> {
        Ok(self.rows::<IgnoredAny>(sql, args)?.len())
    }
}

impl Sql {
    /// The first column of the first row as bytes. Rows of blobs do not go through serde, which would copy twice.
    pub fn blob(&self, sql: &str, args: Vec<SqlStorageValue>) -> Outcome<Option<Vec<u8>>> {
        let mut rows = self.0.exec(sql, args).map_err(failed)?.raw();
        match rows.next().transpose().map_err(failed)?.and_then(|row| row.into_iter().next()) {
            Some(SqlStorageValue::Blob(bytes)) => Ok(Some(bytes)),
            _ => Ok(None),
        }
    }
}

fn failed(error: worker::Error) -> Failure {
    Failure::internal("an object's SQLite", error)
}
