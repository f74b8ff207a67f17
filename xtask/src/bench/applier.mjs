// What the engine in workerd is measured beside: search/replace blocks applied in JavaScript, as good appliers for coding
// agents do it. A block is looked for as it stands; else line by line without the white space around each, and then it
// is indented as the file is; else it goes to the window of as many lines that is most alike by edit distance, if that
// is alike enough. `PUT` keeps a file in memory; `POST` with `{ text }` answers where each block went.

const ALIKE_ENOUGH = 0.8;

let file = "";

/** `[search, replacement]` of each block, as lines. */
function blocksOf(text) {
  const blocks = [];
  let search = null;
  let replacement = null;
  for (const line of text.split("\n")) {
    if (line === "<<<<<<< SEARCH") {
      search = [];
    } else if (line === "=======" && search !== null && replacement === null) {
      replacement = [];
    } else if (line === ">>>>>>> REPLACE" && replacement !== null) {
      blocks.push([search, replacement]);
      search = replacement = null;
    } else if (replacement !== null) {
      replacement.push(line);
    } else if (search !== null) {
      search.push(line);
    }
  }
  return blocks;
}

/** The first line of the one place where these lines stand, or -1. */
function placeOf(lines, search) {
  for (let start = 0; start + search.length <= lines.length; start++) {
    let at = 0;
    while (at < search.length && lines[start + at] === search[at]) at++;
    if (at === search.length) return start;
  }
  return -1;
}

const indentation = (line) => line.slice(0, line.length - line.trimStart().length);

/** The replacement moved from the block's indentation to the file's. */
function indented(replacement, search, found) {
  const first = search.findIndex((line) => line.trim() !== "");
  if (first < 0) return replacement;
  const [from, to] = [indentation(search[first]), indentation(found[first])];
  if (from === to) return replacement;
  return replacement.map((line) => (line.startsWith(from) ? to + line.slice(from.length) : line));
}

/** Edit distance of two texts: Myers' bit vectors (1999), 32 rows at a time, in Hyyrö's form for long texts. */
function distance(pattern, text) {
  const blocks = Math.ceil(pattern.length / 32);
  const masks = new Map();
  for (let i = 0; i < pattern.length; i++) {
    const code = pattern.charCodeAt(i);
    let mask = masks.get(code);
    if (mask === undefined) masks.set(code, (mask = new Int32Array(blocks)));
    mask[i >> 5] |= 1 << (i & 31);
  }
  const none = new Int32Array(blocks);
  const positive = new Int32Array(blocks).fill(-1);
  const negative = new Int32Array(blocks);
  const last = 1 << ((pattern.length - 1) & 31);
  let score = pattern.length;
  for (let j = 0; j < text.length; j++) {
    const mask = masks.get(text.charCodeAt(j)) ?? none;
    let carryPositive = 1;
    let carryNegative = 0;
    for (let block = 0; block < blocks; block++) {
      const pv = positive[block];
      const mv = negative[block];
      const eq = mask[block] | carryNegative;
      const xv = mask[block] | mv;
      const xh = (((eq & pv) + pv) ^ pv) | eq;
      let ph = mv | ~(xh | pv);
      let mh = pv & xh;
      if (block === blocks - 1) {
        if (ph & last) score++;
        if (mh & last) score--;
      }
      const outPositive = ph >>> 31;
      const outNegative = mh >>> 31;
      ph = (ph << 1) | carryPositive;
      mh = (mh << 1) | carryNegative;
      positive[block] = mh | ~(xv | ph);
      negative[block] = ph & xv;
      carryPositive = outPositive;
      carryNegative = outNegative;
    }
  }
  return score;
}

/** The first line of the window that is most alike, or -1 where none is alike enough. */
function nearest(lines, search) {
  const wanted = search.join("\n");
  let best = ALIKE_ENOUGH;
  let place = -1;
  for (let start = 0; start + search.length <= lines.length; start++) {
    const window = lines.slice(start, start + search.length).join("\n");
    const longer = Math.max(window.length, wanted.length);
    // Not even if one were the beginning of the other.
    if (Math.min(window.length, wanted.length) <= best * longer) continue;
    const alike = 1 - distance(wanted, window) / longer;
    if (alike > best) [best, place] = [alike, start];
  }
  return place;
}

function apply(text) {
  const lines = file.split("\n");
  const trimmed = lines.map((line) => line.trim());
  const starts = [];
  for (const [search, given] of blocksOf(text)) {
    let replacement = given;
    let start = placeOf(lines, search);
    if (start < 0) {
      start = placeOf(trimmed, search.map((line) => line.trim()));
      if (start < 0) start = nearest(lines, search);
      if (start < 0) return { failed: search.join("\n") };
      replacement = indented(given, search, lines.slice(start, start + search.length));
    }
    lines.splice(start, search.length, ...replacement);
    trimmed.splice(start, search.length, ...replacement.map((line) => line.trim()));
    starts.push(start + 1);
  }
  return { starts, bytes: lines.join("\n").length };
}

export default {
  async fetch(request) {
    if (request.method === "PUT") {
      file = await request.text();
      return new Response(null, { status: 204 });
    }
    const { text } = await request.json();
    return Response.json(apply(text));
  },
};
