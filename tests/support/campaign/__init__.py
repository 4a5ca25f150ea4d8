"""A campaign of changes generated from the CRD schemas (after Acto, SOSP 2023): apply one, wait, compare; no assertion knows a field by name.

`transitions.py` and `meanings.py` generate, `oracles.py` judges, `driver.py` runs, `explained.py` lists what is known.
"""
