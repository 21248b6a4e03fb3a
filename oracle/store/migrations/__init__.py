"""Versions of the tables; `oracle.store.schema` runs them when a store is opened."""
