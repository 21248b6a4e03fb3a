"""What the contracts log, as frozen dataclasses: one per event, a field per argument in snake_case.

A test holds them to the generated ABIs; logs.py reads raw logs into them.
"""

# ruff: noqa: F403 -- each module is a part of one vocabulary, which is read from here
from oracle.chain.events.data import *
from oracle.chain.events.disputes import *
from oracle.chain.events.event import Event as Event
from oracle.chain.events.market import *
from oracle.chain.events.registries import *
from oracle.chain.events.token import *
