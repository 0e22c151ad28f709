"""What the engine replaces, as far as it can be compared: get, modify, set.

A FastAPI endpoint takes OTLP/JSON. The entry of a trace is one JSON value that each request reads, extends and
writes back whole, in Redis beside a sorted set by time (REDIS_URL), or in a dict of the process.
It is no example to follow: two requests for one trace that meet overwrite each other.
"""

import json
import os
import time

import redis.asyncio as redis
from fastapi import FastAPI, HTTPException, Request

RETENTION_SECONDS = 60
INDEX = "correlations"


class Memory:
    """Entries in this process."""

    def __init__(self):
        self.entries = {}

    async def get(self, key):
        return self.entries.get(key)

    async def set(self, key, entry, now):
        self.entries[key] = entry
        entry["updated"] = now


class Redis:
    """Entries in Redis, as JSON."""

    def __init__(self, url):
        self.client = redis.from_url(url)

    async def get(self, key):
        value = await self.client.get(key)
        return None if value is None else json.loads(value)

    async def set(self, key, entry, now):
        entry["updated"] = now
        await self.client.set(key, json.dumps(entry), ex=RETENTION_SECONDS)
        await self.client.zadd(INDEX, {key: now})


state = Redis(os.environ["REDIS_URL"]) if "REDIS_URL" in os.environ else Memory()
app = FastAPI(openapi_url=None)


@app.post("/v1/traces")
async def receive(request: Request):
    """Adds the spans of a request to the entries of their traces."""
    spans = {}
    for resource in (await request.json()).get("resourceSpans", []):
        for scope in resource.get("scopeSpans", []):
            for span in scope.get("spans", []):
                spans.setdefault(span["traceId"].lower(), []).append(span)
    now = time.time()
    for trace, arrived in spans.items():
        key = f"correlation:{trace}"
        entry = await state.get(key) or {"id": trace, "created": now, "spans": []}
        entry["spans"].extend(arrived)
        await state.set(key, entry, now)
    return {}


@app.get("/api/v1/correlations/{trace}")
async def read(trace: str):
    """How many spans of a trace are kept."""
    entry = await state.get(f"correlation:{trace}")
    if entry is None:
        raise HTTPException(status_code=404)
    return {"correlation_id": trace, "spans": len(entry["spans"])}
