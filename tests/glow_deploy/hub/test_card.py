from __future__ import annotations

import shutil

import yaml

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.hub.card import model_card
from glow_deploy.verify import verify


def head(card):
    return yaml.safe_load(card.split("---\n")[1])


def test_the_fields_are_yaml_whatever_is_in_them(bundle, tmp_path):
    report = verify(bundle, backends=("onnxruntime-cpu",), random_draws=2)
    options = {"repo": "me/faces", "temperature": 0.7}
    found = head(model_card(Bundle.open(bundle), report, license="mit", **options))
    assert (found["license"], found["library_name"]) == ("mit", "glow-deploy")
    odd = 'x"\ny: [1]\n---\n'
    card = model_card(Bundle.open(bundle), report, license="other", license_name=odd, license_link=odd, **options)
    assert head(card.replace("---\\n", "~~~\\n"))["license_name"] == odd.replace("---", "~~~")
    shutil.copytree(bundle, tmp_path / "b")
    manifest = tmp_path / "b" / "manifest.json"
    text = manifest.read_text().replace('"permutation": "lu"', '"permutation": "<img src=x>|\\n# pwned"')
    manifest.write_text(text)
    card = model_card(Bundle.open(tmp_path / "b"), report, license="mit", **options)
    assert "<img" not in card
    assert "\n# pwned" not in card
