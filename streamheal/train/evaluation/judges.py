"""The judge of identity: a face network that nothing here is trained on, or its figures would mean nothing."""

from pathlib import Path

import numpy as np

from streamheal.errors import StreamhealError
from streamheal.train.beside import weights_beside

FILE = "evaluator_mobilefacenet192.tflite"


class IdentityJudge:
    """MobileFaceNet, 192-d. Its file lies in `weights/` beside the data folder (see the data's own notes)."""

    def __init__(self, data_dir: Path, threads: int = 1):
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise StreamhealError(
                "the identity judge runs on ai-edge-litert: pip install 'streamheal[evaluate]'"
            ) from error
        path = weights_beside(data_dir, FILE, "the judge of identity")
        self.network = Interpreter(str(path), num_threads=threads)
        self.network.allocate_tensors()
        self.input, self.output = self.network.get_input_details()[0], self.network.get_output_details()[0]

    def __call__(self, faces: np.ndarray) -> np.ndarray:
        """uint8 RGB `(N, 128, 128, 3)` in the canonical template → `(N, 192)` float32, L2-normalised."""
        size = int(self.input["shape"][0])  # the file has a fixed batch
        crops = (faces[:, 0:112, 8:120].astype(np.float32) - 127.5) / 128  # the ArcFace crop of the template
        out = []
        for start in range(0, len(crops), size):
            part = crops[start : start + size]
            padded = np.concatenate([part, part[:1].repeat(size - len(part), 0)])
            self.network.set_tensor(self.input["index"], padded)
            self.network.invoke()
            out.append(self.network.get_tensor(self.output["index"])[: len(part)].copy())
        embeddings = np.concatenate(out)
        return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
