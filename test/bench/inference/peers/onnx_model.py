"""What the Python servers run: the same ONNX bytes with the session options that model-inference has."""

import numpy as np
import onnxruntime


class OnnxModel:
    def __init__(self, path):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.outputs = [output.name for output in self.session.get_outputs()]
        self.input = self.session.get_inputs()[0].name

    def run(self, feed):
        """Arrays by name; a ZipMap's maps are the rows of a matrix again."""
        values = self.session.run(None, feed)
        return {name: value if isinstance(value, np.ndarray) else matrix(value) for name, value in zip(self.outputs, values)}


def matrix(maps):
    return np.array([list(row.values()) for row in maps], np.float32)
