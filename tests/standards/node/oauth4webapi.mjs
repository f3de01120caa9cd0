// A vendor, or the extension as a public client, by oauth4webapi: from the address of the API alone to a call, a refresh and the end.
import { asked, hear, privateKey, say } from './talk.mjs'

const oauth = await import('oauth4webapi')
const told = await hear()
const loose = { [oauth.allowInsecureRequests]: true }

const resource = new URL(`${told.issuer}/v1`)
const found = await oauth.processResourceDiscoveryResponse(resource, await oauth.resourceDiscoveryRequest(resource, loose))
const issuer = new URL(found.authorization_servers[0])
const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...loose }))

const client = { client_id: told.client_id }
const auth = told.key ? oauth.PrivateKeyJwt({ key: await privateKey(told.key), kid: told.kid }) : oauth.None()
// As an install of the extension has it: nobody can take it out of the browser.
const keys = await oauth.generateKeyPair('ES256', { extractable: false })
const DPoP = oauth.DPoP(client, keys)
const nonces = []
const withNonce = async (request, read) => {
  try {
    return await read(await request())
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error
    nonces.push(error.error ?? 'challenge')
    return read(await request())
  }
}

const verifier = oauth.generateRandomCodeVerifier()
const state = oauth.generateRandomState()
const parameters = new URLSearchParams({
  response_type: 'code',
  redirect_uri: told.redirect_uri,
  code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
  code_challenge_method: 'S256',
  state,
  resource: resource.href,
  ...(told.details ? { authorization_details: JSON.stringify(told.details) } : { scope: 'events:write' }),
})
const options = { DPoP, ...loose }
const pushed = await withNonce(
  () => oauth.pushedAuthorizationRequest(as, client, auth, parameters, options),
  (answer) => oauth.processPushedAuthorizationResponse(as, client, answer),
)
const url = new URL(as.authorization_endpoint)
url.search = new URLSearchParams({ client_id: client.client_id, request_uri: pushed.request_uri })
const { callback } = await asked({ url: url.href })

const answer = oauth.validateAuthResponse(as, client, new URL(callback), state)
const tokens = await withNonce(
  () => oauth.authorizationCodeGrantRequest(as, client, auth, answer, told.redirect_uri, verifier, options),
  (response) => oauth.processAuthorizationCodeResponse(as, client, response),
)
const call = (method, path, token, body) => {
  const headers = new Headers(body ? { 'content-type': 'application/json' } : {})
  return oauth.protectedResourceRequest(token, method, new URL(told.issuer + path), headers, body ?? null, options)
}
let used
if (told.batch) {
  used = await (await call('POST', '/v1/events', tokens.access_token, JSON.stringify(told.batch))).json()
} else {
  used = await (await call('GET', `/v1/grants/${tokens.grant_id}`, tokens.access_token)).json()
}
const fresh = await withNonce(
  () => oauth.refreshTokenGrantRequest(as, client, auth, tokens.refresh_token, options),
  (response) => oauth.processRefreshTokenResponse(as, client, response),
)
await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, auth, fresh.refresh_token, loose))
const refused = await oauth.refreshTokenGrantRequest(as, client, auth, tokens.refresh_token, options)
say({ used, nonces, token_type: tokens.token_type, scope: tokens.scope, refused: (await refused.json()).error })
process.exit(0)
