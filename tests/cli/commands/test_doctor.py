from __future__ import annotations

import json


def test_doctor(invoke):
    result = invoke("doctor")
    assert result.exit_code == 0
    assert "CPUExecutionProvider: works" in result.output
    report = json.loads(invoke("doctor", "--json", "-").stdout)
    assert report["packages"]["numpy"]
    assert {provider["name"]: provider["usable"] for provider in report["providers"]}["CPUExecutionProvider"] is True
