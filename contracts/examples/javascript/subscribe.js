// Reads the feed over gRPC for as long as it runs, and goes on where it was, also after it was killed.
//
// usage: node subscribe.js CURSOR_FILE [TYPE…]          # a TYPE may end with '*'
//
// Prints each event as a line of JSON. At least once: the cursor is kept after an event was dealt with, so the last one may come again
// after a crash. Events are known by source and id.
import { bearer, connect, forever, keepCursor, messages, print, readCursor } from './hub.js';

const [file, ...types] = process.argv.slice(2);

async function dealWith({ id, source, type, subject, data }) {
  await print({ id, source, type, subject, data: JSON.parse(data) });
}

await forever(async (token, heard) => {
  const feed = connect('Feed');
  try {
    // Without a cursor from the beginning; fromNow: true or since: … for another one.
    for await (const message of messages(feed.Subscribe({ cursor: readCursor(file), filter: { types } }, bearer(token)))) {
      heard();
      if (message.event) await dealWith(message.event);
      // Every kind of message has a cursor: also what was passed over need not be looked through again.
      const { cursor } = message[message.message];
      if (cursor) keepCursor(file, cursor);
    }
  } finally {
    feed.close();
  }
});
