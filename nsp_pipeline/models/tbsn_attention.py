"""The two attentions of TBSN, both of which keep a pixel's own phase to itself.

After the centre-masked patch embedding a feature has seen every offset but those on the lattice (2Z)². It stays blind
as long as features are only ever mixed across even offsets: by convolutions of dilation 2 and by attention among the
positions of one 2×2 phase.
"""

import torch
from torch import nn
from torch.nn.functional import normalize, pad

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
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.qkv_dwconv = nn.Conv2d(
            3 * channels, 3 * channels, 3, padding=2, dilation=2, groups=3 * channels, bias=False
        )
        self.project_out = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        batch, channels, height, width = features.shape
        split = self.qkv_dwconv(self.qkv(features)).reshape(
            batch, 3, self.heads, channels // self.heads, height * width
        )
        query, key, value = split.unbind(1)
        mixed = self.weights(query, key).to(value.dtype) @ value
        return self.project_out(mixed.reshape(batch, channels, height, width))  # type: ignore[no-any-return]

    def weights(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        """(B, heads, C, H·W) twice -> (B, heads, C, C): how much each channel takes of each other."""
        similarity = normalize(query, dim=-1) @ normalize(key, dim=-1).transpose(-2, -1)
        return (similarity * self.temperature).softmax(-1)


class RelativePosition(nn.Module):
    """What a query adds to its logits for a key's place relative to its own, row and column apart."""

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.rel_height = nn.Parameter(torch.randn(2 * KEYS - 1, head_dim) * head_dim**-0.5)
        self.rel_width = nn.Parameter(torch.randn(2 * KEYS - 1, head_dim) * head_dim**-0.5)

    def forward(self, query: torch.Tensor) -> torch.Tensor:
        """(N, 4, 4, d), the queries of one phase of a window -> (N, 4, 4, 6, 6), the keys of that phase."""
        # Places of one phase are two pixels apart; key 0 lies OVERLAP pixels before query 0.
        place = 2 * (torch.arange(KEYS // 2)[None] - torch.arange(WINDOW // 2)[:, None]) + KEYS - 1
        place = place.to(query.device)
        rows = torch.einsum("nyxd,ykd->nyxk", query, self.rel_height[place])
        columns = torch.einsum("nyxd,xkd->nyxk", query, self.rel_width[place])
        return rows[..., :, None] + columns[..., None, :]


class PhaseMask(nn.Module):
    """The mask of the published checkpoints: 0 where query and key have one phase, -inf elsewhere.

    It is only carried along, so that those checkpoints load unchanged: `WindowAttention` never computes what the mask
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
    The phases are attended to apart, 16 queries to 36 keys each, which is what masking 64 queries and 144 keys
    amounts to, at a quarter of the price.
    """

    def __init__(self, channels: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.head_dim = head_dim
        self.qkv = nn.Conv2d(channels, 3 * heads * head_dim, 1, bias=False)
        self.project_out = nn.Conv2d(heads * head_dim, channels, 1, bias=False)
        self.rel_pos_emb = RelativePosition(head_dim)
        self.fixed_pos_emb = PhaseMask()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        batch, _, height, width = features.shape
        down, across = height // WINDOW, width // WINDOW
        query, key, value = self.qkv(features).chunk(3, 1)
        query = query.reshape(batch, -1, down, WINDOW, across, WINDOW)
        queries = self._by_phase(query) * self.head_dim**-0.5
        keys, values = self._by_phase(_overlapping(key)), self._by_phase(_overlapping(value))

        logits = queries.flatten(1, 2) @ keys.flatten(1, 2).transpose(1, 2)
        logits = logits + self.rel_pos_emb(queries).flatten(3, 4).flatten(1, 2)
        mixed = logits.softmax(-1).to(values.dtype) @ values.flatten(1, 2)

        # (B, windows down, windows across, phase row, phase column, head, row, column, d) back to an image.
        half = WINDOW // 2
        mixed = mixed.reshape(batch, down, across, 2, 2, self.heads, half, half, self.head_dim)
        image = mixed.permute(0, 5, 8, 1, 6, 3, 2, 7, 4).reshape(batch, -1, height, width)
        return self.project_out(image)  # type: ignore[no-any-return]

    def _by_phase(self, windows: torch.Tensor) -> torch.Tensor:
        """(B, heads·d, windows down, k, windows across, k) -> (B·windows·4·heads, k/2, k/2, d)."""
        batch, _, down, side, across, _ = windows.shape
        half = side // 2
        split = windows.reshape(batch, self.heads, self.head_dim, down, half, 2, across, half, 2)
        # (B, head, d, windows down, row, phase row, windows across, column, phase column)
        return split.permute(0, 3, 6, 5, 8, 1, 4, 7, 2).flatten(0, 5)


def _overlapping(image: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W) -> (B, C, H/8, 12, W/8, 12): every window with OVERLAP pixels around it, zeros beyond the border."""
    batch, channels, height, width = image.shape
    down, across = height // WINDOW, width // WINDOW
    more = KEYS - WINDOW
    # Cut into windows that begin OVERLAP early; the beginning of the next window completes each.
    padded = pad(image, (OVERLAP, WINDOW - OVERLAP, OVERLAP, WINDOW - OVERLAP))
    here, after = (
        part.reshape(batch, channels, down, WINDOW, width + WINDOW)
        for part in (padded[:, :, :-WINDOW], padded[:, :, WINDOW:])
    )
    rows = torch.cat([here, after[:, :, :, :more]], 3)
    here, after = (
        part.reshape(batch, channels, down, KEYS, across, WINDOW) for part in (rows[..., :-WINDOW], rows[..., WINDOW:])
    )
    return torch.cat([here, after[..., :more]], 5)
