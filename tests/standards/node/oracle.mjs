// npm oidc-provider as FAPI 2.0 would have it, on loopback and in memory, with a person who signs in and says yes to everything.
import { createServer } from 'node:http'
import './older.mjs'
import { hear, say } from './talk.mjs'

const { default: Provider, errors } = await import('oidc-provider')
// {port, resource, lax, clients: [{client_id, redirect_uri, key}]}; `lax` leaves out what makes it FAPI, as the control of the tests.
const told = await hear()
const algorithms = ['ES256', 'Ed25519', 'PS256']
const types = ['personal_data_access']

// In memory, as its own adapter is, which forgets all but the newest thousand entries, and with them the token that is used.
const entries = new Map()
const grants = new Map()
class Memory {
  constructor(model) {
    this.model = model
  }
  key = (id) => `${this.model}:${id}`
  find = async (id) => entries.get(this.key(id))
  destroy = async (id) => entries.delete(this.key(id))
  consume = async (id) => {
    entries.get(this.key(id)).consumed = Math.floor(Date.now() / 1000)
  }
  findByUid = async (uid) => entries.get(`uid:${uid}`)
  upsert = async (id, payload) => {
    entries.set(this.key(id), payload)
    if (this.model === 'Session') entries.set(`uid:${payload.uid}`, payload)
    if (payload.grantId) grants.set(payload.grantId, (grants.get(payload.grantId) ?? new Set()).add(this.key(id)))
  }
  revokeByGrantId = async (grantId) => {
    for (const key of grants.get(grantId) ?? []) entries.delete(key)
    grants.delete(grantId)
  }
}

const provider = new Provider(`http://localhost:${told.port}`, {
  adapter: Memory,
  clients: told.clients.map((client) => ({
    client_id: client.client_id,
    redirect_uris: [client.redirect_uri],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: { keys: [client.key] },
    dpop_bound_access_tokens: !told.lax,
  })),
  clientAuthMethods: ['private_key_jwt'],
  responseTypes: ['code'],
  enabledJWA: { clientAuthSigningAlgValues: algorithms, dPoPSigningAlgValues: algorithms },
  features: {
    devInteractions: { enabled: false },
    dPoP: { enabled: true, nonceSecret: Buffer.alloc(32, 7), requireNonce: () => !told.lax, allowReplay: told.lax },
    fapi: { enabled: !told.lax, profile: told.lax ? undefined : '2.0' },
    pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: !told.lax },
    revocation: { enabled: true },
    userinfo: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo(_, resource) {
        if (resource !== told.resource) throw new errors.InvalidTarget()
        return { scope: 'read', audience: resource, accessTokenFormat: 'opaque', accessTokenTTL: 300 }
      },
    },
    richAuthorizationRequests: {
      enabled: true,
      types: Object.fromEntries(types.map((type) => [type, { validate() {} }])),
      authorizationDetailsForGrantSource: (_, source) => source.rar,
      authorizationDetailsForAccessToken: (_, token, source) => source.rar,
    },
  },
  pkce: { required: () => !told.lax },
  scopes: ['openid', 'offline_access', 'read'],
  ttl: { AccessToken: 300, AuthorizationCode: 60, Grant: 86_400, IdToken: 300, Interaction: 3600, RefreshToken: 86_400, Session: 86_400 },
  // Both repeat the same refresh token, so that both are asked the same; bound tokens need no rotation (FAPI 2.0, section 5.3.2.1).
  rotateRefreshToken: false,
  issueRefreshToken: () => true,
  findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
  // Every consent makes a grant of its own, as here.
  loadExistingGrant: (ctx) => (ctx.oidc.result?.consent ? provider.Grant.find(ctx.oidc.result.consent.grantId) : undefined),
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  cookies: { keys: ['a key of the tests'] },
})

provider.use(async (ctx, next) => {
  if (!ctx.path.startsWith('/interaction/')) return next()
  const { prompt, params } = await provider.interactionDetails(ctx.req, ctx.res)
  if (prompt.name === 'login') {
    return provider.interactionFinished(ctx.req, ctx.res, { login: { accountId: 'alice' } })
  }
  const grant = new provider.Grant({ accountId: 'alice', clientId: params.client_id })
  grant.addOIDCScope('openid offline_access')
  grant.addResourceScope(told.resource, 'read')
  return provider.interactionFinished(ctx.req, ctx.res, { consent: { grantId: await grant.save() } }, { mergeWithLastSubmission: true })
})
provider.on('server_error', (_, error) => console.error(error))

createServer(provider.callback()).listen(told.port, '127.0.0.1', () => say({ ready: true, lax: told.lax }))
