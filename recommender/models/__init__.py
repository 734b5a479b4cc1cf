"""Models, one file each: they learn event by event and say which items come next."""
