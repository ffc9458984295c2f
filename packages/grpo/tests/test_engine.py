import torch

from vision_r1_grpo.config import OptimizerConfig
from vision_r1_grpo.engine import Engine


def engine(**settings):
    torch.manual_seed(0)
    return Engine(torch.nn.Linear(3, 2), OptimizerConfig(learning_rate=0.1), settings)


def test_values_go_to_the_monitors_of_the_configuration(tmp_path):
    csv = {"enabled": True, "output_path": str(tmp_path), "job_name": "run"}
    monitored = engine(csv_monitor=csv)
    for step, reward in ((1, 0.5), (2, 0.75)):
        monitored.log({"reward": reward, "eval/mAP": 0.25}, step)
    assert (tmp_path / "run" / "reward.csv").read_text().split() == ["step,reward", "1,0.5", "2,0.75"]
    assert (tmp_path / "run" / "eval_mAP.csv").read_text().split() == ["step,mAP", "1,0.25", "2,0.25"]


def test_without_monitors_values_go_nowhere():
    engine().log({"reward": 0.5}, 1)
