// What oidc-provider takes from a newer Node than Debian has, in the words of the standard library: `URL.parse` and `crypto.hash`.
import * as crypto from 'node:crypto'
import { register } from 'node:module'

URL.parse ??= (text, base) => (URL.canParse(text, base) ? new URL(text, base) : null)

if (!crypto.hash) {
  // A module's exports cannot be added to, so whoever asks for node:crypto by `import *` is given one that has it.
  const whole = `
    export * from 'node:crypto?whole'
    import { createHash } from 'node:crypto?whole'
    export const hash = (name, data, encoding = 'hex') => createHash(name).update(data).digest(encoding)`
  const hooks = `
    export const resolve = (name, context, next) =>
      name === 'node:crypto?whole' ? next('node:crypto', context)
      : name === 'node:crypto' && context.parentURL?.includes('/oidc-provider/') ? { url: ${JSON.stringify('data:text/javascript,' + encodeURIComponent(whole))}, shortCircuit: true }
      : next(name, context)`
  register('data:text/javascript,' + encodeURIComponent(hooks))
}
