"""Reads the hub's feed with Debian's python3-grpcio, from nothing but feed.proto.

usage: FEED_TOKEN=… read_feed.py GENERATED ADDRESS CURSOR COUNT

GENERATED is where protoc put feed_pb2.py. Prints one line an event, "cursor id", until COUNT events came or the feed is
caught up, then "caught-up" in the latter case. Before, it checks health and asks reflection for the services.
"""

import os
import sys

import grpc

generated, address, cursor, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
sys.path.insert(0, generated)
import feed_pb2  # noqa: E402  (made by protoc just now)

raw = {"request_serializer": bytes, "response_deserializer": bytes}
with grpc.insecure_channel(address) as channel:
    health = channel.unary_unary("/grpc.health.v1.Health/Check", **raw)(b"", timeout=20)
    assert health == b"\x08\x01", "not SERVING: %r" % health
    services = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", **raw)
    listed = next(services(iter([b"\x3a\x01*"]), timeout=20))
    assert b"intercommunalite.feed.v1.Feed" in listed, "reflection does not know the feed: %r" % listed

    subscribe = channel.unary_stream(
        "/intercommunalite.feed.v1.Feed/Subscribe",
        request_serializer=feed_pb2.SubscribeRequest.SerializeToString,
        response_deserializer=feed_pb2.SubscribeResponse.FromString,
    )
    stream = subscribe(
        feed_pb2.SubscribeRequest(cursor=cursor),
        metadata=[("authorization", "Bearer " + os.environ["FEED_TOKEN"])],
        timeout=120,
    )
    for message in stream:
        kind = message.WhichOneof("message")
        if kind == "event":
            print(message.event.cursor, message.event.id, flush=True)
            count -= 1
            if count == 0:
                break
        elif kind == "caught_up":
            print("caught-up")
            break
    stream.cancel()
