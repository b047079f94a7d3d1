"""Writes the models that the Python frameworks make, as their exporters write them by default (with ZipMap), and what the frameworks answer.

    python models.py <folder> iris|gbdt...

iris.onnx and iris.json are kept in the repository; gbdt.onnx (100 trees of depth 6, 32 features) is too large and is made where it is measured.
"""

import json
import sys
from pathlib import Path

import numpy as np

folder, wanted = Path(sys.argv[1]), sys.argv[2:]
folder.mkdir(parents=True, exist_ok=True)


def write(name, model, rows, probabilities):
    (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
    expected = {"rows": rows.tolist(), "probabilities": np.asarray(probabilities).tolist()}
    (folder / f"{name}.json").write_text(json.dumps(expected) + "\n")


def iris():
    from skl2onnx import to_onnx
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    x, y = load_iris(return_X_y=True)
    x = x.astype(np.float32)
    fitted = LogisticRegression(max_iter=1000).fit(x, y)
    rows = x[::13]
    write("iris", to_onnx(fitted, x[:1], target_opset={"": 17, "ai.onnx.ml": 3}), rows, fitted.predict_proba(rows))


def gbdt():
    import lightgbm
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    random = np.random.default_rng(5)
    x = random.normal(size=(20_000, 32)).astype(np.float32)
    y = (x[:, 0] + x[:, 1] * x[:, 2] + np.sin(x[:, 3:12]).sum(1) + random.normal(size=len(x)) > 0).astype(np.int64)
    fitted = lightgbm.LGBMClassifier(n_estimators=100, max_depth=6, num_leaves=63, random_state=0, verbose=-1, n_jobs=1).fit(x, y)
    rows = random.normal(size=(256, 32)).astype(np.float32)
    model = convert_lightgbm(fitted, initial_types=[("input", FloatTensorType([None, 32]))], target_opset=15)
    write("gbdt", model, rows, fitted.predict_proba(rows))


for name in wanted:
    {"iris": iris, "gbdt": gbdt}[name]()
