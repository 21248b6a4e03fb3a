"""What each contract error means, in English, and what to do next. One table, nothing else."""

from oracle.chain.sentences.data import DATA
from oracle.chain.sentences.disputes import DISPUTES
from oracle.chain.sentences.libraries import LIBRARIES
from oracle.chain.sentences.market import MARKET
from oracle.chain.sentences.sentence import Sentence

SENTENCES: dict[str, Sentence] = {**MARKET, **DISPUTES, **DATA, **LIBRARIES}
