"""KServe's model server with ONNX models.

    python kserve_server.py <http port> <grpc port> <name>=<path>...
"""

import sys

import kserve
from kserve.utils.numpy_codec import from_np_dtype
from onnx_model import OnnxModel


class Onnx(kserve.Model):
    def __init__(self, name, path):
        super().__init__(name)
        self.onnx = OnnxModel(path)
        self.ready = True

    async def predict(self, payload, headers=None, response_headers=None):
        results = self.onnx.run({tensor.name: tensor.as_numpy() for tensor in payload.inputs})
        outputs = []
        for name, value in results.items():
            output = kserve.InferOutput(name, list(value.shape), from_np_dtype(value.dtype))
            output.set_data_from_numpy(value, binary_data=payload.from_grpc)
            outputs.append(output)
        return kserve.InferResponse(response_id=payload.id, model_name=self.name, infer_outputs=outputs)


http_port, grpc_port = int(sys.argv[1]), int(sys.argv[2])
models = [Onnx(*given.split("=", 1)) for given in sys.argv[3:]]
kserve.ModelServer(http_port=http_port, grpc_port=grpc_port, workers=1, enable_latency_logging=False).start(models)
