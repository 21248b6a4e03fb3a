"""Makes ONNX, which operators run, of what the owner's own library wrote.

```
 frame (this process)                    child (no network, limits, writes one folder)
 recognise, hash ──── job.json ────────▶ the origin's own library reads it
 guard, run as operators do ◀─────────── model.onnx, about.json, probes.npz
        └─ the same answers as the library's? else refused
```
One file for each origin. The child may run under another Python, that of TensorFlow: there it
imports the standard library, NumPy and its origin's library alone.
"""
