"""Computing over packed rows: packing, attention, dropout, activations, losses."""
