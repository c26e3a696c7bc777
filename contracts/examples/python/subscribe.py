"""Reads the feed over gRPC for as long as it runs, and goes on where it was, also after it was killed.

usage: subscribe.py CURSOR_FILE [TYPE…]          # a TYPE may end with '*'

Prints each event as a line of JSON. At least once: the cursor is kept after an event was dealt with, so the last one may come again
after a crash. Events are known by source and id.
"""

import json
import sys
from pathlib import Path

import feed_pb2  # made by protoc, see README.md
import hub

cursor_file, types = Path(sys.argv[1]), sys.argv[2:]


def deal_with(event):
    print(json.dumps({"id": event.id, "source": event.source, "type": event.type, "subject": event.subject, "data": json.loads(event.data)}), flush=True)


def read(token, heard):
    with hub.connect() as channel:
        subscribe = channel.unary_stream(
            "/intercommunalite.feed.v1.Feed/Subscribe",
            request_serializer=feed_pb2.SubscribeRequest.SerializeToString,
            response_deserializer=feed_pb2.SubscribeResponse.FromString,
        )
        # Without a cursor from the beginning; from_now=True or since=… for another one.
        request = feed_pb2.SubscribeRequest(cursor=hub.read_cursor(cursor_file), filter=feed_pb2.Filter(types=types))
        for message in hub.messages(subscribe(request, metadata=[("authorization", "Bearer " + token)])):
            heard()
            kind = message.WhichOneof("message")
            if kind == "event":
                deal_with(message.event)
            # Every kind of message has a cursor: also what was passed over need not be looked through again.
            if cursor := getattr(message, kind).cursor:
                hub.keep_cursor(cursor_file, cursor)


hub.forever(read)
