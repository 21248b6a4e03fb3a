"""Softmax regression on handwritten digits in TensorFlow: trained, checkpointed, and saved.

    python train.py digits.npz OUT

`digits.npz` holds `images` [n, 64] and `labels` [n]. It runs in TensorFlow's own environment
(docs/importing.md). OUT gets `checkpoint/`, `saved_model/` and `digits.keras`, the latter two from
a model that was restored from the checkpoint.
"""

import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf


def softmax_regression() -> keras.Model:
    """Return softmax(W x + b) of 64 pixels and 10 digits."""
    layers = [keras.Input((64,), name="image"), keras.layers.Dense(10, activation="softmax")]
    return keras.Sequential(layers)


def main(data: Path, out: Path) -> None:
    """Train, write a checkpoint, read it again, and save what operators' owners publish."""
    keras.utils.set_random_seed(0)
    with np.load(data, allow_pickle=False) as archive:
        images, labels = archive["images"].astype("float32") / 16, archive["labels"]
    trained = softmax_regression()
    trained.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    trained.fit(images, labels, batch_size=64, epochs=12, verbose=0)
    path = tf.train.Checkpoint(model=trained).write(str(out / "checkpoint" / "digits"))
    model = softmax_regression()
    tf.train.Checkpoint(model=model).read(path).expect_partial()
    model.export(out / "saved_model", verbose=False)
    model.save(out / "digits.keras")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
