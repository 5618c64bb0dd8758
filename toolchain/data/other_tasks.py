"""Folders that are named as data for detection or segmentation is: images beside their targets."""

from __future__ import annotations

import re
from collections.abc import Iterable

_IMAGES = re.compile(r"(jpe?g|png|rgb|raw)?(images?|imgs?|photos?|pictures?|frames?)")
_TARGETS = re.compile(
    r"(gt|groundtruths?|labels?|labeltxts?|masks?|annotations?|annots?|bbox(es)?|boxes|mattes?|"
    r"segmentations?(class|object|masks?)?|segmentation(class|object)raw|instances?|(xml|json)s?)"
)


def kept_for_another_task(names: Iterable[str]) -> str | None:
    """Return a sentence where folders called so hold images and what is drawn or written of them.

    None where the names may be those of classes.

    >>> kept_for_another_task(["images", "masks"])
    'images/ beside masks/ is how data for detection or segmentation is kept'
    """
    plain = {name: re.sub(r"[\W_]+", "", name.casefold()) for name in sorted(names)}
    images = [name for name in plain if _IMAGES.fullmatch(plain[name])]
    targets = [name for name in plain if _TARGETS.fullmatch(plain[name])]
    if not images or not targets:
        return None
    return f"{images[0]}/ beside {targets[0]}/ is how data for detection or segmentation is kept"
