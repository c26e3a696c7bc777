// Receives a webhook subscription's events. Signed as Standard Webhooks has it, validated by the CloudEvents webhook handshake.
//
// usage: WEBHOOK_SECRET=whsec_… node webhook.js PORT [ORIGIN]
//
// ORIGIN is whose deliveries are wanted: the hub's host, as it names itself in the handshake; without it, anybody's who asks. Prints each
// event as a line of JSON. A proxy before it ends TLS. The same event may come again: it is known by source and id.
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';
import { HTTP } from 'cloudevents';
import { print } from './hub.js';

const [port, origin] = process.argv.slice(2);
const key = Buffer.from((process.env.WEBHOOK_SECRET ?? '').replace(/^whsec_/, ''), 'base64');
// The hub asks the endpoint before it tells the secret: until it is here, what is asked is answered, and nothing is taken.
if (key.length < 16) console.error('WEBHOOK_SECRET is not set: make the webhook, then start this again with the secret that the hub told');
const longestBody = 1024 * 1024;
const oldest = 5 * 60;

async function dealWith(event) {
  await print(event);
}

/** Whether the body was signed by who knows the secret, and just now: an older one may have been sent again by somebody else. */
function isSigned(headers, body) {
  const { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures = '' } = headers;
  if (key.length < 16) return false;
  if (!(Math.abs(Date.now() / 1000 - Number(timestamp)) <= oldest)) return false;
  const expected = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest();
  // Several while a secret is being replaced.
  return signatures.split(' ').some((signature) => {
    const given = Buffer.from(signature.replace(/^v1,/, ''), 'base64');
    return signature.startsWith('v1,') && given.length === expected.length && timingSafeEqual(given, expected);
  });
}

async function read(request) {
  const parts = [];
  let length = 0;
  for await (const part of request) {
    if ((length += part.length) > longestBody) return null;
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** The status to answer with: 2xx says that the event is dealt with, all else that it is to come again. */
async function answer(request, headers) {
  if (request.method === 'OPTIONS') {
    const asked = request.headers['webhook-request-origin'];
    if (!asked || (origin && asked !== origin)) return 403;
    Object.assign(headers, { 'WebHook-Allowed-Origin': asked, Allow: 'POST' });
    return 200;
  }
  if (request.method !== 'POST') return 405;
  const body = await read(request);
  if (!body) return 413;
  if (!isSigned(request.headers, body)) return 401;
  let event;
  try {
    event = HTTP.toEvent({ headers: request.headers, body: body.toString() });
  } catch {
    return 400;
  }
  try {
    await dealWith(event);
    return 204;
  } catch {
    return 500;
  }
}

createServer(async (request, response) => {
  const headers = {};
  const status = await answer(request, headers).catch(() => 400);
  response.writeHead(status, headers).end();
}).listen(Number(port), '127.0.0.1', () => console.error(`listening on port ${port}`));
