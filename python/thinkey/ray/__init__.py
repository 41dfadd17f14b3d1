"""Many machines: `thinkey serve` as a Ray Serve application.

    serve run thinkey.ray:app model=/models/model.gguf
    serve run examples/ray_serve.yaml

Replicas each hold a server of their own; an ingress speaks OpenAI's API, sends a request to the replica that holds its
conversation or document, and to another one where that replica dies. See docs/ray.md. Needs Ray: pip install
'thinkey[ray]'.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy, RequestRouterConfig

from thinkey.ray.ingress import Ingress
from thinkey.ray.replica import Engine, demand
from thinkey.ray.router import PrefixRouter
from thinkey.ray.scaling import KvPolicy
from thinkey.ray.server import command_line

__all__ = ["Arguments", "Engine", "Ingress", "KvPolicy", "PrefixRouter", "app", "demand"]


class Arguments(BaseModel):  # type: ignore[misc]
    """What the application is made of."""

    model_config = ConfigDict(extra="forbid")

    model: str
    """Path of the model, on every machine."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Of `thinkey serve`, by their long names: {"cache": "think:0.4", "kv-memory": "4GiB", "cache-dir": "/shared"}.
    With "cache-dir" conversations outlive their replica: the folder must be the same one for all machines."""
    replicas: int = Field(default=1, ge=1)
    """Where max_replicas is not given."""
    min_replicas: int = Field(default=1, ge=1)
    max_replicas: int | None = None
    """Autoscaling between the two, on the memory that caches need."""
    kv_target: float = Field(default=0.7, gt=0, le=1)
    """The share of a replica's memory for caches that is to be in use."""
    upscale_delay_s: float = Field(default=30, ge=0)
    """For so long more must be needed before there are more."""
    downscale_delay_s: float = Field(default=600, ge=0)
    cpus: float = Field(default=1, gt=0)
    """Of each replica: its threads, unless `options` say, and what Ray reserves."""
    ingresses: int = Field(default=1, ge=1)
    request_bytes: int = Field(default=4096, ge=0)
    """So many bytes of a prompt that would have to be computed again weigh as much as another request under way."""
    drain_s: float = Field(default=30, ge=0)
    """For answers under way when a replica is taken down."""


def app(arguments: Arguments) -> serve.Application:
    """The application, for `serve run`, a Serve config file's import_path, or serve.run(). Raises Error."""
    options = {"threads": max(1, int(arguments.cpus)), "drain": int(arguments.drain_s), **arguments.options}
    if options.get("cache-dir"):
        options["cache-shared"] = True
    command_line(arguments.model, options)  # complains now
    parallel, queue = int(options.get("parallel", 16)), int(options.get("queue", 64))
    scaling = None
    if arguments.max_replicas is not None:
        scaling = AutoscalingConfig(
            min_replicas=arguments.min_replicas,
            max_replicas=arguments.max_replicas,
            upscale_delay_s=arguments.upscale_delay_s,
            downscale_delay_s=arguments.downscale_delay_s,
            policy=AutoscalingPolicy(
                policy_function="thinkey.ray.scaling:KvPolicy", policy_kwargs={"target": arguments.kv_target}
            ),
        )
    engines = serve.deployment(Engine).options(
        num_replicas=arguments.replicas if scaling is None else None,
        autoscaling_config=scaling,
        max_ongoing_requests=parallel + queue,
        ray_actor_options={"num_cpus": arguments.cpus},
        health_check_period_s=5,
        graceful_shutdown_timeout_s=arguments.drain_s + 30,
        request_router_config=RequestRouterConfig(
            request_router_class="thinkey.ray.router:PrefixRouter",
            request_router_kwargs={"request_bytes": arguments.request_bytes},
            request_routing_stats_period_s=2,
        ),
    )
    ingress = serve.deployment(Ingress).options(
        num_replicas=arguments.ingresses, max_ongoing_requests=4096, ray_actor_options={"num_cpus": 0}
    )
    return ingress.bind(engines.bind(arguments.model, options), seeded=int(options.get("seed", -1)) != -1)
