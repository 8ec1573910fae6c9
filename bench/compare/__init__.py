"""Our disks against those of others, on the same work, in turns: `./dev bench compare`."""
