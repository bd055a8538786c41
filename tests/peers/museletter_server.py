"""museletter's server, run in its own environment: `museletter_server.py PORT SES_URL`; its settings are in the environment.

Two things differ from `museletter serve`: SES lies at SES_URL (museletter knows Amazon's address only), and notifications
of SNS are taken without Amazon's signature, which moto cannot make.
"""

from __future__ import annotations

import sys

import museletter.ses
import uvicorn
from museletter.app import create_app
from museletter.config import Settings

_connect = museletter.ses.SESClient.__init__


def _connect_here(self, *given, **named):
    _connect(self, *given, **named)
    self.endpoint = sys.argv[2]


museletter.ses.SESClient.__init__ = _connect_here

if __name__ == "__main__":
    settings = Settings.from_env()
    settings.extra["skip_sns_verify"] = True
    uvicorn.run(create_app(settings), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
