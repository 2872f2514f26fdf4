"""What `doctor` says of onnxruntime-web."""

from __future__ import annotations

from glow_deploy.artifact.flavors import WEB
from glow_deploy.doctor import web
from glow_deploy.engines.web_runtime import WASM


def test_each_backend_is_there_or_has_a_reason(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("GLOW_DEPLOY_BROWSER", raising=False)
    found = web.examine_web()
    assert tuple(found) == WEB
    assert "Chromium" in found["onnxruntime-web"]
    assert "Node" in found["onnxruntime-web-node"]
    for program in ("chromium", "node"):
        (tmp_path / program).write_text("")
        (tmp_path / program).chmod(0o755)
    for variable in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(variable, str(tmp_path))
    assert all("not in the cache" in reason for reason in web.examine_web().values())
    monkeypatch.setattr("glow_deploy.engines.web.web_runtime", lambda **_: {file.name: b"" for file in WASM})
    assert set(web.examine_web().values()) == {""}
