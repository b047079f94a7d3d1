"""BentoML's service with one ONNX model, MODEL. Adaptive batching takes one array and gives one: the model's last output."""

import os

import bentoml
import numpy as np
from onnx_model import OnnxModel


@bentoml.service(workers=1, metrics={"enabled": False}, traffic={"timeout": 60, "max_concurrency": 1000}, logging={"access": {"enabled": False}})
class Onnx:
    def __init__(self):
        self.onnx = OnnxModel(os.environ["MODEL"])

    @bentoml.api(batchable=True, max_batch_size=300, max_latency_ms=1000)
    def predict(self, x: np.ndarray) -> np.ndarray:
        return list(self.onnx.run({self.onnx.input: x.astype(np.float32)}).values())[-1]
