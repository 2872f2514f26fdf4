"""The tests mirror the packages, and every module that does something has a test file."""

from __future__ import annotations

import ast

from house import MODULES, ROOT

# Tests of several modules together, and what holds them together. Every other test file is a module's namesake.
SPANNING = {
    "bytes": "what the builders and the serialiser give together",
    "graphs": "encoder and decoder against the model",
    "sixteen_bit": "narrow graphs through several modules",
    "edges_and_priors": "one feature of the model through several modules",
    "signatures": "signed bundles, through everything that `verify` reads",
    "sound": "a sound model passes everywhere",
    "faults": "planted faults, found wherever they are",
    "tampering": "changed files, noticed wherever they are",
    "openvino": "one backend through every command and every section of verify",
    "trained": "a model that was trained, not drawn",
    "real": "a page of a real report",
    "browser": "pages in a real browser",
    "fuzz": "damaged files of every kind",
    "faces": "the embedded data",
    "torch": "against PyTorch",
    "api": "what importing the package gives",
    "outcomes": "the plugin's passes and failures",
    "ci_docs": "the examples of docs/ci",
    "bring_your_own": "the worked page of the docs",
    "normflows_package": "against the package itself",
    "crashes": "training that is killed",
    "initial": "training from given weights",
    "accumulate": "a step in parts",
    "resume": "training that goes on",
    "hostile": "files made to harm, in every command",
    "bad_inputs": "every command refuses what it cannot use",
    "class_conditional": "classes through every command",
    "classes_between_pictures": "classes in commands on several pictures",
    "examples": "the examples of every --help",
    "json": "the documents of every command",
    "remedies": "what errors say to do",
}  # fmt: skip


def test_the_tests_mirror_the_packages():
    strangers, unused = [], set(SPANNING)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        place = path.relative_to(ROOT / "tests")
        if len(place.parts) == 1 or place.parts[0] == "gpu":
            continue  # of the project as a whole, and of what a GPU does
        folder, name = ROOT.joinpath(*place.parts[:-1]), place.stem.removeprefix("test_")
        assert folder.is_dir(), f"tests/{place} lies in a folder that mirrors no package"
        if (folder / f"{name}.py").is_file() or (folder / name).is_dir():
            continue
        unused.discard(name)
        if name not in SPANNING:
            strangers.append(str(place))
    assert strangers == [], "name a test file after the module it tests, or say in SPANNING what it spans"
    assert unused == set(), "SPANNING lists what is not there"


