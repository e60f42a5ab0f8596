"""Orders of one's own, as a user would write them."""


def latest(waiting, now_s):
    """Whoever came last."""
    return waiting[-1]


def nobody(waiting, now_s):
    """Begin nothing: the scheduler's rules alone keep the server going."""
    return None


class Gone:
    """Pick a request once more that has been picked before."""

    picked = None

    def __call__(self, waiting, now_s):
        Gone.picked = Gone.picked or waiting[0]
        return Gone.picked


gone = Gone()


def raises(waiting, now_s):
    raise KeyError("no such thing")


PICKED = 3
