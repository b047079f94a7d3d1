"""MLServer has no runtime for ONNX: this is the custom one that its documentation says to write."""

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from onnx_model import OnnxModel


class Onnx(MLModel):
    async def load(self) -> bool:
        self.onnx = OnnxModel(self.settings.parameters.uri)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        results = self.onnx.run({tensor.name: NumpyCodec.decode_input(tensor) for tensor in payload.inputs})
        return InferenceResponse(
            id=payload.id,
            model_name=self.name,
            model_version=self.version,
            outputs=[NumpyCodec.encode_output(name, value) for name, value in results.items()],
        )
