// One JSON document a line, to the test and back: what the person's browser does happens there.
import { webcrypto } from 'node:crypto'
import { createInterface } from 'node:readline'

// Node 18 has these, and not where everybody else does.
globalThis.crypto ??= webcrypto
globalThis.CryptoKey ??= webcrypto.CryptoKey
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()

export const hear = async () => JSON.parse((await lines.next()).value)

export function say(told) {
  process.stdout.write(JSON.stringify(told) + '\n')
}

export async function asked(told) {
  say(told)
  return hear()
}

export const privateKey = (jwk) => crypto.subtle.importKey('jwk', jwk, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign'])
