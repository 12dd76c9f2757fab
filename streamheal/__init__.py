"""streamheal: video surveillance that heals faces.

faces = streamheal.restore(lr)                      # uint8 (N, s, s, 3) → (N, 128, 128, 3)
sure = streamheal.same_person(cosine, face.identity.original)  # P(same person); docs/honesty.md
made = streamheal.edit(face, move={"mouth": (0, 3)})  # a face with other landmarks than it has
said = streamheal.read_provenance(png)                # how a picture of a healed face came to be
summary = streamheal.Pipeline.from_file("pipelines/demo.yaml").run()
"""

import os

# Torch's OpenMP threads spin while they wait for each other. Where other processes want the cores too (camera readers
# do), the one that is waited for doesn't get to run: healing beside two busy processes on two cores took 3.3 times as
# long (benchmarks/busy_cores.py).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
__all__ = ["Pipeline", "__version__", "edit", "read_provenance", "restore"]


def __getattr__(name: str):
    # Loaded when asked for: `import streamheal` and `streamheal --help` must not wait for torch.
    if name == "restore":
        from streamheal.heal.restorer import restore

        return restore
    if name == "edit":
        from streamheal.heal.editing import edit

        return edit
    if name == "read_provenance":
        from streamheal.publish.provenance_xmp import read_provenance

        return read_provenance
    if name == "same_person":
        from streamheal.calibration import same_person

        return same_person
    if name == "Pipeline":
        from streamheal.pipeline import Pipeline

        return Pipeline
    raise AttributeError(f"module 'streamheal' has no attribute {name!r}")
