// Consumes a durable subscription: the hub keeps how far it is. Several may run at once.
//
// usage: node consume.js SUBSCRIPTION
//
// Prints each event as a line of JSON and acknowledges it; what cannot be dealt with is rejected, comes again later, and is parked in
// the end. At least once: what was not acknowledged comes again.
import { promisify } from 'node:util';
import { bearer, connect, forever, messages, print } from './hub.js';

const [subscription] = process.argv.slice(2);

async function dealWith({ event: { id, source, type, subject }, attempt, replay }) {
  // Given before, to this reader or another, which may have dealt with it; and of which replay, which gives again what was dealt with.
  await print({ id, source, type, subject, attempt, redelivered: attempt > 1, replay: replay || null });
}

await forever(async (token, heard) => {
  const hub = connect('Subscriptions');
  const acknowledge = promisify(hub.Acknowledge).bind(hub);
  const reject = promisify(hub.Reject).bind(hub);
  try {
    for await (const { delivery } of messages(hub.Consume({ subscription, maxUnacknowledged: 10 }, bearer(token)))) {
      heard();
      if (!delivery) continue;
      const failure = await dealWith(delivery).then(() => null, (error) => error);
      // The reason is read by others: the kind of failure, never what an exception says of the data.
      if (failure) await reject({ subscription, delivery: delivery.delivery, reason: failure.name }, bearer(token));
      else await acknowledge({ subscription, deliveries: [delivery.delivery] }, bearer(token));
    }
  } finally {
    hub.close();
  }
});
