//! How a secret's value lies in D1: AES-256-GCM (NIST SP 800-38D) under a key that only the Worker has.
//!
//! The nonce is 96 random bits for each value; a key seals far fewer than the 2^32 values at which that would be too
//! few. Project and name are authenticated along, so that a row that is moved to another project, or under another
//! name, does not open. In Rust rather than WebCrypto: it is the same code here and in the unit tests, it has no await
//! between reading and answering, and its AES is bitsliced, without tables that a neighbour could time.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;
use sha2::Digest as _;
use shared_contracts::ids::ProjectId;

use crate::platform::failure::{Failure, Outcome};
use crate::platform::ids::random;

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
/// Of the hash that names a key: enough to tell a few keys apart, too little to be told a key by.
const KEY_ID_BYTES: usize = 8;

/// The key that seals, and the one before it, which only opens.
pub struct Keys {
    present: Key,
    old: Option<Key>,
}

struct Key {
    id: String,
    cipher: Aes256Gcm,
}

/// A value as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Sealed {
    pub key_id: String,
    pub sealed: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error(
        "it was set under a key that this plane no longer has; set it again, or give that key in SECRETS_KEY_OLD"
    )]
    UnknownKey,
    #[error("what is stored is not what was set for this project and name; set it again")]
    Altered,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not {KEY_BYTES} bytes in base64, such as `openssl rand -base64 {KEY_BYTES}` prints")]
pub struct NotAKey;

impl Key {
    fn parse(text: &str) -> Result<Self, NotAKey> {
        // With either alphabet, and padded or not: people have keys from many programs.
        let standard = text.trim().replace('-', "+").replace('_', "/");
        let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let bytes = GeneralPurpose::new(&alphabet::STANDARD, config).decode(standard).map_err(|_| NotAKey)?;
        let cipher = Aes256Gcm::new_from_slice(&bytes).map_err(|_| NotAKey)?;
        let named =
            sha2::Sha256::new().chain_update(b"patchbay secrets key\0").chain_update(&bytes).finalize();
        let id = named.iter().take(KEY_ID_BYTES).map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { id, cipher })
    }

    fn open(&self, bytes: &[u8], bound_to: &[u8]) -> Option<String> {
        let (nonce, ciphertext) = bytes.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload { msg: ciphertext, aad: bound_to };
        let value = self.cipher.decrypt(&Nonce::from(*nonce), payload).ok()?;
        String::from_utf8(value).ok()
    }
}

impl Keys {
    pub fn parse(present: &str, old: Option<&str>) -> Result<Self, NotAKey> {
        Ok(Self { present: Key::parse(present)?, old: old.map(Key::parse).transpose()? })
    }

    /// What names the old key, if there is one.
    pub fn old_id(&self) -> Option<&str> {
        self.old.as_ref().map(|key| key.id.as_str()).filter(|id| *id != self.present.id)
    }

    pub fn seal(&self, project_id: ProjectId, name: &str, value: &str) -> Outcome<Sealed> {
        let nonce = random::<NONCE_BYTES>()?;
        let bound_to = bound_to(project_id, name);
        let payload = Payload { msg: value.as_bytes(), aad: &bound_to };
        let ciphertext = self.present.cipher.encrypt(&Nonce::from(nonce), payload);
        let ciphertext = ciphertext.map_err(|error| Failure::internal("sealing a secret", error))?;
        let sealed = BASE64_STANDARD.encode([nonce.as_slice(), &ciphertext].concat());
        Ok(Sealed { key_id: self.present.id.clone(), sealed })
    }

    pub fn open(&self, project_id: ProjectId, name: &str, stored: &Sealed) -> Result<String, Unreadable> {
        let keys = [Some(&self.present), self.old.as_ref()];
        let key = keys.into_iter().flatten().find(|key| key.id == stored.key_id);
        let key = key.ok_or(Unreadable::UnknownKey)?;
        let bytes = BASE64_STANDARD.decode(&stored.sealed).map_err(|_| Unreadable::Altered)?;
        key.open(&bytes, &bound_to(project_id, name)).ok_or(Unreadable::Altered)
    }
}

