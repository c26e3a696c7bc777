"""Reads the feed over HTTP by pages, with the standard library alone, up to the end of what there is: to be run from time to time.

usage: pages.py CURSOR_FILE [TYPE…]              # a TYPE may end with '*'

Prints each event as a line of JSON, a CloudEvent. At least once: the cursor is kept after a page was dealt with.
"""

import json
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import hub

cursor_file, types = Path(sys.argv[1]), sys.argv[2:]
caught_up = False
while not caught_up:
    query = urllib.parse.urlencode({"after": hub.read_cursor(cursor_file), "types": types, "limit": 500}, doseq=True)
    request = urllib.request.Request(hub.WEB + "/api/v1/feed?" + query, headers={"Authorization": "Bearer " + hub.token()})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            page = json.load(answer)
    except urllib.error.HTTPError as error:
        # Problem details (RFC 9457) say what is wrong and what to do. 429 and 503 pass: the next run goes on.
        problem = json.load(error) if error.headers.get_content_type() == "application/problem+json" else {}
        sys.exit(f"{error.code}: {problem.get('detail', error.reason)}")
    for event in page["items"]:
        print(json.dumps(event, ensure_ascii=False), flush=True)
    # Also moves when nothing matched.
    hub.keep_cursor(cursor_file, page["next"])
    caught_up = page["caughtUp"]
