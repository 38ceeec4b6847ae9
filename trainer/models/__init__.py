"""The networks, ours and published ones, one idea per file; `trainer.models.systems` builds the configured one."""
