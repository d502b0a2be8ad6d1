"""Small pieces of a step on a CPU, in C++ that the machine compiles; each has a plain form in `layers`."""
