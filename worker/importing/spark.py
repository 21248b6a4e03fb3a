"""Spark ML's pipelines as ONNX: a folder that `PipelineModel.save` wrote, by our own reading.

```
 metadata (JSON): classes, parameters ─ all known? ─▶ Spark's own Parquet reader ─▶ graph
                                                   └▶ PipelineModel.load ─────────▶ answers
```
Spark makes objects of the classes that a folder names, so none is loaded that is not known here.
What words a column may hold is in the folder; a column of words is served as their places.
Source: Spark 4.3, mllib/src/main/scala/org/apache/spark/ml.
"""

import json
import os
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from oracle.errors import ConfigInvalid
from worker.errors import ModelUnsupported, PickleRefused, WeightsInvalid
from worker.exact.trees.files import FEATURES
from worker.importing.converted import ROWS, Array, Conversion, Converted, samples_of
from worker.importing.spark_stages import KNOWN, SparkPipeline, SparkStage, assembled

_PACKAGE = "org.apache.spark.ml."
_MAX_METADATA = 2**24  # bytes of a stage
_HEAP = "2g"


def convert(job: Conversion) -> Converted:
    """Convert the folder of a PipelineModel.

    Raises:
        PickleRefused: it names a class that is not Spark's own.
        ModelUnsupported: a stage or a parameter that has no form here.
        WeightsInvalid: damaged. ConfigInvalid: no Java.
    """
    folder = Path(job.source)
    stages = read_stages(folder)
    spark = _session()
    try:
        pipeline = assembled([_with_data(spark, stage) for stage in stages])
        rows = pipeline.drawn(ROWS)
        if (given := samples_of(job, (FEATURES,))) is not None:
            rows = np.concatenate([given[FEATURES].astype(np.float64), rows])
        answers = _answers(spark, folder, pipeline, rows)
    finally:
        spark.stop()
    return Converted(
        pipeline.model(), f"spark {spark.version}", pipeline.labels, pipeline.names,
        {FEATURES: rows}, answers, pipeline.categories,
    )  # fmt: skip


# ── Before anything is loaded ───────────────────────────────────────────────────────────────────
def read_stages(folder: Path) -> list[SparkStage]:
    """Return the stages in order, without their data. Errors as `convert`."""
    whole = _metadata(folder)
    if whole.get("class") != f"{_PACKAGE}PipelineModel":
        raise ModelUnsupported(
            f"{folder.name} is no fitted pipeline of Spark: {str(whole.get('class'))[:100]}",
            hint="fit it, then `pipeline_model.write().save(folder)`",
        )
    try:
        uids = [str(uid) for uid in whole["paramMap"]["stageUids"]]
        places = {one.name.partition("_")[2]: one for one in (folder / "stages").iterdir()}
        return [_stage(places[uid]) for uid in uids]
    except (KeyError, TypeError, OSError) as error:
        raise WeightsInvalid(f"the stages do not fit the pipeline: {error!r:.200}") from error


def _stage(folder: Path) -> SparkStage:
    said = _metadata(folder)
    whole, params = str(said.get("class")), said.get("paramMap")
    name = whole.rpartition(".")[2]
    if not whole.startswith(_PACKAGE):
        raise PickleRefused(
            f"stage {folder.name} is a {whole:.100}, whose code is not Spark's own",
            hint="save a pipeline of Spark's own stages",
        )
    if KNOWN.get(name) != whole.removeprefix(_PACKAGE).rpartition(".")[0]:
        raise ModelUnsupported(
            f"Spark's {whole.removeprefix(_PACKAGE):.100} has no form in ONNX here",
            hint=f"known: {', '.join(KNOWN)}",
        )
    if not isinstance(params, dict) or not isinstance(said.get("defaultParamMap", {}), dict):
        raise WeightsInvalid(f"stage {folder.name} has no parameters")
    return SparkStage(name, folder, {**said.get("defaultParamMap", {}), **params}, {}, said)


def _metadata(folder: Path) -> dict[str, Any]:
    try:
        (part,) = (folder / "metadata").glob("part-*")
        if part.stat().st_size > _MAX_METADATA:
            raise ValueError(f"{part.name} is above {_MAX_METADATA} bytes")
        said = json.loads(part.read_text())
        if not isinstance(said, dict) or "language" in said.get("paramMap", {}):
            raise ValueError("it is not what Spark's own classes write")
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise WeightsInvalid(f"{folder.name} has no metadata: {error!r:.200}") from error
    return said


