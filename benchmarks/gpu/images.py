"""The images of all trainings: those that were given, or parts that rtl draws itself."""

from __future__ import annotations

import time

from benchmarks.gpu.job import CannotRunError, Job, Rows


def draw_images(job: Job) -> Rows:
    """Draw the images where none were given, and yield a row that says how many there are."""
    from toolchain.data.walk import images_under
    from toolchain.demo.parts import draw_parts

    started = time.monotonic()
    if job.data:
        if not job.images_folder.is_dir():
            raise CannotRunError(f"{job.data} is no folder")
    else:
        for seed, (split, count) in enumerate(zip(("train", "val"), job.per_class, strict=True)):
            draw_parts(job.images_folder / split, images_per_class=count, seed=seed)
    yield {
        "data": job.data or "drawn by rtl: parts of six classes",
        "images": len(list(images_under(job.images_folder))),
        "seconds": round(time.monotonic() - started, 3),
    }
