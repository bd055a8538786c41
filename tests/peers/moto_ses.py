"""moto's SES, SNS and SQS as one server, run in the peer's own environment: `moto_ses.py PORT`.

moto notifies as Amazon's simulator does, by what is in the address (`success`, `bounce`, `complaint`), but always with
the recipients and the message of Amazon's printed examples. Here the notification names the real ones, and comes a
moment after the message was accepted, as Amazon's do.
"""

from __future__ import annotations

import copy
import json
import sys
import threading
from datetime import UTC, datetime

from moto.server import main
from moto.ses.models import SESBackend, SESFeedback
from moto.sns.models import sns_backends

_DELAY_SECONDS = 0.5
_send = SESBackend.send_email


def _send_and_notify(self, source, subject, body, destinations):
    message = _send(self, source, subject, body, destinations)
    kind = self.__type_of_message__(destinations)
    topic = self.sns_topics.get(source.rpartition("@")[2].rstrip(">"), {}).get(kind)
    if topic is not None:
        said = json.dumps(_notification(self, kind, message.id, destinations["ToAddresses"]))
        publish = sns_backends[self.account_id][self.region_name].publish
        threading.Timer(_DELAY_SECONDS, publish, [said], {"arn": topic}).start()
    return message


def _notification(backend, kind, message_id, addresses):
    told = copy.deepcopy(SESFeedback.generate_message(backend.account_id, kind))
    at = datetime.now(UTC).isoformat()
    told["notificationType"] = kind
    told["mail"] |= {"messageId": message_id, "destination": addresses, "timestamp": at}
    people = [{"emailAddress": address} for address in addresses]
    key, names = {
        SESFeedback.BOUNCE: ("bounce", {"bouncedRecipients": people}),
        SESFeedback.COMPLAINT: ("complaint", {"complainedRecipients": people}),
        SESFeedback.DELIVERY: ("delivery", {"recipients": addresses}),
    }[kind]
    told[key] |= {**names, "timestamp": at}
    return told


SESBackend.send_email = _send_and_notify
SESBackend.__process_sns_feedback__ = lambda *_: None

if __name__ == "__main__":
    main(["-H", "127.0.0.1", "-p", sys.argv[1]])
