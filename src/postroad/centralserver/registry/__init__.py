"""What one can do with the registry: plain functions over a transaction, one module per topic.

Each operation takes a :class:`~postroad.centralserver.registry.change.Change`, checks the rules,
does its work and leaves an entry in the change log; a query takes a session. Refusals are
:class:`~postroad.centralserver.registry.refusals.RegistryRefusal`.
"""
