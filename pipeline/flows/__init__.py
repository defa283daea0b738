"""When things happen: Prefect flows over :mod:`pipeline.operations`, and the service that runs them.

Wiring only. Heavy work runs in subprocesses that end with the flow; what the files say is the truth, not Prefect's
states. Call :func:`pipeline.flows.environment.configure` before anything here imports Prefect.
"""
