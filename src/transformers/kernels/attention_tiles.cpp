// Attention of bfloat16 with products on matrix units, where the processor has them and the system gives them.

#include "tiles.h"

#ifdef HAS_TILES

#include "attention.h"

EXPORT_ATTENTION(Halves, BFloat16, bfloat16_tiles)
extern "C" bool has_tiles() { return Halves::available(); }

#else

extern "C" bool has_tiles() { return false; }

#endif
