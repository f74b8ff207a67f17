//! The one place of each hunk without an index of the file. Of each hunk one window of bytes is known for every remainder
//! by the window's length: wherever the hunk stands, one of them begins at a multiple of it. So of the file only the
//! windows at multiples are looked at.

use crate::hunks::{HunkLines, to_u32};

/// Bytes of a window, and from one that is looked at to the next. Fewer stand in many lines of one file, as `).unwrap();`
/// and the indentation below it do.
const WINDOW: usize = 32;
/// The same for hunks in which a window does not fit at every remainder.
const WINDOW_SMALL: usize = 16;
/// A window in so many bytes tells which are common; a prime, so as not to fall into step with the file's lines.
const SAMPLE_BYTES: usize = 257;

/// The byte at which each hunk's `old` begins. None unless each stands once and no `new` stands anywhere, and also where
/// that is not quickly told: hunks that are short or look alike, much repetition.
pub(super) fn only_places(text: &str, hunks: &[HunkLines<'_>]) -> Option<Vec<usize>> {
    match hunks.iter().map(|hunk| region(hunk).bytes.len()).min()? {
        room if room >= enough(WINDOW) => by_windows::<WINDOW>(text.as_bytes(), hunks),
        room if room >= enough(WINDOW_SMALL) => by_windows::<WINDOW_SMALL>(text.as_bytes(), hunks),
        _ => None,
    }
}

/// So many bytes hold a window at every remainder.
fn enough(window: usize) -> usize {
    2 * window - 1
}

fn by_windows<const N: usize>(bytes: &[u8], hunks: &[HunkLines<'_>]) -> Option<Vec<usize>> {
    let common = sample::<N>(bytes);
    let mut windows = Windows::with_room(N * hunks.len());
    for (hunk, lines) in hunks.iter().enumerate() {
        windows.add::<N>(hunk, &region(lines), &common)?;
    }
    let mut places: Vec<Option<usize>> = vec![None; hunks.len()];
    let mut compared_left =
        4 * (bytes.len() + hunks.iter().map(|hunk| hunk.old.text().len()).sum::<usize>()) + 4_096;
    let (looked_at, _) = bytes.as_chunks::<N>();
    for (number, window) in looked_at.iter().enumerate() {
        let hash = hash(window);
        if !windows.seen.has(hash) {
            continue;
        }
        let Ok(window) = windows.find(hash) else { continue };
        let (hunk, place) = (hunks.get(window.hunk as usize)?, places.get_mut(window.hunk as usize)?);
        let mut stands = |run: &str, above: u32| {
            let start = (number * N).checked_sub(above as usize);
            let start = start.filter(|start| *start == 0 || bytes.get(start - 1) == Some(&b'\n'));
            let Some(start) = start else { return Some(None) };
            compared_left = compared_left.checked_sub(run.len())?;
            let stands = bytes.get(start..).is_some_and(|below| below.starts_with(run.as_bytes()));
            Some(stands.then_some(start))
        };
        let new_stands = stands(hunk.new.text(), window.in_new)?.is_some();
        let start = stands(hunk.old.text(), window.in_old)?;
        if new_stands || start.is_some_and(|start| place.replace(start).is_some()) {
            return None;
        }
    }
    places.into_iter().collect()
}

/// Windows here and there in the file: what stands in many places is likely among them.
fn sample<const N: usize>(bytes: &[u8]) -> Hashes {
    let mut sample = Hashes::with_room(bytes.len() / SAMPLE_BYTES + 1);
    bytes
        .chunks(SAMPLE_BYTES)
        .filter_map(<[u8]>::first_chunk::<N>)
        .for_each(|window| sample.add(hash(window)));
    sample
}

/// Context that windows are taken from, and where it begins in the hunk's `old` and its `new`.
struct Region<'hunk> {
    bytes: &'hunk [u8],
    in_old: usize,
    in_new: usize,
}

/// The longer side of the context: its windows are those of `old` and `new` at once.
fn region<'hunk>(hunk: &HunkLines<'hunk>) -> Region<'hunk> {
    let (old, new) = (hunk.old.text().as_bytes(), hunk.new.text().as_bytes());
    let (above, below) = context(hunk);
    let (in_old, in_new) = if above >= below { (0, 0) } else { (old.len() - below, new.len() - below) };
    let bytes = old.get(in_old..in_old + above.max(below)).unwrap_or_default();
    Region { bytes, in_old, in_new }
}

