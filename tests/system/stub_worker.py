"""Stands for the infer worker: answers messages with random bytes, and writes down what it did.

With `--publish` the bytes are put on IPFS, where whoever knows their digest finds them.
Two answers to one request never agree, so that an operator that stood by two would be found out.
"""

import argparse
import hashlib
import json
import os
import secrets
import time

from celery import Celery
from kombu import Connection, Queue
from kombu.mixins import ConsumerMixin

from oracle.config import Settings
from oracle.ipfs.client import IpfsClient


class StubWorker(ConsumerMixin):
    """Answers at once."""

    def __init__(self, settings, journal, ipfs):
        self.connection = Connection(settings.redis_url)
        self._settings = settings
        self._journal = journal
        self._ipfs = ipfs
        self._celery = Celery("stub", broker=settings.redis_url, set_as_current=False)
        self._celery.conf.task_ignore_result = True

    def get_consumers(self, consumer, channel):
        queue = Queue(self._settings.queue("infer"))
        return [consumer([queue], callbacks=[self.answer], accept=["json"], prefetch_count=1)]

    def answer(self, body, message):
        payload = body[1]
        output = secrets.token_bytes(200)
        root = "0x" + hashlib.sha256(output).hexdigest()
        if self._ipfs:
            self._ipfs.publish_bytes(output)
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


def main():
    """Serve until somebody ends it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("journal")
    parser.add_argument("--publish", action="store_true")
    arguments = parser.parse_args()
    settings = Settings.load(os.environ)
    ipfs = IpfsClient(settings.ipfs_api) if arguments.publish else None
    with open(arguments.journal, "a") as journal:
        StubWorker(settings, journal, ipfs).run()


if __name__ == "__main__":
    main()
