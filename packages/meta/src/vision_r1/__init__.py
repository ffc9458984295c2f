"""Vision-guided reinforcement learning for vision-language models: the packages, composed."""
