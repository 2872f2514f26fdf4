"""Everything that lies on a disk: bundles, graphs, plans and their sidecars, golden vectors; all read as untrusted."""