/// An id has no NUL in it, so two pairs never make the same bytes.
fn bound_to(project_id: ProjectId, name: &str) -> Vec<u8> {
    format!("patchbay secret 1\0{project_id}\0{name}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const OTHER: &str = "//////////////////////////////////////////8=";
    const VALUE: &str = "correct horse battery staple ü";

    fn keys(present: &str, old: Option<&str>) -> Keys {
        Keys::parse(present, old).unwrap()
    }

    fn project(n: u128) -> ProjectId {
        ProjectId::new(1, n)
    }

    #[test]
    fn a_value_opens_only_where_it_was_set_and_as_it_was_stored() {
        let keys = keys(KEY, None);
        let stored = keys.seal(project(1), "TOKEN", VALUE).unwrap();
        assert_eq!(keys.open(project(1), "TOKEN", &stored).as_deref(), Ok(VALUE));
        assert_eq!(keys.open(project(2), "TOKEN", &stored), Err(Unreadable::Altered), "another project");
        assert_eq!(keys.open(project(1), "TOKENS", &stored), Err(Unreadable::Altered), "another name");
        let bytes = BASE64_STANDARD.decode(&stored.sealed).unwrap();
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            let changed = Sealed { sealed: BASE64_STANDARD.encode(changed), ..stored.clone() };
            assert_eq!(keys.open(project(1), "TOKEN", &changed), Err(Unreadable::Altered), "byte {index}");
        }
        for cut in [0, 1, NONCE_BYTES, bytes.len() - 1] {
            let short = Sealed { sealed: BASE64_STANDARD.encode(&bytes[..cut]), ..stored.clone() };
            assert_eq!(keys.open(project(1), "TOKEN", &short), Err(Unreadable::Altered));
        }
        let stray = Sealed { sealed: "no base64".into(), ..stored };
        assert_eq!(keys.open(project(1), "TOKEN", &stray), Err(Unreadable::Altered));
    }

    #[test]
    fn keys_are_rotated_by_way_of_the_old_one() {
        let before = keys(KEY, None).seal(project(1), "TOKEN", VALUE).unwrap();
        let rotated = keys(OTHER, Some(KEY));
        assert_eq!(rotated.open(project(1), "TOKEN", &before).as_deref(), Ok(VALUE));
        let after = rotated.seal(project(1), "TOKEN", VALUE).unwrap();
        assert_ne!(after.key_id, before.key_id);
        assert_eq!(rotated.old_id(), Some(before.key_id.as_str()));
        assert_eq!(keys(KEY, Some(KEY)).old_id(), None, "the same key is no old one");
        let done = keys(OTHER, None);
        assert_eq!(done.open(project(1), "TOKEN", &after).as_deref(), Ok(VALUE));
        assert_eq!(done.open(project(1), "TOKEN", &before), Err(Unreadable::UnknownKey));
        // Who says that it was sealed by another key does not make it so.
        let claimed = Sealed { key_id: after.key_id, ..before };
        assert_eq!(done.open(project(1), "TOKEN", &claimed), Err(Unreadable::Altered));
    }

    #[test]
    fn the_same_value_looks_different_each_time() {
        let keys = keys(KEY, None);
        let sealed: std::collections::HashSet<_> =
            (0..50).map(|_| keys.seal(project(1), "TOKEN", VALUE).unwrap().sealed).collect();
        assert_eq!(sealed.len(), 50);
    }

    #[test]
    fn a_key_is_thirty_two_bytes_in_any_base64() {
        let id = |text: &str| keys(text, None).present.id;
        assert_eq!(id(OTHER), id("__________________________________________8"));
        assert_eq!(id(&format!(" {KEY}\n")), id(KEY.trim_end_matches('=')));
        for wrong in ["", "AAEC", "not base64 at all", &KEY[4..], &format!("AAEC{KEY}")] {
            assert!(Keys::parse(wrong, None).is_err(), "{wrong}");
            assert!(Keys::parse(KEY, Some(wrong)).is_err(), "{wrong}");
        }
    }
}
