"""Stands for the infer worker: answers messages with random bytes, and writes down what it did.

The bytes are put on IPFS: the submitter delivers nothing that it has not seen.
Two answers to one request never agree, so that an operator that stood by two would be found out.
"""

import argparse
import json
import os
import secrets
import time

from kombu import Connection, Queue
from kombu.mixins import ConsumerMixin

from oracle.config import Settings
from oracle.ipfs.client import IpfsClient
from oracle.queue import celery_app
from oracle.queue.messages import DeliverMessage, InferMessage
from oracle.types import ZERO32


class StubWorker(ConsumerMixin):
    """Answers at once."""

    def __init__(self, settings, journal, ipfs):
        self.connection = Connection(settings.redis_url)
        self._settings = settings
        self._journal = journal
        self._ipfs = ipfs
        self._celery = celery_app.create(lambda: settings)

    def get_consumers(self, consumer, channel):
        queue = Queue(self._settings.queue("infer"))
        return [consumer([queue], callbacks=[self.answer], accept=["json"], prefetch_count=1)]

    def answer(self, body, message):
        task_id = message.headers["id"]
        payload = celery_app.opened(self._celery, InferMessage, task_id, body[1])
        request_id = InferMessage.from_json(payload).request_id
        root = self._ipfs.publish_bytes(secrets.token_bytes(200)).sha256
        entry = {
            "at": time.time(),
            "task_id": task_id,
            "request_id": payload["request_id"],
            "output_root": "0x" + root.hex(),
        }
        self._journal.write(json.dumps(entry) + "\n")
        self._journal.flush()
        celery_app.send(self._celery, DeliverMessage(request_id, root, ZERO32))
        message.ack()


def main():
    """Serve until somebody ends it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("journal")
    arguments = parser.parse_args()
    settings = Settings.load(os.environ)
    ipfs = IpfsClient(settings.ipfs_api)
    with open(arguments.journal, "a") as journal:
        StubWorker(settings, journal, ipfs).run()


if __name__ == "__main__":
    main()
