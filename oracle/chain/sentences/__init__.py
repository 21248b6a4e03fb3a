"""What each contract error means and what to do next, and what each call does: in English."""

from oracle.chain.sentences.calls import CALLS as CALLS
from oracle.chain.sentences.channels import CHANNELS
from oracle.chain.sentences.data import DATA
from oracle.chain.sentences.disputes import DISPUTES
from oracle.chain.sentences.libraries import LIBRARIES
from oracle.chain.sentences.market import MARKET
from oracle.chain.sentences.sentence import Sentence
from oracle.chain.sentences.training import TRAINING

SENTENCES: dict[str, Sentence] = {
    **MARKET,
    **DISPUTES,
    **DATA,
    **TRAINING,
    **CHANNELS,
    **LIBRARIES,
}
