"""The networks, ours and the published ones, one idea a file; `trainer.systems` builds what is configured."""
