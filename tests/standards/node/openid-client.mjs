// The whole way of a vendor by openid-client: PAR, private_key_jwt, PKCE, DPoP with nonce, iss, read, refresh, revoke.
import { asked, hear, privateKey, say } from './talk.mjs'

const client = await import('openid-client')
const told = await hear()

const config = await client.discovery(
  new URL(told.issuer),
  told.client_id,
  undefined,
  client.PrivateKeyJwt({ key: await privateKey(told.key), kid: told.kid }),
  { algorithm: 'oauth2', execute: [client.allowInsecureRequests] },
)
const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair('ES256'))
const verifier = client.randomPKCECodeVerifier()
const state = client.randomState()
const url = await client.buildAuthorizationUrlWithPAR(
  config,
  {
    redirect_uri: told.redirect_uri,
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    authorization_details: JSON.stringify(told.details),
  },
  { DPoP },
)
const { callback } = await asked({ url: url.href })
const checks = { pkceCodeVerifier: verifier, expectedState: state }
const tokens = await client.authorizationCodeGrant(config, new URL(callback), checks, undefined, { DPoP })

const call = async (method, path, token, body) => {
  const headers = new Headers(body ? { 'content-type': 'application/json' } : {})
  return client.fetchProtectedResource(config, token, new URL(told.issuer + path), method, body, headers, { DPoP })
}
const grant = await (await call('GET', `/v1/grants/${tokens.grant_id}`, tokens.access_token)).json()
const { signature } = await asked({ payload: grant.agreement.payload })
const signed = await call('PUT', `/v1/grants/${tokens.grant_id}/signature`, tokens.access_token, JSON.stringify(signature))
const page = await (await call('GET', '/v1/events', tokens.access_token)).json()

const fresh = await client.refreshTokenGrant(config, tokens.refresh_token, undefined, { DPoP })
const again = await (await call('GET', '/v1/events', fresh.access_token)).json()
await client.tokenRevocation(config, fresh.refresh_token)
// The library has a class of its own for a refusal with a challenge.
const ended = await call('GET', '/v1/events', fresh.access_token).then(
  (answer) => answer.status,
  (refused) => `${refused.status} ${refused.cause[0].scheme} ${refused.cause[0].parameters.error}`,
)
say({
  token_type: tokens.token_type, scope: tokens.scope, details: tokens.authorization_details, signed: signed.status,
  items: page.items, again: again.items, same_refresh_token: fresh.refresh_token === tokens.refresh_token, ended,
})
process.exit(0)
