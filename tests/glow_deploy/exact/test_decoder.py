from __future__ import annotations

import numpy as np
from exact_models import feeds_of, ort_run

from glow_deploy.artifact.graph_file import read_graph
from glow_deploy.graphs.serialize import serialize


def labels(made, count):
    classes = made.folded.num_classes
    return None if classes is None else (np.arange(count) % classes).astype(np.int64)


def test_normal_numbers_are_rounded_to_the_grid_as_the_reference_does(made):
    """But for a number that lies between two integers to the last digit of an exponential."""
    generator = np.random.default_rng(7)
    z = [0.7 * generator.normal(size=(5, *shape)).astype(np.float32) for shape in made.built.model.latent_shapes]
    found = ort_run(made.decoder.to_model(), feeds_of(z, normal=True, y=labels(made, 5)))
    wanted, in_range = made.run.decode(z, labels(made, 5), normal=True)
    np.testing.assert_allclose(found["x"], wanted, atol=0.1 / 2**made.folded.n_bits)
    np.testing.assert_array_equal(found["in_range"], in_range)
    # What came of it is exact again.
    again = made.run.encode(found["x"], labels(made, 5))
    back = ort_run(made.decoder.to_model(), feeds_of(again.z, normal=False, y=labels(made, 5)))
    np.testing.assert_array_equal(back["x"], found["x"])


def test_rows_may_be_of_either_kind(made):
    generator = np.random.default_rng(8)
    z = [
        np.rint(900 * generator.normal(size=(4, *shape))).astype(np.float32) for shape in made.built.model.latent_shapes
    ]
    for part in z:
        part[::2] /= 900
    feeds = feeds_of(z, normal=False, y=labels(made, 4))
    feeds["as_normal"][::2] = 1
    found = ort_run(made.decoder.to_model(), feeds)["x"]
    for normal, rows in ((True, slice(0, None, 2)), (False, slice(1, None, 2))):
        y = labels(made, 4)
        wanted, _ = made.run.decode([part[rows] for part in z], None if y is None else y[rows], normal=normal)
        np.testing.assert_allclose(found[rows], wanted, atol=0.1 / 2**made.folded.n_bits if normal else 0)


def test_graphs_pass_the_check_of_files(made):
    for role, graph in (("encoder", made.encoder), ("decoder", made.decoder)):
        found = read_graph(serialize(graph), source="graph")
        assert found.facts.role == role
        assert found.facts.precision == "exact"
        assert "in_range" in [spec.name for spec in found.outputs]
        assert found.metadata["glow_deploy.exact.limit"] == str(made.built.model.limit)


def test_as_normal_is_0_or_1(rgb):
    z = [np.zeros((7, *shape)) for shape in rgb.built.model.latent_shapes]
    feeds = feeds_of(z, normal=False)
    feeds["as_normal"][:, 0, 0, 0] = [0, 1, 1e-3, 0.5, 2, -1, np.nan]
    np.testing.assert_array_equal(ort_run(rgb.decoder.to_model(), feeds)["in_range"], [1, 1, 0, 0, 0, 0, 0])
