"""Small perturbed models in bundles, directions for one of them, and clients of their pages."""

from __future__ import annotations

import io
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

for folder in (Path(__file__).parent, Path(__file__).parents[1]):  # asking.py and browsing.py are imported by name
    sys.path.insert(0, str(folder))

HUGE = 1e5  # a direction along which no model can be followed far


@pytest.fixture(scope="session")
def make_bundle(perturbed_glow, tmp_path_factory):
    """Export a small model; keyword arguments go to its config."""

    def make(name, **config):
        from glow_core import GlowConfig, save_checkpoint
        from glow_deploy.export import ExportSettings, export

        folder = tmp_path_factory.mktemp(name)
        settings = {"image_size": (8, 8), "levels": 2, "steps": 2, "width": 8, "n_bits": 5, **config}
        save_checkpoint(perturbed_glow(GlowConfig(**settings)), folder / "ckpt.pt")
        export(folder / "ckpt.pt", out=folder / name, settings=ExportSettings(golden=6))
        return folder / name

    return make


@pytest.fixture(scope="session")
def bundle(make_bundle):
    """8x8 RGB, 5 bit, two levels."""
    return make_bundle("rgb")


@pytest.fixture(scope="session")
def grey_bundle(make_bundle):
    """8x8 grey, 8 bit."""
    return make_bundle("grey", channels=1, n_bits=8)


@pytest.fixture(scope="session")
def data_bundle(perturbed_glow, tmp_path_factory):
    """Golden images are data: flat greys, which noise is not like."""
    from glow_core import GlowConfig, save_checkpoint
    from glow_deploy.export import export

    folder = tmp_path_factory.mktemp("data")
    greys = np.linspace(100, 156, 12).astype(np.uint8)[:, None, None, None]
    np.savez(folder / "greys.npz", images=np.broadcast_to(greys, (12, 8, 8, 3)))
    save_checkpoint(
        perturbed_glow(GlowConfig(image_size=(8, 8), levels=2, steps=2, width=8, n_bits=5)), folder / "c.pt"
    )
    return export(folder / "c.pt", out=folder / "data", data=str(folder / "greys.npz"), golden=12, force=True).path


@pytest.fixture(scope="session")
def class_bundle(make_bundle):
    """Three classes."""
    return make_bundle("classes", num_classes=3)


@pytest.fixture(scope="session")
def directions_file(bundle, tmp_path_factory):
    """Two directions of `bundle`: a gentle one, and one that leads out of every range at once."""
    from glow_deploy.artifact.bundle import Bundle
    from glow_deploy.directions.directions import Attribute, Directions
    from glow_deploy.directions.files import save_directions
    from glow_deploy.directions.reach import Reach
    from glow_deploy.directions.soundness import Soundness

    manifest = Bundle.open(bundle).manifest
    rng = np.random.default_rng(5)

    def attribute(name, scale, low, high):
        return Attribute(
            name=name,
            vectors=tuple((scale * rng.normal(size=shape)).astype(np.float32) for shape in manifest.latent_shapes),
            counts=(30, 30),
            held_out=(20, 20),
            auc=0.9,
            auc_interval=(0.8, 1.0),
            auc_by_level=(0.9, 0.6),
            removing=Reach(amount=low, median=low, images=20),
            adding=Reach(amount=high, median=high, images=20),
        )

    path = tmp_path_factory.mktemp("directions") / "toys.npz"
    both = (attribute("smiling", 0.1, 2.07, 1.5), attribute("far_out", HUGE, 3.0, 3.0))
    found = Directions(
        model_id=manifest.model_id, source="toys", attributes=both, limit=3.0, survival=0.95, soundness=Soundness()
    )
    save_directions(path, found)
    return path


@pytest.fixture
def visit():
    """Open the page of a bundle as a browser on this machine does; keyword arguments are settings."""
    testclient = pytest.importorskip("starlette.testclient", reason="starlette and httpx2 are needed")
    from glow_deploy.explore import ExploreSettings, create_app

    with ExitStack() as stack:

        def open_page(path: Path, **settings):
            app = create_app(path, settings=ExploreSettings(**{"draws": 2, **settings}))
            return stack.enter_context(testclient.TestClient(app, base_url="http://127.0.0.1:8421"))

        yield open_page


@pytest.fixture
def client(visit, bundle, directions_file):
    """The page of `bundle`, with its directions."""
    return visit(bundle, directions=directions_file)


@pytest.fixture(scope="session")
def picture():
    """The bytes of a picture file: `picture(8, 8, format="JPEG")`."""

    def make(width=8, height=8, *, mode="RGB", format="PNG", seed=0, **options):
        from PIL import Image

        shape = (height, width) if mode == "L" else (height, width, len(mode))
        values = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(values).save(stream, format=format, **options)
        return stream.getvalue()

    return make


@pytest.fixture(scope="session")
def values_of():
    """Values uint8 [C, H, W] of a picture in an answer."""

    def read(uri):
        import base64

        from glow_deploy.images import read_picture

        head, _, data = uri.partition(",")
        assert head == "data:image/png;base64"
        return read_picture(base64.b64decode(data))

    return read
