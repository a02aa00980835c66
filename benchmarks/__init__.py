"""The cost of anydeploy, beside its peers and its limits: ``python -m benchmarks``, see README.md."""
