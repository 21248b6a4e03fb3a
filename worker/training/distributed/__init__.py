"""One training job on the devices of one trainer, over torchrun's agent.

```
  __main__   reads the job, starts the ranks, starts them again from the last checkpoint
  rank       what each rank runs: step, compare, checkpoint
  modes      DDP, FSDP2, a pipeline, DiLoCo: how ranks share a step
```
"""
