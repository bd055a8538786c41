"""Webhooks of mailing tools under uvicorn in a process of their own (`feedback_server.py PORT`), there to be killed."""

from __future__ import annotations

import sys

import uvicorn

from perennial.core.connections import EnvironmentConnections
from perennial.web.feedback_hooks import create_feedback_hooks

if __name__ == "__main__":
    app = create_feedback_hooks(EnvironmentConnections())
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
