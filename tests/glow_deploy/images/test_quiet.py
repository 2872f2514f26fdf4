import logging
import threading
import warnings

import pytest
from PIL import Image

from glow_deploy.images.quiet import pillow_quiet


def test_warnings_are_errors_or_nothing_inside_and_themselves_outside():
    before, handlers = list(warnings.filters), list(logging.getLogger("PIL").handlers)
    with pillow_quiet():
        warnings.warn("of a damaged file", UserWarning, stacklevel=1)
        with pytest.raises(Image.DecompressionBombWarning):
            warnings.warn("too large", Image.DecompressionBombWarning, stacklevel=1)
    assert list(warnings.filters) == before
    assert logging.getLogger("PIL").handlers == handlers


def test_a_thread_that_leaves_takes_nothing_from_another():
    before, inside, leave, wrong = list(warnings.filters), threading.Event(), threading.Event(), []

    def stay():
        with pillow_quiet():
            inside.set()
            leave.wait(10)
            try:
                warnings.warn("too large", Image.DecompressionBombWarning, stacklevel=1)
                wrong.append("no error")
            except Image.DecompressionBombWarning:
                pass

    with pillow_quiet():
        thread = threading.Thread(target=stay)
        thread.start()
        inside.wait(10)
    leave.set()
    thread.join()
    assert not wrong
    assert list(warnings.filters) == before


def test_an_error_inside_leaves_it_too():
    before = list(warnings.filters)
    with pytest.raises(ValueError, match="damaged"), pillow_quiet():
        raise ValueError("damaged")
    assert list(warnings.filters) == before
