"""The peer of `esdk_call_p50`, as an author of such a service would write it: `... serve_fastapi SOCKET`."""

from __future__ import annotations

import sys
import time

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, Field

application = FastAPI()
latest: dict[str, Sample] = {}


class Sample(BaseModel):
    tag: str = Field(max_length=200)
    value: float
    unit: str = Field("", max_length=32)
    quality: str = "good"
    time_ns: int = 0


class Publish(BaseModel):
    samples: list[Sample] = Field(max_length=1000)
    durable: bool = False


@application.post("/v1/tags")
async def publish(body: Publish) -> dict[str, object]:
    for sample in body.samples:
        sample.time_ns = sample.time_ns or time.time_ns()
        latest[sample.tag] = sample
    return {"accepted": len(body.samples), "durable": False}


if __name__ == "__main__":
    uvicorn.run(application, uds=sys.argv[1], loop="uvloop", http="httptools", access_log=False, log_level="warning")
