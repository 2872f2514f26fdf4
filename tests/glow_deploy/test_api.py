import subprocess
import sys

import glow_deploy


def test_public_functions_stay_functions_whatever_is_imported_first():
    """The packages compile, export and verify bear the names of functions; neither may displace the other."""
    code = (
        "import glow_deploy.verify, glow_deploy.export, glow_deploy.compile\n"
        "from glow_deploy.verify import VerifySettings\n"
        "from glow_deploy.compile import CompileSettings\n"
        "from glow_deploy.export import ExportSettings\n"
        "import glow_deploy\n"
        "for _ in range(2):\n"
        "    for name in glow_deploy.__all__:\n"
        "        value = getattr(glow_deploy, name)\n"
        "        assert isinstance(value, str) or callable(value), name\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_version_is_that_of_the_distribution():
    from importlib.metadata import version

    assert glow_deploy.__version__ == version("glow-deploy")
