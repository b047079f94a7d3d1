"""Trains the flight-delay model on the training set that the mesh built, and exports ONNX with its scores and baselines.

    pip install -r requirements.txt
    python train.py training-set.parquet ../../../../node_modules/vega-datasets/data/flights-3m.parquet ../model

The training set has a row for each sampled flight: label_time, the join keys, distance_miles, delayed, and the features of the
service `flight_delay` as of the scheduled departure. January-March train, April-June test. The baselines know every flight of
January-March, not only the sampled ones. The example runs without Python: what this writes is committed.
"""
import hashlib
import json
import pathlib
import sys

import numpy as np
import onnxruntime
import pandas as pd
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SPLIT = pd.Timestamp("2001-04-01")
DELAYED_AFTER_MINUTES = 15
REQUEST = ["distance_miles", "hour_sin", "hour_cos", "weekday_sin", "weekday_cos"]


def rates(frame, keys, label):
    """The historical rate by key, and the overall rate for keys that were never seen."""
    return frame.groupby(keys)[label].mean()


def main(source, flights, target):
    frame = pd.read_parquet(source)
    frame["label_time"] = pd.to_datetime(frame["label_time"]).dt.tz_localize(None)
    frame["delayed"] = frame["delayed"].astype(int)
    hour = frame["label_time"].dt.hour + frame["label_time"].dt.minute / 60
    weekday = frame["label_time"].dt.dayofweek
    frame["hour_sin"], frame["hour_cos"] = np.sin(2 * np.pi * hour / 24), np.cos(2 * np.pi * hour / 24)
    frame["weekday_sin"], frame["weekday_cos"] = np.sin(2 * np.pi * weekday / 7), np.cos(2 * np.pi * weekday / 7)
    features = [name for name in frame.columns if "__" in name]
    columns = features + REQUEST
    train, test = frame[frame["label_time"] < SPLIT], frame[frame["label_time"] >= SPLIT]

    model = make_pipeline(SimpleImputer(strategy="mean", add_indicator=False), StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    model.fit(train[columns].astype(np.float32).to_numpy(), train["delayed"])
    score = model.predict_proba(test[columns].astype(np.float32).to_numpy())[:, 1]

    past = pd.read_parquet(flights)
    past = past[past["date"] < SPLIT]
    past["delayed"], past["hour"] = (past["delay"] > DELAYED_AFTER_MINUTES).astype(int), past["date"].dt.hour
    overall = past["delayed"].mean()
    by_route = rates(past, ["origin", "destination"], "delayed")
    by_hour = rates(past, ["origin", "hour"], "delayed")
    route = pd.Series(list(zip(test["origin"], test["destination"]))).map(by_route).fillna(overall)
    origin_hour = pd.Series(list(zip(test["origin"], test["hour"]))).map(by_hour).fillna(overall)

    onnx = to_onnx(model, initial_types=[("features", FloatTensorType([None, len(columns)]))], options={id(model): {"zipmap": False}}, target_opset=18)
    target = pathlib.Path(target)
    target.mkdir(parents=True, exist_ok=True)
    body = onnx.SerializeToString()
    (target / "flight-delay.onnx").write_bytes(body)
    session = onnxruntime.InferenceSession(body)
    sample = test[columns].astype(np.float32).to_numpy()[:5000]
    exported = session.run(["probabilities"], {"features": sample})[0][:, 1]

    card = {
        "sha256": hashlib.sha256(body).hexdigest(),
        "columns": [{"feature": name} for name in features] + [{"request": name} for name in REQUEST],
        "input": "features",
        "output": "probabilities",
        "output_column": 1,
        "trained_rows": len(train),
        "tested_rows": len(test),
        "scores": {
            "auc": round(float(roc_auc_score(test["delayed"], score)), 4),
            "auc_baseline_route": round(float(roc_auc_score(test["delayed"], route)), 4),
            "auc_baseline_origin_hour": round(float(roc_auc_score(test["delayed"], origin_hour)), 4),
            "log_loss": round(float(log_loss(test["delayed"], score)), 4),
            "positive_rate": round(float(test["delayed"].mean()), 4),
            "max_difference_onnx_sklearn": float(np.abs(exported - score[: len(exported)]).max()),
        },
    }
    (target / "model.json").write_text(json.dumps(card, indent=2) + "\n")
    baselines = {
        "overall": round(float(overall), 5),
        "route": {f"{a}-{b}": round(float(v), 5) for (a, b), v in by_route.items()},
        "origin_hour": {f"{a}-{b}": round(float(v), 5) for (a, b), v in by_hour.items()},
    }
    (target / "baselines.json").write_text(json.dumps(baselines) + "\n")
    print(json.dumps(card["scores"]))


if __name__ == "__main__":
    main(*sys.argv[1:4])
