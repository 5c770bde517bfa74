#!/usr/bin/env python3
"""Prints how much memory XLA gives a program on one device of each TPU generation; no TPU is needed.

    pip install "jax[tpu]"
    tools/tpu_usable_memory.py

The compiler is asked, ahead of time, for a program whose buffers are larger than any device. Its refusal names the limit.
v4 is asked twice: with a chip's two cores as one device (as Cloud TPU runs them) and as two devices.
"""

import os
import re

os.environ["TPU_SKIP_MDS_QUERY"] = "1"  # no metadata server off the cloud
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

TOPOLOGIES = [("v2:2x2", {}), ("v3:2x2", {}), ("v4:2x2x1", {"chip_config_name": "megacore"}), ("v4:2x2x1", {}),
              ("v5e:2x2", {}), ("v5p:2x2x1", {}), ("v6e:2x2", {}), ("tpu7x:2x2x1", {})]


def usable(name, options):
    devices = topologies.get_topology_desc(name, "tpu", **options).devices
    whole = NamedSharding(Mesh(np.array(devices), ("all",)), PartitionSpec())
    huge = jax.ShapeDtypeStruct((100 * 1024, 1024, 1024), jnp.float32, sharding=whole)
    try:
        jax.jit(lambda x: x + 1, in_shardings=whole, out_shardings=whole).lower(huge).compile()
    except jax.errors.JaxRuntimeError as error:
        return len(devices), re.search(r"exceeds available HBM \(([^)]*)\)", str(error))[1]
    raise SystemExit(f"{name}: 400 GiB fit")


def main():
    for name, options in TOPOLOGIES:
        count, memory = usable(name, options)
        joined = " (two cores as one device)" if options else ""
        print(f"{name}{joined}: {count} devices of {memory}iB")


if __name__ == "__main__":
    main()
