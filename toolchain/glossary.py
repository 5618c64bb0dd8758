"""What the figures mean that commands print, one sentence each: for `--explain` and the glossary.

docs/glossary.md is made from this file (`make docs`).
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Term(NamedTuple):
    """A word or a figure of an output, and its meaning."""

    name: str
    meaning: str
    seen: str
    """Regular expression of how it is printed."""


TOPICS: dict[str, tuple[Term, ...]] = {
    "training and evaluation": (
        Term(
            "epoch",
            "One pass over all training images.",
            r"\bepoch",
        ),
        Term(
            "loss a → b",
            "How far the probabilities are from the truth, in training → in validation; 0 is "
            "perfect, guessing among n classes is ln n (2 classes 0.69, 10 classes 2.30).",
            r"\bloss\b",
        ),
        Term(
            "acc a → b",
            "Share of the images that are labelled right, in training → in validation; training is "
            "measured on altered images while the weights still change.",
            r"\bacc\b",
        ),
        Term(
            "accuracy",
            "Share of the images that are labelled right.",
            r"\baccuracy\b|\bvalidation\b|\bmetrics\b",
        ),
        Term(
            "95 % interval",
            "Where the accuracy on many more such images would lie, in 95 of 100 such "
            "measurements; it is wide where few images were measured.",
            r"95 % interval|\d % to \d",
        ),
        Term(
            "precision",
            "Of the images that got this label, the share that has it.",
            r"\bprecision\b",
        ),
        Term(
            "recall",
            "Of the images that have this label, the share that got it.",
            r"\brecall\b",
        ),
        Term(
            "F1",
            "One figure for precision and recall (their harmonic mean): low as soon as one of "
            "them is low; 1 or 100 % is best.",
            r"\bF1\b",
        ),
        Term(
            "macro F1",
            "Mean of the classes' F1, each class counting alike: it falls when a rare class is "
            "neglected, which accuracy hardly shows.",
            r"macro F1",
        ),
        Term(
            "AUC",
            "How well the probabilities order the images: the chance that an image of a class gets "
            "a higher probability of it than an image of another; 1 is best, 0.5 is guessing.",
            r"\bAUC\b",
        ),
        Term(
            "calibration error",
            "How far probabilities are from the truth on average: off by 8 % means that of the "
            "images predicted with 90 % about 82 or 98 % are right.",
            r"probabilities off by|\bcalibration\b",
        ),
        Term(
            "temperature",
            "The number by which the network's outputs are divided so that its probabilities fit "
            "the validation images: above 1 makes them less sure, below 1 surer; no label changes.",
            r"\btemperature\b",
        ),
        Term(
            "best epoch",
            "The epoch with the best validation metric; its weights are kept.",
            r"best epoch",
        ),
        Term(
            "out-of-fold, held out",
            "Measured by cross-validation: the images are divided into parts (folds), and each "
            "image is labelled by a training that had the other parts only.",
            r"out-of-fold|\bfolds\b",
        ),
        Term(
            "can't be told from the best",
            "On so few images the difference may be luck (McNemar's test on the same images); of "
            "such candidates the cheapest is chosen.",
            r"can't be told",
        ),
        Term(
            "–",
            "Not measured: the split has no image of this class.",
            r"–( |$)",
        ),
    ),
    "data": (
        Term(
            "train, val, test",
            "Images that are learnt from, images that choose the best epoch and the temperature, "
            "and images that are only measured on.",
            r"\btrain\b",
        ),
        Term("unreadable", "Files that no decoder can read; training leaves them out.", "unread"),
        Term(
            "duplicates",
            "Files with the same bytes or pixels; each counts, as if the image were taken twice.",
            r"\bduplicates\b",
        ),
        Term(
            "leaks",
            "The same image in training and in validation or test: the accuracy is then measured "
            "on images that were learnt by heart.",
            r"\bleaks\b",
        ),
        Term(
            "label conflicts",
            "The same image under different classes: at least one label is wrong.",
            r"label conflicts",
        ),
        Term(
            "near duplicates",
            "Images that look the same: encoded anew, resized or cropped a little. In two splits "
            "they make the accuracy too good.",
            r"near duplicates",
        ),
        Term(
            "likelier",
            "The class that classifiers give which were fitted without the image; its percentage "
            "stands beside that of the label.",
            r"\blikelier\b",
        ),
        Term(
            "rare classes",
            "Classes with at most a tenth of the largest class's training images; "
            "--class-weights or --balanced-sampling help.",
            r"rare classes",
        ),
        Term(
            "EXIF-rotated",
            "Photographs whose camera noted how it was held; rtl turns them upright everywhere.",
            r"EXIF",
        ),
        Term(
            "fingerprint",
            "A sum over all images and labels: equal fingerprints are equal data.",
            r"\bfingerprint\b",
        ),
    ),
    "verification": (
        Term(
            "level",
            "One comparison of the file with a reference; all have to pass.",
            r"\blevel\b",
        ),
        Term(
            "numbers",
            "The same pixels give the same outputs of the network.",
            r"\bnumbers\b",
        ),
        Term(
            "decisions",
            "The same image files give the same labels, from decoding on.",
            r"\bdecisions\b",
        ),
        Term(
            "pixels",
            "Decoding, resizing and cropping give the same pixels.",
            r"\bpixels +the\b",
        ),
        Term(
            "sessions",
            "Every kind of session (threads, optimisation, batch size) gives the same outputs.",
            r"\bsessions\b",
        ),
        Term(
            "the card, the references, the run",
            "What is compared with: the description inside the file, the stored outputs beside it, "
            "and the trained model.",
            r"the card|the references|the run",
        ),
        Term(
            "off by, allowed",
            "The largest difference that was found, and the largest that passes: 4e-07 is "
            "0.0000004.",
            r"\boff by \d\S*(?! %)|\ballowed\b",
        ),
        Term(
            "rate under",
            "With no other label among so few images, other labels are rarer than this, in 95 of "
            "100 such tests.",
            r"rate under",
        ),
    ),
    "export": (
        Term(
            "onnx, torchscript, pt2",
            "Formats: ONNX for onnxruntime and most devices, the other two for apps with torch.",
            r"\bonnx\b|torchscript|\bpt2\b",
        ),
        Term(
            "fp32, fp16, int8",
            "How numbers are stored: 32-bit as trained, 16-bit for GPUs, 8-bit whole numbers for "
            "CPUs: smaller and often faster, not exactly the same.",
            r"\bfp32\b|\bfp16\b|\bint8\b",
        ),
        Term(
            "labels differ",
            "Validation images that the smaller file labels otherwise than fp32 does, whether "
            "right or wrong.",
            r"labels differ",
        ),
        Term(
            "p =",
            "How often chance alone would make a difference in accuracy this large; above 0.05 it "
            "may be chance.",
            r"\bp = ",
        ),
        Term(
            "opset",
            "The version of ONNX's operators that the file uses; a runtime has to know it.",
            r"\bopset\b",
        ),
    ),
    "benchmark": (
        Term("batch", "Images that are computed in one call.", r"\bbatch\b"),
        Term("thr", "Threads that compute.", r"\bthr\b"),
        Term(
            "p50, p90, p99",
            "Milliseconds within which 50, 90 and 99 of 100 calls are done, each call one batch; "
            "p50 is the usual time, p99 the slow cases.",
            r"\bp50\b",
        ),
        Term(
            "±",
            "The figure lies within so much of it in 95 of 100 such benchmarks; wide where rounds "
            "differ or are few.",
            "±",
        ),
        Term(
            "VALID, INVALID",
            "Whether the figures count: rounds agree, calls are enough, the machine did nothing "
            "else and was not throttled, the answers stayed the same.",
            r"VALID",
        ),
        Term("mean, min", "Mean and least milliseconds of a call.", r"\bmean ms\b"),
        Term("img/s", "Images in a second: the throughput.", r"img/s"),
        Term("×", "How many times as fast as the first row, by p50.", "×"),
        Term("MB", "Most memory that the process took; of a file, its size.", r"\bMB\b"),
        Term(
            "* and ~",
            "* INVALID, the verdict says why; ~ too few calls to be sure of this percentile: p50 "
            "needs 7, p90 44, p99 459.",
            r"\*|~",
        ),
        Term(
            "single-stream, multi-stream",
            "MLPerf's scenarios of queries that follow each other, of one image and of eight; what "
            "counts is p90 and p99 of the latency of a query.",
            r"single-stream|multi-stream",
        ),
        Term(
            "offline",
            "MLPerf's scenario of images that all come at once; what counts is the throughput.",
            r"\boffline\b",
        ),
        Term(
            "server, queries/s",
            "MLPerf's scenario of queries at random times; what counts is the highest rate at "
            "which 99 of 100 are answered within the bound, waiting included.",
            r"\bserver\b",
        ),
        Term(
            "short run",
            "It shows how the model stands, and is no result of MLPerf, whose runs take 600 s.",
            r"short run",
        ),
    ),
    "adaptation": (
        Term(
            "another camera",
            "The probability p of so large a shift of the features if only the mix of the classes "
            "differs from training; another camera is believed up to 0.01.",
            r"^another camera",
        ),
        Term(
            "accuracy expected",
            "By how clearly the photographs fall into the classes, as the model is → adapted; "
            "resampled photographs show how sure the gain is.",
            r"^accuracy expected",
        ),
        Term(
            "classes told apart",
            "How clearly the photographs fall into the classes, beside the training images.",
            r"^classes told apart",
        ),
        Term(
            "shares of classes",
            "How frequent each class is among the photographs, as far as they show it.",
            r"^shares of classes",
        ),
    ),
    "prediction": (
        Term("label", "The most probable class.", r"\blabel\b"),
        Term(
            "probability",
            "How sure the model is, from 0 to 1: of images with 0.9 about nine in ten are right, "
            "if they are like the images it was validated on.",
            r"\bprobability\b",
        ),
        Term(
            "threshold",
            "The probability from which a class counts as predicted; without it the most probable "
            "class is taken.",
            r"\bthreshold\b",
        ),
    ),
}

OF_COMMAND: dict[str, tuple[str, ...]] = {
    "data check": ("data",),
    "finetune": ("training and evaluation",),
    "evaluate": ("training and evaluation",),
    "export": ("verification", "export"),
    "adapt": ("adaptation", "verification"),
    "verify": ("verification",),
    "bench": ("benchmark",),
    "predict": ("prediction",),
    "inspect": ("training and evaluation", "verification", "export"),
}
"""Command → the topics that its output is about."""


def terms_in(text: str, command: str) -> list[Term]:
    """Return the terms that an output of a command has, in the order of the glossary.

    >>> [term.name for term in terms_in("macro F1  94.2 %", "evaluate")]
    ['F1', 'macro F1']
    """
    return [
        term
        for topic in OF_COMMAND[command]
        for term in TOPICS[topic]
        if re.search(term.seen, text, re.MULTILINE)
    ]
