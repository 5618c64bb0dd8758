from __future__ import annotations

import subprocess
import sys


def test_torchvision_works_beside_a_cpu_build_of_torch() -> None:
    """It returns working models and transforms also where `import torchvision` fails."""
    code = (
        "from toolchain.networks.torchvision_import import import_torchvision\n"
        "import torch\n"
        "first, second = import_torchvision(), import_torchvision()\n"
        "assert first is second\n"
        "network = first.models.resnet18().eval()\n"
        "print(network(torch.zeros(1, 3, 32, 32)).shape[1],"
        " first.transforms.v2.CenterCrop(2)(torch.zeros(3, 8, 8)).shape[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["1000", "2"], done.stderr
