"""Everything about a node as a thing: profiles, power sources, emulation, identification."""
