"""Stands for the infer worker: answers messages with random digests, and writes down what it did.

Two answers to one request never agree, so that an operator that stood by two would be found out.
"""

import json
import os
import secrets
import sys
import time

from celery import Celery
from kombu import Connection, Queue
from kombu.mixins import ConsumerMixin

from oracle.config import Settings


class StubWorker(ConsumerMixin):
    """Answers at once."""

    def __init__(self, settings, journal):
        self.connection = Connection(settings.redis_url)
        self._settings = settings
        self._journal = journal
        self._celery = Celery("stub", broker=settings.redis_url, set_as_current=False)
        self._celery.conf.task_ignore_result = True

    def get_consumers(self, consumer, channel):
        queue = Queue(self._settings.queue("infer"))
        return [consumer([queue], callbacks=[self.answer], accept=["json"], prefetch_count=1)]

    def answer(self, body, message):
        payload = body[1]
        root = "0x" + secrets.token_hex(32)
        entry = {
            "at": time.time(),
            "task_id": message.headers["id"],
            "request_id": payload["request_id"],
            "output_root": root,
        }
        self._journal.write(json.dumps(entry) + "\n")
        self._journal.flush()
        self._celery.send_task(
            "tallystick.deliver",
            kwargs={
                "request_id": payload["request_id"],
                "output_root": root,
                "output_cid": "0x" + "00" * 32,
            },
            queue=self._settings.queue("submit"),
            retry=True,
        )
        message.ack()


if __name__ == "__main__":
    with open(sys.argv[1], "a") as journal:
        StubWorker(Settings.load(os.environ), journal).run()
