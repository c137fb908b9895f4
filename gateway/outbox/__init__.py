"""Store and forward: records on flash until the cloud has confirmed them (docs/decisions/0006-outbox.md).

`Outbox` (outbox.py) is what other rooms use. Behind it: `writer.py` (the one thread that owns the connection, group
commit), `store.py` (what each transaction does), `database.py` (the file: schema, epoch, damage), `chunks.py` (records
into batches) and `stats.py` (the accounts). Knows neither MQTT nor where records come from.
"""
