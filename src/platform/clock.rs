//! The platform's clock; the standard library's panics in WASM.

/// Milliseconds since the Unix epoch. It moves only between events, by design of the platform.
pub fn now_ms() -> u64 {
    worker::Date::now().as_millis()
}
