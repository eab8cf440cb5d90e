"""The two attentions of TBSN, both of which keep a pixel's own phase to itself.

After the centre-masked patch embedding a feature has seen every offset but those on the lattice (2Z)². It stays blind
as long as features are only ever mixed across even offsets: by convolutions of dilation 2 and by attention among the
positions of one 2×2 phase.
"""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn.functional import pad, pixel_shuffle, pixel_unshuffle

WINDOW = 8
"""Side of a window of queries."""
OVERLAP = 2
"""Pixels that a window's keys reach beyond it on every side: keys are 12×12 (overlap 0.5)."""
KEYS = WINDOW + 2 * OVERLAP


class ChannelAttention(nn.Module):
    """Dilated attention among channels; (B, C, H, W) in and out.

    Its weights are pooled over all positions, so every output depends on every input a little: this is the one place
    where a pixel's own value reaches its estimate (see `Tbsn`), and why a tile's result depends on the tile.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.qkv_dwconv = nn.Conv2d(
            3 * channels, 3 * channels, 3, padding=2, dilation=2, groups=3 * channels, bias=False
        )
        self.project_out = nn.Conv2d(channels, channels, 1, bias=False)
        self.attend: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = attend_channels

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Let channels attend to each other; (B, C, H, W) in and out."""
        return self.project_out(self.attend(self.qkv_dwconv(self.qkv(features)), self.temperature))  # type: ignore[no-any-return]


