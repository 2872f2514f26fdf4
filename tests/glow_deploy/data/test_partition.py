import unicodedata

import numpy as np
import pytest

from glow_deploy.data import load_images, open_images
from glow_deploy.directions.labelled import load_labelled
from glow_deploy.errors import DataError
from glow_deploy.images import write_png

COUNT = 12


@pytest.fixture
def celeba(tmp_path):
    """The folders and files of CelebA, small."""
    pictures = tmp_path / "celeba" / "img_align_celeba"
    pictures.mkdir(parents=True)
    for number in range(COUNT):
        write_png(pictures / f"{number:06d}.png", np.full((3, 4, 4), number, np.uint8))
    lines = [f"{number:06d}.png {0 if number < 6 else 1 if number < 8 else 2}" for number in range(COUNT)]
    (tmp_path / "celeba" / "list_eval_partition.txt").write_text("\n".join(lines) + "\n")
    rows = [f"{number:06d}.png  {1 if number % 2 else -1}" for number in range(COUNT)]
    (tmp_path / "celeba" / "list_attr_celeba.txt").write_text("\n".join([str(COUNT), "Odd", *rows]) + "\n")
    return tmp_path / "celeba"


def _content(images):
    return images.batch(range(len(images)))[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("below", ["", "img_align_celeba"])
def test_the_list_divides_the_pictures(celeba, below):
    opened = open_images(celeba / below)
    assert _content(opened.take("train")) == [0, 1, 2, 3, 4, 5]
    assert _content(opened.take("validation")) == [6, 7]
    assert _content(opened.take("test")) == [8, 9, 10, 11]
    assert any("divided as" in note for note in opened.take("train").notes)


def test_attributes_and_partition_go_together(celeba):
    found = load_labelled(celeba, labels=celeba / "list_attr_celeba.txt")
    assert (_content(found.train), _content(found.held_out)) == ([0, 1, 2, 3, 4, 5], [8, 9, 10, 11])
    assert found.held_out.attributes[:, 0].tolist() == [False, True, False, True]
    assert not any("rows of" in note for note in found.notes)


def test_the_form_with_commas_and_a_heading(celeba):
    path = celeba / "list_eval_partition.txt"
    lines = ["image_id,partition", *(line.replace(" ", ",") for line in path.read_text().splitlines())]
    path.unlink()
    path.with_suffix(".csv").write_text("\n".join(lines))
    assert _content(load_images(celeba, split="validation")) == [6, 7]


def test_pictures_that_the_list_does_not_name_are_counted(celeba):
    write_png(celeba / "img_align_celeba" / "new.png", np.full((3, 4, 4), 99, np.uint8))
    images = load_images(celeba, split="train")
    assert 99 not in _content(images)
    assert any("1 pictures that it does not name are left out" in note for note in images.notes)


def test_a_list_of_other_pictures_is_passed_over(celeba):
    (celeba / "list_eval_partition.txt").write_text("elsewhere.png 0\n")
    assert len(load_images(celeba, split="test")) == COUNT


@pytest.mark.parametrize("line", ["000003.png 7", "000003.png", "000003.png x"])
def test_a_damaged_list_is_one_clear_error(celeba, line):
    path = celeba / "list_eval_partition.txt"
    lines = path.read_text().splitlines()
    lines[3] = line
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"list_eval_partition\.txt, line 4"):
        open_images(celeba)


def test_class_folders_are_one_class_however_accents_are_spelt(tmp_path):
    for split, form in (("train", "NFC"), ("test", "NFD")):
        for name in ("café", "thé"):
            path = tmp_path / split / unicodedata.normalize(form, name) / "0.png"
            path.parent.mkdir(parents=True)
            write_png(path, np.zeros((1, 4, 4), np.uint8))
    opened = open_images(tmp_path)
    assert opened.take("test").class_names == opened.take("train").class_names == ("café", "thé")
    assert opened.take("test").labels.tolist() == [0, 1]
