// Runs every vector of tests/vectors/ledger.json through the JavaScript verifier, and prints what it found: one JSON list for each kind.
import { readFile } from "node:fs/promises";

const [verifier, vectors] = process.argv.slice(2);
const ledger = await import(verifier);
const cases = JSON.parse(await readFile(vectors, "utf-8"));
const unb64 = (text) => Uint8Array.from(Buffer.from(text, "base64"));
const bytes = (text) => new TextEncoder().encode(text);

async function codeOf(work) {
  try {
    return { code: 0, ...(await work()) };
  } catch (wrong) {
    if (!(wrong instanceof ledger.Wrong)) throw wrong;
    return { code: wrong.code };
  }
}

const found = { inclusion: [], consistency: [], notes: [], proofs: [], bundles: [] };
for (const each of cases.inclusion) {
  found.inclusion.push(await ledger.verifyInclusion(each.index, each.size, unb64(each.leaf), each.proof.map(unb64), unb64(each.root)));
}
for (const each of cases.consistency) {
  found.consistency.push(await ledger.verifyConsistency(each.size1, each.size2, unb64(each.root1), unb64(each.root2), each.proof.map(unb64)));
}
for (const each of cases.notes) {
  found.notes.push(
    await codeOf(async () => {
      const signed = await ledger.openCheckpoint(bytes(each.note), await ledger.readKey(each.key));
      return { origin: signed.origin, size: signed.size, root: Buffer.from(signed.root).toString("base64") };
    }),
  );
}
for (const each of cases.proofs) {
  found.proofs.push(await codeOf(async () => ledger.checkProof(bytes(each.proof), unb64(each.leaf), await ledger.readKey(each.key))));
}
for (const each of cases.bundles) {
  const files = new Map(Object.entries(each.files).map(([name, raw]) => [name, unb64(raw)]));
  const report = await ledger.checkBundle(files, each.keys, each.since.map(bytes));
  found.bundles.push({ code: report.code, findings: report.findings.map((finding) => finding.code), logs: report.logs });
}
process.stdout.write(JSON.stringify(found));
