/**
 * Checks a person's ledger: Merkle proofs (RFC 6962), signed checkpoints and proofs (C2SP), and whole bundles.
 *
 * An ES module without dependencies: it needs WebCrypto with Ed25519, as browsers and Node have it. It comes to the same findings, with the same exit
 * statuses, as `broker verify`; tests/vectors/ledger.json holds both to that.
 */

export const OK = 0;
export const SIGNATURE = 10;
export const INCLUSION = 11;
export const FORK = 12;
export const ORDER = 13;
export const RESTORED = 14;
export const UNREADABLE = 15;
/** Of several findings the first of these counts. */
export const WORST_FIRST = [UNREADABLE, SIGNATURE, FORK, INCLUSION, ORDER, RESTORED];

const HASH_BYTES = 32;
const MOST_NOTE = 64 * 1024;
const MOST_LINE = 1024 * 1024;
const MOST_MANIFEST = 1024 * 1024;
const FORMAT = "proffer-ledger-bundle";
const PROOF = "c2sp.org/tlog-proof@v1";
const KEY_NAME = /^[^\s+]+$/u;
const LOG = /^[A-Za-z0-9_-]{22}$/;
const NUMBER = /^(?:0|[1-9][0-9]{0,14})$/;
// Whatever stands in a note is text and newlines.
// eslint-disable-next-line no-control-regex
const CONTROL = /[\x00-\x09\x0b-\x1f]/;
const encoder = new TextEncoder();
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A finding: its exit status, and a sentence. */
export class Wrong extends Error {
  constructor(code, sentence) {
    super(sentence);
    this.code = code;
  }
}

const unreadable = (sentence) => new Wrong(UNREADABLE, sentence);

