"""Which tests are slow: `make quick` leaves them out, and `make test` begins with them.

Listed are the files in which a test or what it sets up took 4 seconds or more of the whole suite
on two cores, and those whose tests take long together. A file of a few tests is listed whole; of
a room at least one file stays. Measure anew with `pytest --durations=60`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent

SLOW = (
    # Benchmarks start a process for each target.
    "benchmarking/test_bench.py",
    "benchmarking/test_comparison.py",
    "benchmarking/test_details.py",
    "benchmarking/test_scenario_rows.py",
    "benchmarking/scenarios/test_loadgen.py",
    "benchmarking/processes/test_worker.py",
    # Processes that load torch, are killed and go on, or start a cluster.
    "cli/test_commands.py",
    "cli/test_edge.py",
    "test_notebook.py",
    "cli/test_errors.py",
    "cli/test_predict_output.py",
    "cli/test_predict_ray.py",
    "runtime/test_openmodel.py",
    "networks/test_torchvision_import.py",
    # Exports in every format and precision, each verified.
    "backends/test_backend.py",
    "backends/test_run_model.py",
    "exporters/precision",
    "exporters/test_export.py",
    "exporters/test_formats.py",
    "exporters/writers/test_image_input.py",
    "exporters/writers/test_interchange.py",
    "runtime/modelcache/test_cache.py",
    "runtime/modelcache/test_store.py",
    "runtime/test_predictor.py",
    "verification/levels/test_pixels.py",
    "verification/levels/test_sessions.py",
    "verification/levels/test_torchvision_pixels.py",
    "verification/test_inspection.py",
    "verification/test_mutations.py",
    "verification/test_mutations_of_code.py",
    "verification/test_mutations_of_trust.py",
    "verification/layers/test_content.py",
    "verification/test_verify.py",
    # Weights of every architecture, and each point at which a backbone can be cut.
    "networks/test_resnet.py",
    "networks/test_split.py",
    "networks/test_weights.py",
    # Files made to do harm, and very large images, in processes of their own.
    "runtime/image/test_limits.py",
    "runtime/onnxfile/test_hostile_files.py",
    "runtime/onnxfile/test_hostile_graphs.py",
    # Evaluations of one run, in every way that data can be given.
    "evaluation/test_evaluate.py",
    # Pages with many pictures, and a browser.
    "reporting/images",
    "reporting/test_browser.py",
    "reporting/test_measurements.py",
    "reporting/test_report.py",
    # Curves and matrices as pictures.
    "training/analysis/test_plots.py",
    # Many trainings as curves.
    "training/analysis/test_diagnosis.py",
    # Training of their own.
    "demo",
    "test_benchmarks_gpu_parts.py",
    "test_multi_label.py",
    "cli/test_finetune.py",
    "select/test_budget_search.py",
    "select/test_cross_validate.py",
    "select/test_going_on.py",
    "select/test_multi_label_choice.py",
    "select/test_source_choice.py",
    "select/test_strategy_choice.py",
    "training/alignment/test_aligned_runs.py",
    "training/features",
    "training/inputs/test_loading.py",
    "training/optim/test_precision.py",
    "training/optim/test_schedules.py",
    "training/test_checkpoints.py",
    "training/test_decode_scale.py",
    "training/test_deltas.py",
    "training/test_distributed.py",
    "training/test_finetune.py",
    "training/test_leaks.py",
    "adaptation/test_adapt.py",
    "adaptation/test_classifier.py",
    "checking/test_check.py",
    "training/test_moved_data.py",
    "training/test_multi_label_training.py",
    "training/test_options.py",
    "training/test_resume.py",
    "training/test_resume_terms.py",
    "training/test_soup.py",
    "training/test_stops.py",
    "training/test_strategies.py",
    "training/test_surroundings.py",
    # Clients of trackers, which import for seconds, and a process of wandb.
    "training/trackers",
)
"""Files and folders, seen from tests/."""


def is_left_out(path: Path, marks: str) -> bool:
    """Return whether the tests of a file are not run, as it is slow and `-m` leaves those out."""
    listed = {TESTS / name for name in SLOW}
    return "not slow" in marks and bool(listed & {path, *path.parents})


def mark_slow(items: list[pytest.Item]) -> None:
    """Mark the tests of the listed files, and those of two formats, as `slow`; put all those first.

    Processes that share the tests are then done at about the same time: what is left for the end is
    short. (xdist keeps this order with --no-loadscope-reorder.)
    """
    listed = {TESTS / name for name in SLOW}
    for item in items:
        both_formats = "exported" in getattr(item, "fixturenames", ())
        if both_formats or listed & {item.path, *item.path.parents}:
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
