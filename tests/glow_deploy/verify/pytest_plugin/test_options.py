from __future__ import annotations


def test_several_bundles_get_several_report_files(tmp_path):
    from glow_deploy.verify.pytest_plugin.options import target_of

    one, two, three = (tmp_path / name for name in ("a/bundle", "b/bundle", "c"))
    target = tmp_path / "r.html"
    assert target_of(target, one, bundles=(one,)) == target
    names = [target_of(target, b, bundles=(one, two, three)).name for b in (one, two, three)]
    assert names == ["r-bundle-1.html", "r-bundle-2.html", "r-c.html"]
