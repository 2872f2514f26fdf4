from __future__ import annotations


def test_stages_are_rewritten_on_a_terminal():
    from glow_deploy.verify.pytest_plugin.progress import TerminalLine

    lines = []

    class Reporter:
        isatty = True

        def write_line(self, line):
            lines.append(line)

        def rewrite(self, line, **options):
            lines.append(line)

    class Config:
        class pluginmanager:  # noqa: N801
            get_plugin = staticmethod(lambda name: Reporter())

        get_verbosity = staticmethod(lambda: 0)

    progress = TerminalLine(Config)
    progress.start("measuring b")
    progress.stage("32 golden images", 8, 32)
    progress.stage("32 golden images", 9, 32)  # too soon
    progress.stop("measured b")
    assert lines == [
        "glow-deploy: measuring b",
        "glow-deploy: 32 golden images 8/32",
        "",
        "glow-deploy: measured b",
    ]
