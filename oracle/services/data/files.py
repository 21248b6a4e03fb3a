"""From files to a data set of a model: which schema holds, and rows read by it."""

import csv
import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from oracle.errors import InputInvalid, NotFound
from oracle.ipfs.port import MAX_BLOCK
from oracle.protocol import canonical
from oracle.protocol.cid import raw_cid
from oracle.protocol.manifest import Manifest
from oracle.protocol.training import TrainingData
from oracle.services import models
from oracle.services.models import Selected
from oracle.services.network import Network
from oracle.types import Bytes32, Say
from oracle.valuation import readers
from oracle.valuation.dataset import DataSet
from oracle.valuation.errors import FormatUnknown
from oracle.valuation.readers import NO_MORE, ReadLimits
from oracle.valuation.schema import Schema


def read(
    paths: Sequence[Path],
    data: TrainingData,
    *,
    limits: ReadLimits = NO_MORE,
    drop_repeats: bool = False,
    say: Say = lambda _: None,
) -> DataSet:
    """Return one data set of all the files' rows.

    Raises:
        InputInvalid: no file was named.
        DataInvalid: a subclass says what is wrong: empty, oversized, another schema, NaN, a row
            that stands twice (also in two of the files).
        ReaderMissing: a format needs a package.
    """
    if not paths:
        raise InputInvalid("no file was named", hint="CSV, Parquet, NPZ, or a folder of pictures")
    schema = schema_of(data)
    found = []
    for path in paths:
        say(f"reading {path.name}")
        found.append(readers.read(path, schema, drop_repeats=drop_repeats, limits=limits))
    if len(found) == 1:
        return found[0]
    features = np.concatenate([one.features for one in found])
    labels = np.concatenate([one.labels for one in found])
    return DataSet.of(features, labels, where="all files together", drop_repeats=drop_repeats)


def schema_of(data: TrainingData) -> Schema:
    """Return the schema as readers want it."""
    return Schema(**{field.name: getattr(data, field.name) for field in fields(Schema)})


def fit(path: Path, label: str, labels: Sequence[str] = ()) -> TrainingData:
    """Return a schema whose 256 steps span the values of each column of a CSV file.

    Raises:
        DataInvalid: the file cannot be read, or has no such column.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header = next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FormatUnknown(f"{path} is not CSV in UTF-8: {error}") from error
    columns = tuple(name for name in header if name != label)
    plain = Schema(columns, (0.0,) * len(columns), (1.0,) * len(columns), label=label)
    values, _ = readers.raw(path, plain)
    found = Schema.fit(values, columns, label=label, labels=tuple(labels))
    return TrainingData(**{field.name: getattr(found, field.name) for field in fields(Schema)})


def load(path: Path) -> TrainingData:
    """Read a schema from a JSON file that a person wrote.

    Raises:
        NotFound: no such file. InputInvalid: it is no schema.
    """
    try:
        body = json.loads(path.read_text())
    except OSError as error:
        raise NotFound(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise InputInvalid(f"{path} is not JSON: {error}") from error
    return TrainingData.parse(canonical.dumps(body))


def of_model(network: Network, model_id: int) -> TrainingData | None:
    """Return the schema in the manifest of the newest version in use; None when it has none."""
    version = models.current_version(network, Selected(model_id, None))
    manifest: Manifest = models.manifest(network, model_id, version)
    return manifest.data


def publish(network: Network, data: TrainingData) -> Bytes32:
    """Put a schema on IPFS; return the digest by which rounds name it."""
    return network.ipfs.publish_bytes(data.to_bytes()).sha256


def fetch(network: Network, digest: Bytes32) -> TrainingData:
    """Return the schema that a round names.

    Raises:
        CidUnresolved: nobody has it. InputInvalid: what is there is no schema.
    """
    return TrainingData.parse(network.ipfs.fetch_bytes(raw_cid(digest), MAX_BLOCK))
