"""Consumes a durable subscription: the hub keeps how far it is. Several may run at once.

usage: consume.py SUBSCRIPTION

Prints each event as a line of JSON and acknowledges it; what cannot be dealt with is rejected, comes again later, and is parked in the
end. At least once: what was not acknowledged comes again.
"""

import json
import sys

import hub
import subscriptions_pb2 as messages  # made by protoc, see README.md

subscription = sys.argv[1]


def deal_with(delivery):
    event = delivery.event
    line = {"id": event.id, "source": event.source, "type": event.type, "subject": event.subject, "attempt": delivery.attempt}
    # Given before, to this reader or another, which may have dealt with it; and of which replay, which gives again what was dealt with.
    line |= {"redelivered": delivery.attempt > 1, "replay": delivery.replay or None}
    print(json.dumps(line), flush=True)


def consume(token, heard):
    headers = [("authorization", "Bearer " + token)]
    with hub.connect() as channel:
        service = "/intercommunalite.feed.v1.Subscriptions/"
        consume = channel.unary_stream(service + "Consume", messages.ConsumeRequest.SerializeToString, messages.ConsumeResponse.FromString)
        acknowledge = channel.unary_unary(service + "Acknowledge", messages.AcknowledgeRequest.SerializeToString, messages.AcknowledgeResponse.FromString)
        reject = channel.unary_unary(service + "Reject", messages.RejectRequest.SerializeToString, messages.RejectResponse.FromString)
        for message in hub.messages(consume(messages.ConsumeRequest(subscription=subscription, max_unacknowledged=10), metadata=headers)):
            heard()
            if message.WhichOneof("message") != "delivery":
                continue
            delivery = message.delivery.delivery
            try:
                deal_with(message.delivery)
            except Exception as failure:
                # The reason is read by others: the kind of failure, never what an exception says of the data.
                reject(messages.RejectRequest(subscription=subscription, delivery=delivery, reason=type(failure).__name__), metadata=headers, timeout=30)
            else:
                acknowledge(messages.AcknowledgeRequest(subscription=subscription, deliveries=[delivery]), metadata=headers, timeout=30)


hub.forever(consume)
