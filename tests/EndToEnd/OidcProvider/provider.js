// An OpenID Connect provider that is none of ours. Usage: node provider.js PORT REDIRECT POST_LOGOUT; prints "ready" when it listens.
// People: login "agent", "visitor", "jwt-…". The client "hub" gets user info as a signed JWT, as ProConnect gives it; "hub-json" as JSON.
import { appendFileSync } from 'node:fs';
import { Provider } from 'oidc-provider';

const [port, log, ...redirects] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;

const people = {
  agent: { email: 'agent@example.fr', email_verified: true, name: 'Agent du fournisseur' },
  unverified: { email: 'agent@example.fr', email_verified: false },
  visitor: { email: 'visitor@example.fr', email_verified: true },
  claimed: { email: 'claimed@example.fr', email_verified: true, name: 'Rôles du fournisseur', roles: ['epci-agent', 'root'], communes: [] },
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
    {
      client_id: 'software',
      client_secret: 'not-a-secret-but-long-enough',
      grant_types: ['client_credentials'],
      response_types: [],
      redirect_uris: [],
    },
  ],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'], rights: ['roles', 'communes'] },
  scopes: ['openid', 'email', 'profile', 'rights'],
  pkce: { required: () => true },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...people[id] }) }),
  extraTokenClaims: (_, token) => (token.kind === 'ClientCredentials' ? { roles: ['connector', 'epci-agent'], communes: ['35085'] } : undefined),
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

// What the hub asks for, one line a request, for the tests to read.
provider.use((context, next) => {
  if (/^\/(auth|session\/end)$/.test(context.path)) appendFileSync(log, `${context.path} ${context.querystring}\n`);
  return next();
});
provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));
