"""The management interface of the Central Server: HTTP operations under ``/api/v1``.

Each resource is a module with its payloads, its handlers and a table of its operations. What they
share: who asks (``authentication``), what is refused and how (``refusals``), the description of it
all (``openapi``), and the application that puts them together (``application``).
"""
