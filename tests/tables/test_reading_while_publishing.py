"""Another process reads all the while: it sees one whole version after the other, never a part of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.tables.builders import cycle, make_ids, published_bench

_READER = """
import json, sys, time
from pipeline.tables import query

seen = []
while not seen or seen[-1]["images"] < int(sys.argv[2]):
    (row,) = query("toy", '''
        SELECT (SELECT count(*) FROM images) AS images,
               (SELECT count(*) FROM facet_0) AS facet_0,
               (SELECT count(*) FROM facet_1) AS facet_1,
               (SELECT sum(size) FROM clusters WHERE facet = 1)::BIGINT AS clusters,
               (SELECT sum(n_images) FROM batches)::BIGINT AS batches,
               (SELECT count(DISTINCT model_version) FROM (FROM facet_0 UNION ALL FROM facet_1)) AS models
    ''', root=sys.argv[1], engine="arrow").to_pylist()
    if not seen:
        print("ready", flush=True)
    seen.append(row)
    time.sleep(0.2)  # the publisher shall get on
print(json.dumps(seen))
"""


@pytest.mark.no_cover  # a hundred times what other tests cover
def test_a_hundred_publishes_under_a_reading_loop(tmp_path):
    bench, ids = published_bench(tmp_path)
    models = ["m-aaaaaaaaaaaa", "m-bbbbbbbbbbbb"]
    bench.write_model(models[1], {batch: [cycle(len(of), 4, 1), cycle(len(of), 3)] for batch, of in ids.items()}, ids)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", _READER, str(tmp_path), "95"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
        for number in range(97):
            bench.publish(models[(number + 1) % 2])
        for number in range(3):
            batch_id, images = f"b-{number}", make_ids(5, 100 + 10 * number)
            bench.write_batch(batch_id, images)
            folder = bench.assign(batch_id, bench.history.served().model_version, images, [np.zeros(5, int)] * 2)
            bench.history.add_batches({batch_id: folder}, bench.batches)
        seen = json.loads(reader.stdout.read())
    assert bench.history.served().version == 101
    assert len(seen) > 3
    for row in seen:
        counts = {row["images"], row["facet_0"], row["facet_1"], row["clusters"], row["batches"]}
        assert len(counts) == 1
        assert row["models"] == 1
    assert seen[0]["images"] == 80
    assert seen[-1]["images"] == 95
