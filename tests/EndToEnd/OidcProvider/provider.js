// An OpenID Connect provider that is none of ours. Usage: node provider.js PORT LOG HUB…; prints "ready" when it listens.
// Version 8 of the package, since it runs on the Node.js 18 of Debian 12.
// Any password will do. The client "hub" gets user info as a signed JWT, as ProConnect gives it; "hub-json" as JSON.
import { appendFileSync } from 'node:fs';
import { Provider } from 'oidc-provider';

const [port, log, ...redirects] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;

const people = {
  agent: { email: 'agent@example.fr', email_verified: true, name: 'Agent du fournisseur' },
  unverified: { email: 'agent@example.fr', email_verified: false },
  visitor: { email: 'visitor@example.fr', email_verified: true },
  claimed: { email: 'claimed@example.fr', email_verified: true, name: 'Rôles du fournisseur', roles: ['epci-agent', 'root'], communes: [] },
  // Come with a token that was made for the question of another browser, and with the user info of another person.
  replayed: { email: 'replayed@example.fr', email_verified: true, roles: ['epci-agent'] },
  mistaken: { email: 'mistaken@example.fr', email_verified: true, roles: ['epci-agent'] },
};

const dashboard = {
  client_secret: 'not-a-secret-but-long-enough',
  grant_types: ['authorization_code'],
  response_types: ['code'],
  redirect_uris: redirects.map((hub) => `${hub}compte/fournisseur/retour`),
  post_logout_redirect_uris: redirects.map((hub) => `${hub}compte/fournisseur/fin`),
};

const provider = new Provider(issuer, {
  clients: [
    { ...dashboard, client_id: 'hub', userinfo_signed_response_alg: 'RS256' },
    { ...dashboard, client_id: 'hub-json' },
    ...['software', 'administration'].map((id) => ({
      client_id: id,
      client_secret: 'not-a-secret-but-long-enough',
      grant_types: ['client_credentials'],
      response_types: [],
      redirect_uris: [],
    })),
  ],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'], rights: ['roles', 'communes'] },
  scopes: ['openid', 'email', 'profile', 'rights'],
  pkce: { required: () => true },
  findAccount: (_, id) => ({ accountId: id, claims: (use) => ({ sub: id === 'mistaken' && use === 'userinfo' ? 'agent' : id, ...people[id] }) }),
  extraTokenClaims: (_, token) =>
    token.kind !== 'ClientCredentials' ? undefined
    : token.clientId === 'software' ? { roles: ['connector', 'epci-agent'], communes: ['35085'] }
    : { roles: ['administrator'] },
  features: {
    devInteractions: { enabled: true },
    clientCredentials: { enabled: true },
    jwtUserinfo: { enabled: true },
    rpInitiatedLogout: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      getResourceServerInfo: (_, resource) => ({ audience: resource.replace('urn:', ''), scope: 'api', accessTokenFormat: 'jwt', accessTokenTTL: 300 }),
    },
  },
  cookies: { keys: ['not-a-secret'] },
});

const { AuthorizationCode } = provider;
const find = AuthorizationCode.find.bind(AuthorizationCode);
AuthorizationCode.find = async (...given) => {
  const code = await find(...given);
  if (code?.accountId === 'replayed') code.nonce = 'of another question';
  return code;
};

// What the hub asks for, one line a request, for the tests to read; also where it was pushed beforehand (RFC 9126).
provider.use(async (context, next) => {
  await next();
  const { route, params } = context.oidc ?? {};
  if (!params || !['authorization', 'end_session'].includes(route)) return;
  const given = Object.entries(params).filter(([, value]) => value !== undefined);
  appendFileSync(log, `${route} ${new URLSearchParams(given)}\n`);
});
provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));
