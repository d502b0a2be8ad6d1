"""One base and a folder of adapters behind HTTP: requests for different adapters are computed in one batch.

What owns what: the event loop (`app`, `memory`) owns all bookkeeping, one compute thread (`scheduler`, `engine`) the
model, a thread of texts the tokenizers, reading threads the disk (`catalog`, `engine.Engine.read`). So nothing of it
needs locks but the queue between the first two.
"""
