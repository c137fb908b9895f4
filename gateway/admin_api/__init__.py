"""The CLI's door: `operations/` as HTTP and JSON on `<run>/admin.sock`, which only root can open."""
