from __future__ import annotations

from fake_triton import parse_pbtxt

from glow_deploy.serving.pbtxt import Word, pbtxt


def test_what_is_written_reads_back():
    fields = {
        "name": 'a "b" \\ c',
        "on": True,
        "count": -3,
        "kind": Word("KIND_CPU"),
        "dims": [3, 8],
        "shape": [],
        "left_out": None,
        "input": [{"name": "x", "reshape": {"shape": []}}, {"name": "y"}],
    }
    assert parse_pbtxt(pbtxt(fields)) == {
        "name": ['a "b" \\ c'],
        "on": ["true"],
        "count": [-3],
        "kind": ["KIND_CPU"],
        "dims": [3, 8],
        "shape": [],
        "input": [{"name": ["x"], "reshape": [{"shape": []}]}, {"name": ["y"]}],
    }


def test_no_text_leaves_its_quotes():
    text = pbtxt({"name": 'x"\n}\x00é'})
    assert text.count("\n") == 1
    assert text.isascii()
    assert text == 'name: "x\\"\\012}\\000\\303\\251"\n'
