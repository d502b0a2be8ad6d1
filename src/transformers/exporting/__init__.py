"""Models for other runtimes: a form that can be captured as one graph, and ONNX files made of it."""