/// Bytes of context above and below.
fn context(hunk: &HunkLines<'_>) -> (usize, usize) {
    let below = hunk.old.offset(hunk.old.len() - hunk.after);
    (hunk.old.offset(hunk.before), hunk.old.text().len() - below)
}

/// A stretch of bytes by its hash, and how far into a hunk's `old` and `new` it begins, where it is context.
struct Window {
    hash: u64,
    hunk: u32,
    in_old: u32,
    in_new: u32,
}

struct Windows {
    all: Vec<Window>,
    /// Numbers of windows by their hash; a power of two of them.
    slots: Vec<u32>,
    /// Almost all of a file is passed over by these alone.
    seen: Hashes,
}

const FREE: u32 = u32::MAX;

impl Windows {
    fn with_room(windows: usize) -> Self {
        let slots = (4 * windows).next_power_of_two();
        Self { all: Vec::with_capacity(windows), slots: vec![FREE; slots], seen: Hashes::with_room(windows) }
    }

    /// The window with this hash, or the slot that it would have.
    fn find(&self, hash: u64) -> Result<&Window, usize> {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            match self.slots.get(at).and_then(|number| self.all.get(*number as usize)) {
                Some(window) if window.hash == hash => return Ok(window),
                Some(_) => at = (at + 1) & mask,
                None => return Err(at),
            }
        }
    }

    /// One window for each remainder by its length, a rare one if there is any. None where another hunk has all of them.
    fn add<const N: usize>(&mut self, hunk: usize, region: &Region<'_>, common: &Hashes) -> Option<()> {
        for remainder in 0..N {
            let mut chosen = None;
            let mut above = remainder;
            while let Some(window) = region.bytes.get(above..).and_then(<[u8]>::first_chunk::<N>) {
                let hash = hash(window);
                let is_rare = !common.has(hash);
                if (is_rare || chosen.is_none())
                    && let Err(slot) = self.find(hash)
                {
                    chosen = Some((above, hash, slot));
                }
                if is_rare && chosen.is_some() {
                    break;
                }
                above += N;
            }
            let (above, hash, slot) = chosen?;
            *self.slots.get_mut(slot)? = to_u32(self.all.len());
            self.seen.add(hash);
            let (in_old, in_new) = (to_u32(region.in_old + above), to_u32(region.in_new + above));
            self.all.push(Window { hash, hunk: to_u32(hunk), in_old, in_new });
        }
        Some(())
    }
}

/// A set of hashes in which some that were never added seem to be.
struct Hashes(Vec<u64>);

impl Hashes {
    /// A bit in 64 is set when it is full.
    fn with_room(hashes: usize) -> Self {
        Self(vec![0; hashes.next_power_of_two()])
    }

    #[inline]
    fn bit(&self, hash: u64) -> (usize, u64) {
        ((hash >> 6) as usize & (self.0.len() - 1), 1 << (hash & 63))
    }

    #[inline]
    fn has(&self, hash: u64) -> bool {
        let (word, bit) = self.bit(hash);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    fn add(&mut self, hash: u64) {
        let (word, bit) = self.bit(hash);
        if let Some(word) = self.0.get_mut(word) {
            *word |= bit;
        }
    }
}

/// Quick rather than good, with one product: a window is compared before it counts.
#[inline]
fn hash<const N: usize>(window: &[u8; N]) -> u64 {
    let (words, _) = window.as_chunks::<8>();
    let sum =
        words.iter().fold(0_u64, |sum, word| sum.rotate_left(19).wrapping_add(u64::from_le_bytes(*word)));
    (sum ^ sum >> 29).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20
}
