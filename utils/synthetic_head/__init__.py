"""The embedded default head: a procedural head model in FLAME's file schema, made on first use."""
