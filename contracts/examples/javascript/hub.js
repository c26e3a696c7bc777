// How the hub is reached, and with what: shared by the examples.
//
// INTERCO_GRPC, INTERCO_HUB           addresses of the hub: of its gRPC, and of its web
// INTERCO_TOKEN                       a token; or, for tokens by client credentials:
// INTERCO_CLIENT_ID and INTERCO_CLIENT_SECRET (or INTERCO_CLIENT_SECRET_FILE), and INTERCO_ISSUER where the hub is not the issuer
// INTERCO_LONGEST_SILENCE             seconds after which a silent stream is dead: three times the hub's Feed__Heartbeat (45)
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';

const env = process.env;

/** An address to which a secret or a token may go: without TLS both can be read on their way, so that is for this machine alone. */
function ofTls(address) {
  const { protocol, hostname } = new URL(address);
  if (protocol !== 'https:' && !['127.0.0.1', 'localhost', '[::1]'].includes(hostname)) throw new Error(`use the https address instead of ${address}`);
  return address.replace(/\/$/, '');
}

export const web = ofTls(env.INTERCO_HUB ?? 'http://127.0.0.1:5080');

let issued = { token: '', until: 0 };

/** A token, used until shortly before it runs out; another one than the one refused. */
export async function token(refused) {
  if (env.INTERCO_TOKEN) return env.INTERCO_TOKEN;
  if (Date.now() >= issued.until || issued.token === refused) {
    const discovery = await fetch(`${ofTls(env.INTERCO_ISSUER ?? web)}/.well-known/openid-configuration`, { signal: AbortSignal.timeout(30_000) });
    if (!discovery.ok) throw await noToken(discovery);
    const { token_endpoint } = await discovery.json();
    const secret = env.INTERCO_CLIENT_SECRET ?? readFileSync(env.INTERCO_CLIENT_SECRET_FILE, 'utf8').trim();
    const pair = [env.INTERCO_CLIENT_ID, secret].map(encodeURIComponent).join(':');
    const answer = await fetch(ofTls(token_endpoint), {
      method: 'POST',
      body: new URLSearchParams({ grant_type: 'client_credentials' }),
      headers: { Authorization: `Basic ${Buffer.from(pair).toString('base64')}` },
      signal: AbortSignal.timeout(30_000),
    });
    if (!answer.ok) throw await noToken(answer);
    const { access_token, expires_in = 300 } = await answer.json();
    issued = { token: access_token, until: Date.now() + (expires_in - 60) * 1000 };
  }
  return issued.token;
}

// As gRPC says it, for forever().
async function noToken(answer) {
  const comesBack = answer.status === 429 || answer.status >= 500;
  return Object.assign(new Error(`no token: ${answer.status} ${await answer.text()}`), { code: comesBack ? grpc.status.UNAVAILABLE : grpc.status.PERMISSION_DENIED });
}

/** A gRPC client of a service, Feed or Subscriptions; with pings, so that a dead connection is noticed. */
export function connect(service) {
  const protos = fileURLToPath(new URL('../../protos/', import.meta.url));
  const { feed } = grpc.loadPackageDefinition(loader.loadSync(`${service.toLowerCase()}.proto`, { includeDirs: [protos], oneofs: true, longs: String })).intercommunalite;
  const { protocol, host } = new URL(ofTls(env.INTERCO_GRPC));
  const credentials = protocol === 'https:' ? grpc.credentials.createSsl() : grpc.credentials.createInsecure();
  return new feed.v1[service](host, credentials, { 'grpc.keepalive_time_ms': 20_000, 'grpc.keepalive_timeout_ms': 10_000 });
}

export const longestSilence = 1000 * Number(env.INTERCO_LONGEST_SILENCE ?? 45);

/**
 * The messages of a stream, which is broken off when none comes for too long, not even a sign of life. Pings do not tell that: a proxy
 * answers them for a hub that is gone.
 */
export async function* messages(call) {
  let timer;
  const wait = () => {
    timer = setTimeout(() => {
      console.error(`nothing came for ${longestSilence / 1000} s, not even a sign of life`);
      call.cancel();
    }, longestSilence);
  };
  try {
    wait();
    for await (const message of call) {
      // As long as the message is being dealt with, nothing is waited for.
      clearTimeout(timer);
      yield message;
      wait();
    }
  } finally {
    clearTimeout(timer);
  }
}

/** The header of a call. */
export function bearer(value) {
  const headers = new grpc.Metadata();
  headers.set('authorization', `Bearer ${value}`);
  return headers;
}

/** Prints a line of JSON; done once it is out, not merely on its way. */
export const print = (value) => new Promise((done) => process.stdout.write(`${JSON.stringify(value)}\n`, done));

export const readCursor = (file) => (existsSync(file) ? readFileSync(file, 'utf8').trim() : '');

/** Replaces the file as a whole, on the disk: a crash leaves one cursor or the other. */
export function keepCursor(file, cursor) {
  const written = openSync(`${file}.new`, 'w');
  writeSync(written, `${cursor}\n`);
  fsyncSync(written);
  closeSync(written);
  renameSync(`${file}.new`, file);
}

/**
 * Runs a call again and again, with pauses that grow while nothing comes. The call gets a token, and what it is to call when it heard
 * something; it ends by throwing. What does not pass by itself ends all, a suspended subscription too: the hub says what to do.
 */
export async function forever(call) {
  const { UNAVAILABLE, INTERNAL, UNKNOWN, CANCELLED, DEADLINE_EXCEEDED, ABORTED, UNAUTHENTICATED } = grpc.status;
  let pause = 1000;
  let refused;
  while (true) {
    let used;
    let heard = false;
    try {
      used = await token(refused);
      await call(used, () => (heard = true));
    } catch (error) {
      if (heard) refused = undefined;
      // A token that ran out on the way: another one.
      if (error.code === UNAUTHENTICATED && !refused) {
        refused = used;
        continue;
      }
      // What gRPC says of a hub that is away; and fetch, whose errors of the network have a cause, or say that time ran out.
      const passes = [UNAVAILABLE, INTERNAL, UNKNOWN, CANCELLED, DEADLINE_EXCEEDED, ABORTED].includes(error.code)
        || (error instanceof TypeError && error.cause) || error.name === 'TimeoutError' || error.name === 'AbortError';
      // Refused, by a code; whatever else it is, it is a fault here.
      if (!passes && Number.isInteger(error.code)) {
        console.error(error.details ?? error.message);
        process.exit(1);
      }
      if (!passes) throw error;
      console.error(`${error.details ?? error.message}; trying again`);
    }
    refused = undefined;
    pause = heard ? 1000 : Math.min(2 * pause, 30_000);
    await sleep(pause * (0.5 + Math.random() / 2));
  }
}
