"""torch's fused LSTM, also under autocast to bfloat16 on a CPU that has no bfloat16 LSTM."""

from functools import cache
from typing import Any

import torch
from torch import nn


class FusedLstm(nn.LSTM):
    """``nn.LSTM`` that computes in float32 where autocast asks the CPU for a bfloat16 LSTM that it does not have."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        if not (torch.is_autocast_enabled("cpu") and input.is_cpu) or has_bfloat16_lstm():
            return super().forward(input, hx)
        with torch.autocast("cpu", enabled=False):
            return super().forward(input.float(), None if hx is None else tuple(part.float() for part in hx))


@cache
def has_bfloat16_lstm() -> bool:
    """True if the CPU can train an LSTM in bfloat16; oneDNN, which computes it on x86, needs AVX-512 for that."""
    with torch.inference_mode(False), torch.enable_grad():
        weights = [torch.zeros(size, requires_grad=True) for size in ((4, 1), (4, 1), 4, 4)]
        x = torch.zeros(1, 1, 1)  # one step of one unit; nothing here uses a random generator
        try:
            with torch.autocast("cpu", torch.bfloat16):
                outputs, *_ = torch.lstm(x, (x, x), weights, True, 1, 0.0, True, False, True)
            outputs.sum().backward()
        except RuntimeError:
            return False
    return True
