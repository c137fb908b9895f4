"""Tags in memory: the latest sample of each, and subscriptions to news of them.

`TagTable` (table.py) is what other rooms use; `Subscription` (subscription.py) is what it hands out. Keeps no history;
knows neither windows nor the cloud (`pipeline/`), nor who may read or publish what (`esdk_server/`).
"""
