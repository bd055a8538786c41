"""The webhooks under uvicorn in a process of their own: `python hooks_server.py PORT`. It is there to be killed."""

from __future__ import annotations

import sys

import uvicorn

from perennial.core.connections import EnvironmentConnections
from perennial.web.hooks import create_hooks

if __name__ == "__main__":
    uvicorn.run(create_hooks(EnvironmentConnections()), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
