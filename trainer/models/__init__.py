"""The networks, ours and the published ones, one idea a file; `trainer.models.systems` builds what is configured."""