def attend_channels(qkv: torch.Tensor, temperature: torch.Tensor) -> torch.Tensor:
    """(B, 3·C, H, W): queries, keys, values; (heads, 1, 1) -> (B, C, H, W)."""
    batch, channels, height, width = qkv.shape
    heads = len(temperature)
    shape = batch * heads, channels // 3 // heads, height * width
    query, key, value = (part.reshape(shape) for part in qkv.chunk(3, 1))
    weights = channel_weights(query, key, temperature)
    return torch.bmm(weights.to(value.dtype), value).reshape(batch, channels // 3, height, width)


def channel_weights(query: torch.Tensor, key: torch.Tensor, temperature: torch.Tensor) -> torch.Tensor:
    """(B·heads, C, H·W) twice -> (B·heads, C, C): how much each channel takes of each other."""
    similarity = torch.bmm(_unit(query), _unit(key).transpose(1, 2))
    return (similarity * temperature.repeat(len(query) // len(temperature), 1, 1)).softmax(-1)


def _unit(rows: torch.Tensor) -> torch.Tensor:
    """Scale rows to length 1."""
    return rows / rows.square().sum(-1, keepdim=True).sqrt().clamp(min=1e-12)


class RelativePosition(nn.Module):
    """What a query adds to its logits for a key's place relative to its own, row and column apart."""

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.rel_height = nn.Parameter(torch.randn(2 * KEYS - 1, head_dim) * head_dim**-0.5)
        self.rel_width = nn.Parameter(torch.randn(2 * KEYS - 1, head_dim) * head_dim**-0.5)


class PhaseMask(nn.Module):
    """The mask of the published checkpoints: 0 where query and key have one phase, -inf elsewhere.

    It is only carried along, so that those checkpoints load unchanged: `attend_windows` never computes what the mask
    would throw away.
    """

    def __init__(self) -> None:
        super().__init__()
        apart = torch.arange(KEYS)[None] - torch.arange(WINDOW)[:, None]
        even = apart % 2 == 0
        allowed = even[:, None, :, None] & even[None, :, None, :]
        mask = torch.zeros(allowed.shape).masked_fill(~allowed, -torch.inf)
        self.register_buffer("attention_mask", mask.reshape(1, WINDOW * WINDOW, KEYS * KEYS))
        self.attention_mask: torch.Tensor


class WindowAttention(nn.Module):
    """Attention of 8×8 windows to the 12×12 keys around them, within each 2×2 phase; (B, C, H, W) in and out.

    H and W must be multiples of 8. Keys beyond the border are zeros that take part, as in the published network.
    """

    def __init__(self, channels: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.qkv = nn.Conv2d(channels, 3 * heads * head_dim, 1, bias=False)
        self.project_out = nn.Conv2d(heads * head_dim, channels, 1, bias=False)
        self.rel_pos_emb = RelativePosition(head_dim)
        self.fixed_pos_emb = PhaseMask()
        self.attend: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = attend_windows

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Let each window attend to its surroundings; (B, C, H, W) in and out."""
        table = place_table(self.rel_pos_emb.rel_height, self.rel_pos_emb.rel_width)
        return self.project_out(self.attend(self.qkv(features), table))  # type: ignore[no-any-return]


def place_table(rel_height: torch.Tensor, rel_width: torch.Tensor) -> torch.Tensor:
    """(23, d) for rows and columns -> (16, 36, d): of each query and key of one phase of a window."""
    # Places of one phase are two pixels apart; key 0 lies OVERLAP pixels before query 0.
    queries, keys = torch.arange(WINDOW // 2), torch.arange(KEYS // 2)
    place = (2 * (keys[None] - queries[:, None]) + KEYS - 1).to(rel_height.device)
    table = rel_height[place][:, None, :, None] + rel_width[place][None, :, None, :]
    return table.reshape(len(queries) ** 2, len(keys) ** 2, -1)


def attend_windows(qkv: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """(B, 3·heads·d, H, W): queries, keys, values; (16, 36, d) -> (B, heads·d, H, W).

    The phases are attended to apart, 16 queries to 36 keys each, which is what masking 64 queries and 144 keys
    amounts to, at a quarter of the price.
    """
    query, key, value = qkv.chunk(3, 1)
    head_dim = places.shape[2]
    blocks = pixel_unshuffle(query, WINDOW)
    batch, _, down, across = blocks.shape
    queries = _by_phase(blocks.reshape(-1, WINDOW, WINDOW, down, across), head_dim) * head_dim**-0.5
    keys, values = _by_phase(_overlapping(key), head_dim), _by_phase(_overlapping(value), head_dim)

    logits = torch.bmm(queries, keys.transpose(1, 2))
    logits = logits + torch.bmm(queries.transpose(0, 1), places.transpose(1, 2).to(queries.dtype)).transpose(0, 1)
    mixed = torch.bmm(logits.softmax(-1).to(values.dtype), values)

    half = WINDOW // 2
    mixed = mixed.reshape(-1, down * across, 2, 2, half, half, head_dim)
    return pixel_shuffle(mixed.permute(0, 6, 4, 2, 5, 3, 1).reshape(batch, -1, down, across), WINDOW)


def _by_phase(windows: torch.Tensor, head_dim: int) -> torch.Tensor:
    """(B·heads·d, k, k, windows down, windows across) -> (B·heads·windows·4, k²/4, d)."""
    _, side, _, down, across = windows.shape
    half = side // 2
    split = windows.reshape(-1, head_dim, half, 2, half, 2, down * across)
    # (B·head, d, row, phase row, column, phase column, window): each phase apart, the rest in reading order.
    return split.permute(0, 6, 3, 5, 2, 4, 1).reshape(-1, half * half, head_dim)


def _overlapping(image: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W) -> (B·C, 12, 12, H/8, W/8): every window with OVERLAP pixels around it, zeros beyond the border."""
    # Cut into blocks that begin OVERLAP early; the beginnings of the next blocks complete each.
    late = WINDOW - OVERLAP
    blocks = pixel_unshuffle(pad(image, (OVERLAP, late, OVERLAP, late)), WINDOW)
    blocks = blocks.reshape(-1, WINDOW, WINDOW, *blocks.shape[2:])
    more = KEYS - WINDOW
    wide = torch.cat([blocks[..., :-1], blocks[:, :, :more, :, 1:]], 2)
    return torch.cat([wide[:, :, :, :-1], wide[:, :more, :, 1:]], 1)
