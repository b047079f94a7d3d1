"""Feast's side of the benchmark: the same views and values in a Redis of its own.

    python peer.py <folder> <redis port> <views> <features per view> <entities>

Writes a feature repository into the folder, applies it, and writes every row with Feast's own Redis store. Values come from the formula that
feast.ts has too, so that both sides can be checked against it.
"""

import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

folder, port, views, per_view, entities = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:6])
TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)

DEFINITIONS = f"""
from datetime import timedelta
from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, ValueType
from feast.types import Int64

entity = Entity(name="entity", join_keys=["entity"], value_type=ValueType.INT64)
views = [
    FeatureView(
        name=f"view_{{v}}", entities=[entity], ttl=timedelta(0),
        source=PushSource(name=f"source_{{v}}", batch_source=FileSource(name=f"batch_{{v}}", path="rows.parquet", timestamp_field="event_timestamp")),
        schema=[Field(name="entity", dtype=Int64)] + [Field(name=f"feature_{{v * {per_view} + f}}", dtype=Int64) for f in range({per_view})],
    )
    for v in range({views})
]
for view in views:
    globals()[view.name] = view
service_50 = FeatureService(name="service_50", features=views[: 50 // {per_view}])
service_250 = FeatureService(name="service_250", features=views[: 250 // {per_view}])
"""

folder.mkdir(parents=True, exist_ok=True)
(folder / "feature_store.yaml").write_text(
    f"project: bench\nprovider: local\nregistry: {folder}/registry.db\n"
    f"online_store:\n  type: redis\n  connection_string: 127.0.0.1:{port}\n  skip_dedup: true\n"
    "entity_key_serialization_version: 3\n"
)
(folder / "definitions.py").write_text(DEFINITIONS)
import pandas as pd

pd.DataFrame(
    {"entity": [0], "event_timestamp": [TIME], **{f"feature_{i}": [0] for i in range(views * per_view)}}
).to_parquet(folder / "rows.parquet")
subprocess.run([str(Path(sys.executable).parent / "feast"), "-c", str(folder), "apply"], check=True, capture_output=True)

from feast import FeatureStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

store = FeatureStore(str(folder))
provider = store._get_provider()
keys = [EntityKey(join_keys=["entity"], entity_values=[Value(int64_val=e)]) for e in range(entities)]
numbers = [Value(int64_val=n) for n in range(10_000)]
for v in range(views):
    view = store.get_feature_view(f"view_{v}")
    names = [(f"feature_{v * per_view + f}", v * per_view + f) for f in range(per_view)]
    rows = [
        (keys[e], {name: numbers[(e * 7919 + i * 104_729) % 10_000] for name, i in names}, TIME, None)
        for e in range(entities)
    ]
    provider.online_write_batch(store.config, view, rows, None)
    print(v + 1, flush=True)
