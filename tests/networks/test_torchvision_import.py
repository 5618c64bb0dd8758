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


def test_the_first_network_of_a_process_may_be_one_without_values() -> None:
    """torch 2.8 can't import what torchvision needs while tensors are made on another device."""
    code = (
        "from toolchain.networks.resnet import build_network, on_meta_device\n"
        "with on_meta_device():\n"
        "    print({p.device.type for p in build_network('resnet18', 3).parameters()})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "{'meta'}", done.stderr