# Modules whose tests lie in another file, as their work shows only together with its: module -> that file in tests/.
ELSEWHERE = {
    "glow_core/convert.py": "glow_core/test_checkpoint.py",
    "glow_core/own_files.py": "glow_core/training/test_folder.py",
    "glow_core/readers/layers.py": "glow_core/readers/test_native.py",
    "glow_core/readers/numbering.py": "glow_core/readers/test_rosinality.py",
    "glow_core/readers/reader.py": "glow_core/readers/test_file.py",
    "glow_deploy/artifact/graph_sizes.py": "glow_deploy/artifact/test_lint.py",
    "glow_deploy/artifact/operator_rules.py": "glow_deploy/artifact/test_lint.py",
    "glow_deploy/artifact/tensor_sizes.py": "glow_deploy/artifact/test_lint.py",
    "glow_deploy/artifact/weights.py": "glow_deploy/export/test_run.py",
    "glow_deploy/artifact/wire.py": "glow_deploy/artifact/test_lint.py",
    "glow_deploy/bench/plan.py": "cli/commands/test_bench.py",
    "glow_deploy/budget/profile.py": "glow_deploy/budget/test_gains.py",
    "glow_deploy/bulk/actions.py": "glow_deploy/bulk/test_run.py",
    "glow_deploy/bulk/arrow.py": "glow_deploy/bulk/test_shards.py",
    "glow_deploy/bulk/folder_rows.py": "glow_deploy/bulk/test_sources.py",
    "glow_deploy/bulk/pictures.py": "glow_deploy/bulk/test_run.py",
    "glow_deploy/bulk/pools.py": "glow_deploy/bulk/test_ray_pool.py",
    "glow_deploy/bulk/work.py": "glow_deploy/bulk/test_run.py",
    "glow_deploy/canary/report.py": "glow_deploy/canary/test_detect.py",
    "glow_deploy/data/arrays.py": "glow_deploy/data/test_load.py",
    "glow_deploy/data/classes.py": "glow_deploy/data/test_load.py",
    "glow_deploy/data/folder.py": "glow_deploy/data/test_load.py",
    "glow_deploy/data/idx_folder.py": "glow_deploy/data/test_load.py",
    "glow_deploy/data/npz_file.py": "glow_deploy/data/test_load.py",
    "glow_deploy/directions/passes.py": "glow_deploy/directions/test_soundness.py",
    "glow_deploy/engines/base.py": "glow_deploy/engines/test_onnxruntime.py",
    "glow_deploy/engines/trial_child.py": "glow_deploy/engines/test_trial.py",
    "glow_deploy/exact/arrays.py": "glow_deploy/exact/test_interpret.py",
    "glow_deploy/exact/nodes.py": "glow_deploy/exact/test_encoder.py",
    "glow_deploy/export/build.py": "glow_deploy/export/test_sixteen_bit.py",
    "glow_deploy/export/coded.py": "glow_deploy/export/test_selfcheck.py",
    "glow_deploy/export/examine.py": "glow_deploy/export/test_sixteen_bit.py",
    "glow_deploy/export/plan.py": "glow_deploy/export/test_sixteen_bit.py",
    "glow_deploy/folding/arrays.py": "glow_deploy/folding/test_fold.py",
    "glow_deploy/graphs/blank.py": "glow_deploy/verify/weights/test_check.py",
    "glow_deploy/graphs/decoder.py": "glow_deploy/graphs/test_graphs.py",
    "glow_deploy/graphs/encoder.py": "glow_deploy/graphs/test_graphs.py",
    "glow_deploy/inverse/solving.py": "glow_deploy/inverse/test_projection.py",
    "glow_deploy/numerics/float64/ops.py": "glow_deploy/numerics/float64/test_evaluate.py",
    "glow_deploy/offline/files.py": "glow_deploy/offline/test_outputs.py",
    "glow_deploy/offline/tensors.py": "glow_deploy/offline/test_inputs.py",
    "glow_deploy/precision/auto.py": "glow_deploy/export/test_sixteen_bit.py",
    "glow_deploy/signing/pem.py": "glow_deploy/signing/test_signer.py",
    "glow_deploy/verify/backends/saved.py": "glow_deploy/verify/matrix/test_saved.py",
    "glow_deploy/verify/html/behaviour.py": "glow_deploy/verify/html/test_page.py",
    "glow_deploy/verify/html/sections.py": "glow_deploy/verify/html/test_page.py",
    "glow_deploy/verify/html/steps.py": "glow_deploy/verify/html/test_page.py",
    "glow_deploy/verify/html/weights.py": "glow_deploy/verify/html/test_page.py",
    "glow_deploy/verify/matrix/causes.py": "glow_deploy/verify/test_faults.py",
    "glow_deploy/verify/matrix/cells.py": "glow_deploy/verify/test_sound.py",
    "glow_deploy/verify/matrix/random_latents.py": "glow_deploy/verify/test_sound.py",
    "glow_deploy/verify/pytest_plugin/suite.py": "glow_deploy/verify/pytest_plugin/test_items.py",
    "glow_deploy/verify/report/exact.py": "glow_deploy/verify/matrix/test_integers.py",
    "glow_deploy/verify/regression/rows.py": "glow_deploy/verify/regression/test_baseline.py",
    "glow_deploy/verify/report/baseline.py": "glow_deploy/verify/regression/test_compare.py",
    "glow_deploy/verify/report/steps.py": "glow_deploy/verify/steps/test_table.py",
    "glow_deploy/verify/report/stress.py": "glow_deploy/verify/stress/test_run.py",
    "glow_deploy/verify/report/stress_rows.py": "glow_deploy/verify/stress/test_table.py",
    "glow_deploy/verify/report/weights.py": "glow_deploy/verify/weights/test_check.py",
    "glow_deploy/verify/measured.py": "glow_deploy/verify/test_sound.py",
    "glow_deploy/verify/run.py": "glow_deploy/verify/test_sound.py",
    "glow_deploy/verify/sources.py": "glow_deploy/verify/test_sound.py",
    "glow_deploy/verify/sections.py": "cli/commands/test_verify.py",
    "glow_deploy/verify/steps/compare.py": "glow_deploy/verify/steps/test_sound.py",
    "glow_deploy/verify/steps/counterpart.py": "glow_deploy/verify/steps/test_faults.py",
    "glow_deploy/verify/steps/evidence.py": "glow_deploy/verify/steps/test_causes.py",
    "glow_deploy/verify/steps/noise.py": "glow_deploy/verify/steps/test_sound.py",
    "glow_deploy/verify/steps/numbers.py": "glow_deploy/verify/steps/test_causes.py",
    "glow_deploy/verify/steps/taps.py": "glow_deploy/verify/steps/test_sound.py",
    "glow_deploy/verify/steps/weights.py": "glow_deploy/verify/steps/test_faults.py",
    "glow_deploy/verify/stress/child.py": "glow_deploy/verify/stress/test_determinism.py",
    "glow_deploy/verify/weights/agree.py": "glow_deploy/verify/weights/test_check.py",
    "glow_deploy/verify/weights/structure.py": "glow_deploy/verify/weights/test_check.py",
    "glow_deploy/verify/weights/trained.py": "glow_deploy/verify/weights/test_check.py",
    "cli/catalogue.py": "cli/test_main.py",
    "cli/common/inverse.py": "cli/commands/test_inpaint.py",
    "cli/common/options.py": "cli/commands/test_convert.py",
    "cli/common/score_maps.py": "cli/commands/test_score.py",
    "cli/common/score_words.py": "cli/commands/test_score.py",
    "cli/common/train_inputs.py": "cli/commands/test_train.py",
    "cli/common/train_options/deployable.py": "cli/common/test_train_options.py",
    "cli/common/train_options/files.py": "cli/common/test_train_options.py",
    "cli/common/train_options/model.py": "cli/common/test_train_options.py",
    "cli/common/train_options/optimization.py": "cli/common/test_train_options.py",
    "cli/entry.py": "cli/common/test_signals.py",
    "cli/overview.py": "cli/test_main.py",
}