function join(...parts) {
  const joined = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

const equal = (one, other) => one.length === other.length && one.every((byte, at) => byte === other[at]);
const hex = (raw) => Array.from(raw, (byte) => byte.toString(16).padStart(2, "0")).join("");
const b64 = (raw) => btoa(Array.from(raw, (byte) => String.fromCharCode(byte)).join(""));
const b64url = (raw) => b64(raw).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");

/** The bytes of standard base64, in its one way of writing. */
function unb64(text, what) {
  let raw;
  try {
    raw = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    throw unreadable(`${what} is not written in base64.`);
  }
  if (b64(raw) !== text) throw unreadable(`${what} is not written in base64.`);
  return raw;
}

const sha256 = async (raw) => new Uint8Array(await crypto.subtle.digest("SHA-256", raw));

/** `SHA-256(0x00 || body)` (RFC 6962 section 2.1). */
export const leafHash = (body) => sha256(join(Uint8Array.of(0), body));

/** `SHA-256(0x01 || left || right)` (RFC 6962 section 2.1). */
export const nodeHash = (left, right) => sha256(join(Uint8Array.of(1), left, right));

const emptyRoot = () => sha256(new Uint8Array());

/** A tree that only grows: the roots of its complete subtrees, largest first. */
export class Tree {
  size = 0;
  #peaks = [];

  async grow(leaf) {
    let joined = leaf;
    for (let size = this.size; size % 2 === 1; size = Math.floor(size / 2)) joined = await nodeHash(this.#peaks.pop(), joined);
    this.#peaks.push(joined);
    this.size += 1;
  }

  async root() {
    if (this.#peaks.length === 0) return emptyRoot();
    let joined = this.#peaks.at(-1);
    for (const peak of this.#peaks.slice(0, -1).reverse()) joined = await nodeHash(peak, joined);
    return joined;
  }
}

const half = (number) => Math.floor(number / 2);
const odd = (number) => number % 2 === 1;
const whole = (hashes) => hashes.every((each) => each.length === HASH_BYTES);

/** Whether `proof` shows that the leaf at `index` is in the tree of `size` leaves (RFC 9162 section 2.1.3.2). */
export async function verifyInclusion(index, size, leaf, proof, root) {
  if (!(index >= 0 && index < size) || !whole([leaf, root, ...proof])) return false;
  let [fn, sn, joined] = [index, size - 1, leaf];
  for (const each of proof) {
    if (sn === 0) return false;
    if (odd(fn) || fn === sn) {
      joined = await nodeHash(each, joined);
      while (fn > 0 && !odd(fn)) [fn, sn] = [half(fn), half(sn)];
    } else {
      joined = await nodeHash(joined, each);
    }
    [fn, sn] = [half(fn), half(sn)];
  }
  return sn === 0 && equal(joined, root);
}

/** Whether `proof` shows that the tree of `size1` leaves is the beginning of that of `size2` (RFC 9162 section 2.1.4.2). */
export async function verifyConsistency(size1, size2, root1, root2, proof) {
  if (!(size1 > 0 && size1 <= size2) || (proof.length > 0 && !whole([root1, root2, ...proof]))) return false;
  let [fn, sn, tn] = [0, size1 - 1, size2 - 1];
  while (fn !== sn && (sn === tn || odd(sn))) [fn, sn, tn] = [half(fn), half(sn), half(tn)];
  const rest = [...proof];
  if (fn !== sn && rest.length === 0) return false;
  let first = fn === sn ? root1 : rest.shift();
  let second = first;
  for (const each of rest) {
    if (tn === 0) return false;
    if (odd(sn) || sn === tn) {
      if (fn < sn) first = await nodeHash(each, first);
      second = await nodeHash(each, second);
      while (sn > 0 && !odd(sn)) [fn, sn, tn] = [half(fn), half(sn), half(tn)];
    } else {
      second = await nodeHash(second, each);
    }
    [fn, sn, tn] = [half(fn), half(sn), half(tn)];
  }
  return tn === 0 && equal(first, root1) && equal(second, root2);
}

/** The public key of one log; `text` is its line `name+<8 hex of the key id>+base64(0x01 || public key)`. */
export async function readKey(text) {
  const [name, shown, ...more] = text.trim().split("+");
  const raw = unb64(more.join("+"), "The key");
  const good = KEY_NAME.test(name ?? "") && raw.length === 1 + HASH_BYTES && raw[0] === 1;
  const id = good ? (await sha256(join(encoder.encode(`${name}\n`), raw))).slice(0, 4) : new Uint8Array();
  if (!good || hex(id) !== shown) throw unreadable("This is no key of a ledger. Copy the whole line, from the log's name to its end.");
  return { name, id, public: await crypto.subtle.importKey("raw", raw.slice(1), { name: "Ed25519" }, false, ["verify"]) };
}

/** A signed note's text, and its signatures; nothing of it is trusted yet. */
function readNote(note) {
  const wrong = unreadable("A checkpoint is not in the form of a signed note.");
  let text;
  try {
    text = note.length <= MOST_NOTE ? strict.decode(note) : "";
  } catch {
    throw wrong;
  }
  const at = text.lastIndexOf("\n\n");
  const lines = text.slice(at + 2);
  if (at < 0 || !lines.endsWith("\n") || CONTROL.test(text)) throw wrong;
  const signatures = lines.slice(0, -1).split("\n").map((line) => {
    const [dash, name = "", ...rest] = line.split(" ");
    const raw = unb64(rest.join(" "), "A signature");
    if (dash !== "\u2014" || !KEY_NAME.test(name) || raw.length <= 4) throw wrong;
    return { name, id: raw.slice(0, 4), signature: raw.slice(4) };
  });
  return { text: text.slice(0, at + 1), signatures };
}

/** The checkpoint in a note (bytes) that `key` signed: `{origin, size, root}`; signatures of other keys are passed over. */
export async function openCheckpoint(note, key) {
  const { text, signatures } = readNote(note);
  const mine = signatures.filter((each) => each.name === key.name && equal(each.id, key.id));
  const held = await Promise.all(mine.map((each) => crypto.subtle.verify("Ed25519", key.public, each.signature, encoder.encode(text))));
  if (mine.length === 0 || !held.every(Boolean)) throw new Wrong(SIGNATURE, "A checkpoint is not signed by the key of its log.");
  const said = readCheckpoint(text);
  if (said.origin !== key.name) throw new Wrong(SIGNATURE, "A checkpoint is of another log than its key.");
  return said;
}

/** What a note's text says, whoever signed it: `{origin, size, root}`. */
function readCheckpoint(text) {
  const lines = text.slice(0, -1).split("\n");
  if (lines.length < 3 || !lines.every(Boolean) || !NUMBER.test(lines[1])) throw unreadable("A checkpoint does not say its log, size and root.");
  const root = unb64(lines[2], "A root");
  if (root.length !== HASH_BYTES) throw unreadable("A root has not 32 bytes.");
  return { origin: lines[0], size: Number(lines[1]), root };
}

/** A proof from its file (bytes): `{index, hashes, checkpoint}`. */
export function readProof(raw) {
  const wrong = unreadable("A proof is not in the form of a tlog-proof.");
  const text = Array.from(raw, (byte) => String.fromCharCode(byte)).join("");
  const at = text.indexOf("\n\n");
  const [first, ...lines] = (at < 0 ? text : text.slice(0, at)).split("\n");
  if (lines[0]?.startsWith("extra ")) unb64(lines.shift().slice("extra ".length), "The extra of a proof");
  const [word, ...number] = (lines.shift() ?? "").split(" ");
  if (first !== PROOF || word !== "index" || !NUMBER.test(number.join(" ")) || at < 0) throw wrong;
  return { index: Number(number.join(" ")), hashes: lines.map((line) => unb64(line, "A hash")), checkpoint: raw.slice(at + 2) };
}

/** Whether the proof in a file (bytes) shows that an entry (its leaf hash) is in a tree that `key` signed; throws `Wrong` where it does not. */
export async function checkProof(raw, leaf, key) {
  const proof = readProof(raw);
  const signed = await openCheckpoint(proof.checkpoint, key);
  const holds = await verifyInclusion(proof.index, signed.size, leaf, proof.hashes, signed.root);
  if (!holds) throw new Wrong(INCLUSION, `Entry ${proof.index} is not in the tree that was signed.`);
}

/**
 * Everything that a bundle claims.
 *
 * `files` maps names to bytes, `keys` are the lines of the keys that the reader trusts (without any, those that the bundle names), `since` are notes
 * (bytes) that the reader kept from before. Returns `{code, trusted, findings, logs}`.
 */
export async function checkBundle(files, keys = [], since = []) {
  const report = { trusted: keys.length > 0, findings: [], logs: [] };
  const closed = new Map();
  try {
    const trusted = await Promise.all(keys.map(readKey));
    const logs = readManifest(files);
    const used = trusted.length > 0 ? trusted : await Promise.all(logs.map((log) => readKey(words(log.key))));
    const named = new Map(used.map((key) => [key.name, key]));
    const held = [];
    for (const note of since) held.push(await openHeld(note, named));
    for (const log of logs) await checkLog(files, log, named, held, report, closed);
    const here = new Set(report.logs.map((log) => log.origin));
    for (const each of held) if (!here.has(each.origin)) report.findings.push(ofAnother(each, closed));
  } catch (wrong) {
    if (!(wrong instanceof Wrong)) throw wrong;
    report.findings.push(wrong);
  }
  report.code = WORST_FIRST.find((code) => report.findings.some((each) => each.code === code)) ?? OK;
  return report;
}

const words = (value) => (typeof value === "string" ? value : "");
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

function file(files, name, most) {
  const raw = files.get(name);
  if (raw === undefined) throw unreadable(`The bundle holds no ${name}.`);
  if (raw.length > most) throw unreadable(`${name} is too large.`);
  return raw;
}

function json(raw, sentence) {
  try {
    return JSON.parse(strict.decode(raw));
  } catch {
    throw unreadable(sentence);
  }
}

function readManifest(files) {
  const found = json(file(files, "manifest.json", MOST_MANIFEST), "manifest.json is not JSON.");
  const logs = isObject(found) && found.format === FORMAT && found.v === 1 ? found.logs : undefined;
  if (!Array.isArray(logs) || logs.length === 0 || !logs.every((log) => isObject(log) && LOG.test(words(log.log)))) {
    throw unreadable("manifest.json is not that of a ledger's bundle.");
  }
  if (new Set(logs.map((log) => log.log)).size !== logs.length) throw unreadable("manifest.json names a log twice.");
  return logs;
}

async function openHeld(note, named) {
  const said = readCheckpoint(readNote(note).text);
  // One of a log that a restore closed is signed by a key that nobody has any more: what it says is compared with what the next log says of that one.
  return named.has(said.origin) ? openCheckpoint(note, named.get(said.origin)) : said;
}

/** What a checkpoint shows that is of none of the logs here: of one that was closed, or of a strange one. */
function ofAnother(held, closed) {
  const { at, said } = closed.get(held.origin.slice(held.origin.lastIndexOf("/") + 1)) ?? {};
  if (!isObject(said) || !Number.isInteger(said.size)) {
    return new Wrong(FORK, "The checkpoint you kept is of a log that is not here, or whose key was not given.");
  }
  const more = Number.isInteger(said.signed) && held.size > Math.max(said.signed, said.size);
  if (more || (held.size === said.size && b64url(held.root) !== said.root)) {
    return new Wrong(FORK, `The checkpoint you kept is of a log that was closed on ${at.slice(0, 10)}, and does not fit what is said of it.`);
  }
  return new Wrong(RESTORED, `The checkpoint you kept is of a log that was closed on ${at.slice(0, 10)}, when a backup was put back. It shows nothing about later entries.`);
}

async function checkLog(files, told, named, everyHeld, report, closed) {
  const line = { log: told.log, origin: words(told.origin), entries: 0, erased: 0, size: 0, root: "" };
  report.logs.push(line);
  const key = named.get(line.origin);
  if (key === undefined || !key.name.endsWith(`/${told.log}`)) throw new Wrong(SIGNATURE, `No key was given for the log ${told.log}.`);
  const isPart = Array.isArray(told.entries) && told.entries.length > 0 && told.entries.every(Number.isInteger);
  if (told.entries !== "all" && !isPart) throw unreadable("manifest.json does not say which entries are here.");
  const note = file(files, `${told.log}/checkpoint`, MOST_NOTE);
  const checkpoint = await openCheckpoint(note, key);
  const held = everyHeld.filter((each) => each.origin === key.name);
  const log = { name: told.log, note, checkpoint, held, part: isPart ? told.entries : undefined, leaves: new Map(), erased: 0, restored: "", closed };
  Object.assign(line, { size: checkpoint.size, root: b64(checkpoint.root) });
  try {
    await (isPart ? checkSome : checkWhole)(files, log, report);
    await checkProofs(files, log);
  } finally {
    Object.assign(line, { entries: log.leaves.size, erased: log.erased });
    for (const each of held) {
      if (each.size > checkpoint.size) report.findings.push(new Wrong(FORK, `You hold a checkpoint over ${each.size} entries, and this one has fewer: some were taken back.`));
    }
  }
  if (log.restored) report.findings.push(new Wrong(RESTORED, `A backup was put back on ${log.restored.slice(0, 10)}. What happened between the backup and that day is not here.`));
}

/** Each entry's leaf hash and its members; of an erased one only `seq` and `leaf` are left. */
async function* lines(files, log) {
  const raw = file(files, `${log.name}/entries.jsonl`, Infinity);
  for (let start = 0; start < raw.length; ) {
    const end = raw.indexOf(10, start);
    if (end < 0 || end - start >= MOST_LINE) throw unreadable(`${log.name}/entries.jsonl was cut short, or has a line that is too long.`);
    const line = raw.slice(start, end);
    const entry = json(line, `A line of the entries, after ${log.leaves.size} that can be read, is not JSON.`);
    if (!isObject(entry)) throw unreadable("A line of the entries is not an object.");
    let leaf;
    if (Object.keys(entry).sort().join() === "leaf,seq") {
      log.erased += 1;
      leaf = unb64(words(entry.leaf), "The hash of an erased entry");
      if (leaf.length !== HASH_BYTES) throw unreadable("The hash of an erased entry has not 32 bytes.");
    } else {
      leaf = await leafHash(line);
    }
    yield [leaf, entry];
    start = end + 1;
  }
}

async function checkWhole(files, log, report) {
  const tree = new Tree();
  const roots = new Map(log.held.map((each) => [each.size, undefined]));
  roots.set(0, await emptyRoot());
  for await (const [leaf, entry] of lines(files, log)) {
    const seq = tree.size;
    if (entry.seq !== seq) throw new Wrong(ORDER, `Entry ${seq} is missing: another one stands in its place.`);
    if ("prev" in entry || "v" in entry) {
      const follows = entry.prev === b64url(await tree.root()) && entry.log === log.name;
      if (!follows && !report.findings.some((each) => each.code === ORDER)) {
        report.findings.push(new Wrong(ORDER, `Entry ${seq} does not follow from the entries before it.`));
      }
      if (seq === 0 && entry.act === "restored") {
        log.restored = words(entry.at);
        for (const each of Array.isArray(entry.before) ? entry.before : []) if (isObject(each)) log.closed.set(words(each.log), { at: log.restored, said: each });
      }
    }
    log.leaves.set(seq, leaf);
    await tree.grow(leaf);
    if (roots.has(tree.size)) roots.set(tree.size, await tree.root());
  }
  if (tree.size !== log.checkpoint.size) throw new Wrong(ORDER, `${log.checkpoint.size} entries were signed, and ${tree.size} are here.`);
  if (!equal(await tree.root(), log.checkpoint.root)) throw new Wrong(INCLUSION, "The entries are not those that were signed: one was altered.");
  for (const each of log.held) {
    if (each.size <= tree.size && !equal(roots.get(each.size), each.root)) {
      report.findings.push(new Wrong(FORK, `Your checkpoint over the first ${each.size} entries has another root: what came before it was changed since.`));
    }
  }
}

async function checkSome(files, log, report) {
  for await (const [leaf, entry] of lines(files, log)) {
    if (!log.part.includes(entry.seq) || log.leaves.has(entry.seq) || (entry.log ?? log.name) !== log.name) {
      throw new Wrong(ORDER, "An entry is here that was not announced.");
    }
    log.leaves.set(entry.seq, leaf);
  }
  for (const seq of log.part) {
    if (!log.leaves.has(seq)) throw new Wrong(ORDER, `Entry ${seq} is missing.`);
    if (!files.has(`${log.name}/proofs/${seq}.tlog-proof`)) throw new Wrong(INCLUSION, `Entry ${seq} has no proof.`);
  }
  for (const each of log.held) {
    if (each.size === log.checkpoint.size && !equal(each.root, log.checkpoint.root)) {
      report.findings.push(new Wrong(FORK, "Your checkpoint has as many entries and another root: there are two ledgers."));
    } else if (each.size < log.checkpoint.size) {
      throw unreadable("A bundle of single entries cannot be compared with an older checkpoint. Take the bundle of the whole ledger.");
    }
  }
}

async function checkProofs(files, log) {
  const start = `${log.name}/proofs/`;
  for (const [name, raw] of files) {
    if (!name.startsWith(start)) continue;
    if (raw.length > MOST_NOTE) throw unreadable(`${name} is too large.`);
    const proof = readProof(raw);
    const fits = name === `${start}${proof.index}.tlog-proof` && equal(proof.checkpoint, log.note) && log.leaves.has(proof.index);
    if (!fits) throw new Wrong(INCLUSION, `The proof ${name} is of another entry or another checkpoint.`);
    const holds = await verifyInclusion(proof.index, log.checkpoint.size, log.leaves.get(proof.index), proof.hashes, log.checkpoint.root);
    if (!holds) throw new Wrong(INCLUSION, `Entry ${proof.index} is not in the tree that was signed.`);
  }
}