# ── Spark itself ────────────────────────────────────────────────────────────────────────────────
def _session() -> Any:
    """Start Spark in a Java machine of one thread that writes here alone.

    Raises:
        ConfigInvalid: there is no Java, or it does not start.
    """
    home = os.environ.get("JAVA_HOME")
    if shutil.which("java", path=f"{home}/bin" if home else None) is None:
        raise ConfigInvalid("there is no Java" + (f" in {home}" if home else ""))
    here = str(Path.cwd())
    os.environ |= {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_LOCAL_HOSTNAME": "localhost"}
    os.environ |= {"SPARK_LOCAL_DIRS": here, "MALLOC_ARENA_MAX": "2"}
    library = import_module("pyspark.sql")
    java = f"-XX:-UsePerfData -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.io.tmpdir={here}"
    options = {
        "spark.ui.enabled": "false", "spark.driver.memory": _HEAP, "spark.local.dir": here,
        "spark.driver.extraJavaOptions": java, "spark.sql.warehouse.dir": here,
        "spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "localhost",
        "spark.sql.codegen.wholeStage": "false", "spark.ui.showConsoleProgress": "false",
    }  # fmt: skip
    builder = library.SparkSession.builder.master("local[1]")
    for name, value in options.items():
        builder = builder.config(name, value)
    try:
        return builder.getOrCreate()
    except Exception as error:  # its errors share no base class
        raise ConfigInvalid(f"Spark does not start: {error!s:.200}") from error


def _with_data(spark: Any, stage: SparkStage) -> SparkStage:
    """Return a stage with the rows of its Parquet files."""
    tables: dict[str, list[Any]] = {}
    for name in ("data", "treesMetadata"):
        if (stage.folder / name).is_dir():
            try:
                tables[name] = spark.read.parquet(f"file://{stage.folder / name}").collect()
            except Exception as error:  # py4j's errors share no base class with Spark's
                raise WeightsInvalid(f"{stage.folder.name} is damaged: {error!s:.200}") from error
    return SparkStage(stage.name, stage.folder, stage.params, tables, stage.metadata)


def _answers(spark: Any, folder: Path, pipeline: SparkPipeline, rows: Array) -> dict[str, Array]:
    """Return what Spark answers to rows, by the names of the graph's outputs."""
    ml, types = import_module("pyspark.ml"), import_module("pyspark.sql.types")
    vectors = import_module("pyspark.ml.linalg").VectorUDT
    lines, fields = [], []
    if pipeline.names:
        words = {name: pipeline.words(name) for name in pipeline.names}
        for row in rows:
            asked = zip(words.items(), row.tolist(), strict=True)
            lines.append({n: value if w is None else w[int(value)] for (n, w), value in asked})
        for name, held in words.items():
            kind = types.DoubleType() if held is None else types.StringType()
            fields.append(types.StructField(name, kind))
    else:
        lines = [{pipeline.vector: {"type": 1, "values": row.tolist()}} for row in rows]
        fields = [types.StructField(pipeline.vector, vectors())]
    # From a file: rows of Python would be read by a Python that Spark starts, out of our packages
    asked_of = Path.cwd() / "asked.json"
    asked_of.write_text("\n".join(map(json.dumps, lines)))
    frame = spark.read.schema(types.StructType(fields)).json(f"file://{asked_of}")
    try:
        model = ml.PipelineModel.load(f"file://{folder}")
        found = model.transform(frame).select(*pipeline.gives.values()).collect()
    except Exception as error:  # as above
        raise WeightsInvalid(f"Spark does not answer with it: {error!s:.300}") from error
    answers: dict[str, Array] = {}
    for place, name in enumerate(pipeline.gives):
        column = [one[place] for one in found]
        if name == "class":
            answers[name] = np.array(column, np.int64)
        else:
            numbers = [one.toArray() if hasattr(one, "toArray") else [one] for one in column]
            answers[name] = np.array(numbers, np.float32)
    return answers
