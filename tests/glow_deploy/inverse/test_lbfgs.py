import numpy as np
import pytest

from glow_deploy.errors import UsageError
from glow_deploy.inverse.lbfgs import LbfgsSettings, minimise


def rosenbrock(point, rows):
    """A curved valley; its minimum is 0 at (1, 1)."""
    x, y = point.T
    value = (1 - x) ** 2 + 100 * (y - x**2) ** 2
    return value, np.stack([-2 * (1 - x) - 400 * x * (y - x**2), 200 * (y - x**2)], axis=1)


def bowls(scales):
    def evaluate(point, rows):
        return (scales * point**2).sum(axis=1) / 2, scales * point

    return evaluate


def test_a_curved_valley():
    start = np.array([[-1.2, 1.0], [2.0, -3.0], [0.0, 0.0]])
    found = minimise(rosenbrock, start, settings=LbfgsSettings(steps=300, tolerance=0, patience=1))
    np.testing.assert_allclose(found.point, 1, atol=1e-6)


def test_far_fewer_steps_than_the_gradient_alone_would_take():
    scales = np.geomspace(1, 1e4, 30)
    found = minimise(bowls(scales), np.ones((1, 30)), settings=LbfgsSettings(steps=200, tolerance=1e-9))
    assert found.value[0] < 2e-3  # SciPy's and PyTorch's come to 5e-4 and 6e-4 in as many
    point = np.ones(30)
    for _ in range(200):
        point -= scales * point / scales.max()
    assert (scales * point**2).sum() / 2 > 0.4


def test_rows_do_not_touch_one_another():
    start = np.array([[-1.2, 1.0], [2.0, -3.0]])
    both = minimise(rosenbrock, start)
    for row in range(2):
        alone = minimise(rosenbrock, start[row : row + 1])
        np.testing.assert_array_equal(alone.point[0], both.point[row])
        assert alone.evaluations[0] == both.evaluations[row]


def test_values_only_go_down_and_the_result_is_the_last():
    seen = []

    def watched(point, rows):
        value, gradient = rosenbrock(point, rows)
        seen.append((value[0], point[0].copy()))
        return value, gradient

    found = minimise(watched, np.array([[-1.2, 1.0]]))
    assert found.value[0] == min(value for value, _ in seen)
    assert len(seen) == found.evaluations[0]
    np.testing.assert_array_equal(found.point[0], min(seen, key=lambda pair: pair[0])[1])


@pytest.mark.parametrize("what", ["value", "gradient"])
def test_steps_into_what_is_not_finite_are_halved_and_counted(what):
    def walled(point, rows):
        value, gradient = ((point - 1) ** 2).sum(axis=1), 2 * (point - 1)
        beyond = (point > 1.2).any(axis=1)
        if what == "value":
            return np.where(beyond, np.inf, value), gradient
        return value, np.where(beyond[:, None], np.nan, gradient)

    found = minimise(walled, np.array([[0.0], [-40.0], [0.9]]), settings=LbfgsSettings(steps=100))
    np.testing.assert_allclose(found.point, 1, atol=1e-3)
    assert found.nonfinite.sum() > 0
    assert np.isfinite(found.value).all()


def test_a_start_that_is_not_finite_is_refused():
    with pytest.raises(UsageError, match="not finite at the start of 1 of 2"):
        minimise(lambda point, rows: (np.where(point > 0, point, np.nan).sum(axis=1), point), np.array([[1.0], [0.0]]))


def test_a_row_that_runs_out_of_steps_has_not_converged():
    easy_and_hard = np.array([[1.0, 1.0], [-1.2, 1.0]])
    found = minimise(rosenbrock, easy_and_hard, settings=LbfgsSettings(steps=5, patience=2))
    assert found.converged.tolist() == [True, False]
    assert found.steps.tolist() == [0, 5]


def test_nothing_lower_to_be_found_ends_the_search():
    def stuck(point, rows):
        """A gradient that lies: no step along it lowers the value."""
        return np.abs(point).sum(axis=1), -np.ones_like(point)

    found = minimise(stuck, np.array([[0.0, 0.0]]), settings=LbfgsSettings(steps=50))
    assert (found.steps[0], found.value[0]) == (1, 0)


def test_progress_is_told_after_each_iteration():
    told = []
    found = minimise(rosenbrock, np.array([[-1.2, 1.0]]), progress=lambda done, total: told.append((done, total)))
    assert told == [(step, 200) for step in range(1, found.steps[0] + 1)]


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"memory": 0}, {"patience": 0}, {"tolerance": -1}])
def test_settings_are_checked(wrong):
    with pytest.raises(UsageError):
        LbfgsSettings(**wrong)
