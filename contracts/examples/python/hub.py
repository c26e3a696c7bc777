"""How the hub is reached, and with what: shared by the examples.

INTERCO_GRPC, INTERCO_HUB           addresses of the hub: of its gRPC, and of its web
INTERCO_TOKEN                       a token; or, for tokens by client credentials:
INTERCO_CLIENT_ID and INTERCO_CLIENT_SECRET (or INTERCO_CLIENT_SECRET_FILE), and INTERCO_ISSUER where the hub is not the issuer
INTERCO_LONGEST_SILENCE             seconds after which a silent stream is dead: three times the hub's Feed__Heartbeat (45)
"""

import base64
import http.client
import json
import os
import random
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

LONGEST_SILENCE = float(os.environ.get("INTERCO_LONGEST_SILENCE", "45"))


def of_tls(address):
    """An address to which a secret or a token may go: without TLS both can be read on their way, so that is for this machine alone."""
    parts = urllib.parse.urlsplit(address)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        sys.exit(f"use the https address instead of {address}")
    return address.rstrip("/")


WEB = of_tls(os.environ.get("INTERCO_HUB", "http://127.0.0.1:5080"))

_token, _until = "", 0.0


def token(refused=""):
    """A token, used until shortly before it runs out; another one than the one refused."""
    global _token, _until
    if "INTERCO_TOKEN" in os.environ:
        return os.environ["INTERCO_TOKEN"]
    if time.monotonic() >= _until or _token == refused:
        issuer = of_tls(os.environ.get("INTERCO_ISSUER", WEB))
        with urllib.request.urlopen(issuer + "/.well-known/openid-configuration", timeout=30) as answer:
            endpoint = of_tls(json.load(answer)["token_endpoint"])
        secret = os.environ.get("INTERCO_CLIENT_SECRET") or Path(os.environ["INTERCO_CLIENT_SECRET_FILE"]).read_text().strip()
        pair = ":".join(urllib.parse.quote(part, safe="") for part in (os.environ["INTERCO_CLIENT_ID"], secret))
        request = urllib.request.Request(endpoint, b"grant_type=client_credentials")
        request.add_header("Authorization", "Basic " + base64.b64encode(pair.encode()).decode())
        with urllib.request.urlopen(request, timeout=30) as answer:
            issued = json.load(answer)
        _token, _until = issued["access_token"], time.monotonic() + issued.get("expires_in", 300) - 60
    return _token


def connect():
    """A gRPC channel; with pings, so that a dead connection is noticed."""
    import grpc

    address = urllib.parse.urlsplit(of_tls(os.environ["INTERCO_GRPC"]))
    options = [("grpc.keepalive_time_ms", 20_000), ("grpc.keepalive_timeout_ms", 10_000), ("grpc.http2.max_pings_without_data", 0)]
    if address.scheme == "https":
        return grpc.secure_channel(address.netloc, grpc.ssl_channel_credentials(), options)
    return grpc.insecure_channel(address.netloc, options)


def messages(call):
    """The messages of a stream, which is broken off when none comes for too long, not even a sign of life.

    Pings do not tell that: a proxy answers them for a hub that is gone.
    """
    waiting_since, ended = [time.monotonic()], threading.Event()

    def watch():
        while not ended.wait(LONGEST_SILENCE / 10):
            if time.monotonic() - waiting_since[0] > LONGEST_SILENCE:
                print(f"nothing came for {LONGEST_SILENCE:.0f} s, not even a sign of life", file=sys.stderr)
                call.cancel()
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        for message in call:
            # As long as the message is being dealt with, nothing is waited for.
            waiting_since[0] = float("inf")
            yield message
            waiting_since[0] = time.monotonic()
    finally:
        ended.set()


def read_cursor(file):
    return file.read_text().strip() if file.exists() else ""


def keep_cursor(file, cursor):
    """Replaces the file as a whole, on the disk: a crash leaves one cursor or the other."""
    new = file.with_name(file.name + ".new")
    with new.open("w") as written:
        written.write(cursor + "\n")
        written.flush()
        os.fsync(written.fileno())
    new.replace(file)


def forever(read):
    """Runs read again and again, with pauses that grow while nothing comes.

    It gets a token and what it is to call when it heard something, and ends by raising. What does not pass by itself ends all, a suspended
    subscription too: the hub says what to do.
    """
    import grpc

    pause, refused = 1, ""
    while True:
        heard, used = [], ""
        try:
            used = token(refused)
            read(used, lambda: heard.append(True))
            failure = "the stream ended"
        except grpc.RpcError as error:
            # A token that ran out on the way: another one.
            if error.code() == grpc.StatusCode.UNAUTHENTICATED and (heard or not refused):
                refused = used
                continue
            if error.code().name not in ("UNAVAILABLE", "INTERNAL", "UNKNOWN", "CANCELLED", "DEADLINE_EXCEEDED", "ABORTED"):
                sys.exit(f"{error.code().name}: {error.details()}")
            failure = error.details()
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code != 429:
                sys.exit(f"no token: {error.code} {error.read().decode()}")
            failure = f"no token: {error}"
        except (OSError, http.client.HTTPException, ValueError) as error:
            # An issuer that is away, or a proxy before it that answers something else. What fails after that is no matter of tokens.
            if used or isinstance(error, FileNotFoundError):
                raise
            failure = f"no token: {error}"
        print(f"{failure}; trying again", file=sys.stderr)
        pause, refused = 1 if heard else min(2 * pause, 30), ""
        time.sleep(pause * random.uniform(0.5, 1))
