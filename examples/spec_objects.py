"""Cache specs as objects, and what they would cost: python examples/spec_objects.py MODEL"""

import sys
from dataclasses import replace

import thinkey
from thinkey.cache_spec import CacheSpec, Channels, Eviction, SnapKV

model = thinkey.Model.load(sys.argv[1])
base = CacheSpec(Eviction(SnapKV(kernel=7, pooling="max"), percent=25))
for ratio in (0.0, 0.2, 0.4, 0.6):
    spec = replace(base, channels=Channels(keys=ratio))
    print(f"{str(spec):45} {model.estimate_cache(spec, 3000).bytes / 1024:8.0f} KiB")
