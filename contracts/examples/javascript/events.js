// Reads the feed over HTTP as server-sent events, with fetch alone, and goes on where it was. In a browser EventSource does the same,
// but cannot send a token: there, read through a server of your own.
//
// usage: node events.js CURSOR_FILE [TYPE…]             # a TYPE may end with '*'
//
// Prints each event as a line of JSON, a CloudEvent. At least once: the cursor is kept after an event was dealt with.
import { forever, keepCursor, longestSilence, print, readCursor, web } from './hub.js';

const [file, ...types] = process.argv.slice(2);

await forever(async (token, heard) => {
  const silence = new AbortController();
  let timer;
  const listen = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(new DOMException('not even a sign of life came', 'TimeoutError')), longestSilence);
  };
  listen();
  try {
    const answer = await fetch(`${web}/api/v1/feed?${new URLSearchParams(types.map((type) => ['types', type]))}`, {
      headers: { Authorization: `Bearer ${token}`, Accept: 'text/event-stream', 'Last-Event-ID': readCursor(file) },
      signal: silence.signal,
    });
    // A proxy answers something else than the hub.
    if (!answer.ok) throw refusal(await answer.json().catch(() => ({ status: answer.status, title: answer.statusText, detail: '' })));
    let rest = '';
    for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) {
      listen();
      rest += chunk;
      const messages = rest.split('\n\n');
      rest = messages.pop();
      for (const message of messages) {
        // Lines "field: value"; of this feed, each field stands once.
        const { event, id, data } = Object.fromEntries(message.split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]));
        if (event === 'error') throw refusal(JSON.parse(data));
        heard();
        if (event === 'event') await print(JSON.parse(data));
        if (id) keepCursor(file, id);
      }
    }
  } finally {
    clearTimeout(timer);
  }
});

// As gRPC says it, for forever().
function refusal({ status, title, detail }) {
  const code = { 401: 16, 429: 14, 503: 14 }[status] ?? (status >= 500 ? 14 : 9);
  return Object.assign(new Error(`${status} ${title}: ${detail}`), { code });
}
