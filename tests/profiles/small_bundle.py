"""What `profile.json` says of a bundle without a network."""

from typing import Any

FIELDS: dict[str, Any] = {
    "name": "small",
    "pairs": {"s": 5, "t": 2, "n": 1, "strategy": "random"},
    "inference": {"pd_factor": 1},
    "backbone": {"name": "dbsn", "sizes": {}, "multiple": 1, "halo": 1, "scale": 2, "tiling": "exact"},
    "training": {"settings": {}, "steps": 0, "seconds": 0.0, "version": "0"},
    "scores": {"held_out_photos": 0},
    "data": {"origin": "", "licence": "", "photos": 0},
}
