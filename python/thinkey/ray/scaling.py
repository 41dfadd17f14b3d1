"""How many replicas there should be."""

from __future__ import annotations

from typing import Any


class KvPolicy:
    """An autoscaling policy of Ray Serve: as many replicas as hold what answers under way need of the memory for
    caches, each being filled to `target` of it. Conversations that are only kept count nothing: they fill whatever
    memory there is. Ray applies bounds, delays and factors of the deployment's autoscaling_config."""

    def __init__(self, target: float = 0.7) -> None:
        if not 0 < target <= 1:
            raise ValueError(f"KvPolicy: target {target} must be above 0 and at most 1")
        self._target = target

    def __call__(self, context: Any) -> tuple[float, dict[str, Any]]:
        shares = (context.aggregated_metrics or {}).get("kv_demand", {})
        if not shares:
            return context.target_num_replicas, {}
        # A replica that has not reported yet stands idle.
        return max(1.0, sum(shares.values()) / self._target), {}