def does_something(source: str) -> bool:
    """Whether a module has a function that is more than a name: with a body, and not only to say that it has none."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = [part for part in node.body if not isinstance(part, ast.Expr) or isinstance(part.value, ast.Call)]
            if body and not all(isinstance(part, (ast.Pass, ast.Raise)) for part in body):
                return True
    return False


def test_every_module_that_does_something_has_a_test_file():
    paths = {path.relative_to(ROOT).as_posix(): path for path in MODULES.values() if not path.stem.startswith("__")}
    nameless = {
        place
        for place, path in paths.items()
        if does_something(path.read_text()) and not (ROOT / "tests" / place).with_name(f"test_{path.name}").is_file()
    }
    assert nameless - set(ELSEWHERE) == set(), "name a test file after the module, or say in ELSEWHERE what tests it"
    gone = [
        place for pair in ELSEWHERE.items() for place in (pair[0], f"tests/{pair[1]}") if not (ROOT / place).is_file()
    ]
    assert gone == [], "ELSEWHERE lists what is not there"


def test_the_check_for_modules_that_do_something_can_fail():
    assert does_something("def f(x):\n    return x")
    assert does_something("class A:\n    def f(self):\n        print()")
    declared = 'class A(Protocol):\n    def f(self) -> int:\n        """Say."""\n        ...\n\nX = 3'
    assert not does_something(declared)
    assert not does_something("class E(Exception):\n    code = 2")
