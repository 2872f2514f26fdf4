import signal
import threading

import pytest

from glow_deploy.interrupts import interrupts_deferred


def test_a_signal_is_handled_at_the_end_of_the_block():
    steps = []

    def work():
        with interrupts_deferred() as waiting:
            assert not waiting
            signal.raise_signal(signal.SIGINT)
            steps.append("went on")
            assert waiting

    with pytest.raises(KeyboardInterrupt):
        work()
    assert steps == ["went on"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_a_signal_nothing_happens():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with interrupts_deferred() as waiting:
        pass
    assert not waiting
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_handler_of_the_user_gets_it(monkeypatch):
    got = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: got.append(number))
    try:
        with interrupts_deferred() as waiting:
            signal.raise_signal(signal.SIGTERM)
            assert (bool(waiting), got) == (True, [])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert got == [signal.SIGTERM]


def test_other_threads_get_no_signals_and_may_use_it():
    def work():
        with interrupts_deferred() as waiting:
            found.append(bool(waiting))

    found: list[bool] = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]


def test_a_signal_while_the_handlers_are_put_back_leaves_none_of_ours(monkeypatch):
    def term(number, frame):
        got.append(number)

    got: list[int] = []
    before = signal.signal(signal.SIGTERM, term)
    real, restoring = signal.signal, False

    def then_a_press(number, handler):
        nonlocal restoring
        found = real(number, handler)
        if restoring and number == signal.SIGINT:
            restoring = False
            signal.raise_signal(signal.SIGINT)
        return found

    monkeypatch.setattr(signal, "signal", then_a_press)

    def work():
        nonlocal restoring
        with interrupts_deferred():
            restoring = True

    try:
        with pytest.raises(KeyboardInterrupt):
            work()
        assert signal.getsignal(signal.SIGTERM) is term
        signal.raise_signal(signal.SIGTERM)
    finally:
        real(signal.SIGTERM, before)
    assert got == [signal.SIGTERM]
