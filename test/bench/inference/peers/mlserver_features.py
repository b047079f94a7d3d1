"""A model in MLServer that reads its features itself, as it must where nothing fuses them in: the vector of an entity is one value of Redis, packed."""

import numpy as np
import redis
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from onnx_model import OnnxModel


class Features(MLModel):
    async def load(self) -> bool:
        parameters = self.settings.parameters
        self.onnx = OnnxModel(parameters.uri)
        self.columns = parameters.extra["columns"]
        self.redis = redis.Redis(port=parameters.extra["redis_port"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        entities = NumpyCodec.decode_input(payload.inputs[0]).reshape(-1).tolist()
        rows = self.redis.mget([f"features:{entity}" for entity in entities])
        vectors = np.frombuffer(b"".join(rows), np.float32).reshape(-1, self.columns)
        results = self.onnx.run({self.onnx.input: vectors})
        return InferenceResponse(
            id=payload.id,
            model_name=self.name,
            outputs=[NumpyCodec.encode_output(name, value) for name, value in results.items()],
        )
