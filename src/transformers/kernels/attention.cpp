// Attention with products in fp32, whatever the dtype.

#include "attention.h"
#include "products.h"

EXPORT_ATTENTION(Floats, float, float32)
EXPORT_ATTENTION(Floats, BFloat16, bfloat16)
