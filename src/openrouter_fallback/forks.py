"""What a forked child must renew: locks that other threads held in the parent, the parent's thread, its amounts."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Inherited(Protocol):
    """An object that a forked child inherits and must renew."""

    def after_fork(self) -> None:
        """Renew the object. Called in the child, before anything else runs there."""


_inherited: weakref.WeakSet[Inherited] = weakref.WeakSet()


def renew_in_child(one: Inherited) -> None:
    """Call `after_fork` of this object in every forked child, as long as the object lives."""
    _inherited.add(one)


def _renew() -> None:
    for one in list(_inherited):
        one.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
